"""A source that signs with the object it feeds gets what is held, or an error; no deadlock."""

import asyncio
import time

import httpx
import pytest
import requests

from partner_auth import ConfigurationError, Credential
from tests.concurrency.kit import NEW, OLD, eventually, exact, failure, in_threads, signer_of


class Loop:
    """A source that asks for a token while it is being read."""

    auth = None

    def __init__(self):
        self.seen = []

    def fetch(self):
        self.seen.append(self.auth.token())
        return Credential("acme", NEW)

    def __repr__(self):
        return "Loop()"


class AsyncLoop(Loop):
    """The same as a coroutine function."""

    async def fetch(self):
        self.seen.append(await self.auth.atoken())
        return Credential("acme", NEW)


class TaskLoop(Loop):
    """The same in a task that the source starts."""

    async def fetch(self):
        self.seen.append(await asyncio.create_task(self.auth.atoken()))
        return Credential("acme", NEW)


class ThreadLoop(Loop):
    """The same in a worker thread of the source's loop."""

    async def fetch(self):
        self.seen.append(await asyncio.to_thread(self.auth.token))
        return Credential("acme", NEW)


class RefreshLoop(Loop):
    """A source that refreshes the object it feeds."""

    def fetch(self):
        self.seen.append(self.auth.refresh())
        return Credential("acme", NEW)


@pytest.mark.parametrize("kind", [Loop, AsyncLoop, TaskLoop, ThreadLoop, RefreshLoop])
def test_with_nothing_held_it_is_an_error(kind):
    """A source that needs what it is to bring gets an error at once, and so do all who wait."""
    source = kind()
    source.auth = auth = exact(source)
    began = time.monotonic()
    error = failure(auth.token)
    assert type(error) is ConfigurationError
    assert "signs its own request" in str(error)
    assert time.monotonic() - began < 1


@pytest.mark.parametrize("kind", [Loop, AsyncLoop, TaskLoop, ThreadLoop])
def test_with_something_held_it_gets_that(kind, store, clock):
    """A source that signs with what is held may go on."""
    source = kind()
    auth = exact(store, clock)
    auth.token()
    source.auth = auth
    store.fetch = source.fetch
    auth.refresh()
    assert ([signer_of(token) for token in source.seen], signer_of(auth.token())) == ([OLD], NEW)


def test_a_stale_source_gets_what_is_held(store, clock):
    """A read behind a stale credential signs with that, though a read is under way: its own."""
    source = Loop()
    source.auth = auth = exact(store, clock)
    auth.token()
    store.fetch = source.fetch
    clock.advance(901)
    auth.token()
    eventually(lambda: signer_of(auth.token()) == NEW)
    assert [signer_of(token) for token in source.seen] == [OLD]


@pytest.mark.parametrize("kind", [Loop, AsyncLoop])
def test_from_one_to_another_and_back(kind):
    """A's source signs with B, whose source signs with A: an error at once."""
    first, second = kind(), kind()
    a, b = exact(first), exact(second)
    first.auth, second.auth = b, a
    began = time.monotonic()
    assert type(failure(a.token)) is ConfigurationError
    assert time.monotonic() - began < 1


def test_both_ends_of_a_circle_at_once_end_by_the_deadline():
    """Where both were asked at the same moment neither waits for longer than one read may."""
    first, second = Loop(), Loop()
    a, b = exact(first, timeout=0.3), exact(second, timeout=0.3)
    first.auth, second.auth = b, a
    calls = iter([a.token, b.token])

    def call():
        return next(calls)()

    began = time.monotonic()
    errors = in_threads(2, call)
    assert all(isinstance(error, Exception) for error in errors)
    assert time.monotonic() - began < 1.5


@pytest.mark.parametrize("client", ["requests", "httpx"])
def test_a_refused_request_of_its_own_does_not_wait_for_itself(partner_server, client):
    """A 401 to a request that the source makes starts no look that waits for that very read."""
    url = f"{partner_server.url}/portfolio"
    partner_server.accept(NEW)
    statuses = []

    class Store:
        credential = Credential("acme", OLD)
        auth = None

        def fetch(self):
            if self.auth is not None:
                get = requests.get if client == "requests" else httpx.get
                statuses.append(get(url, auth=self.auth, timeout=5).status_code)
            return self.credential

    source = Store()
    auth = exact(source)
    auth.token()
    source.auth, source.credential = auth, Credential("acme", NEW)
    began = time.monotonic()
    auth.refresh()
    assert (statuses, signer_of(auth.token())) == ([401], NEW)
    assert time.monotonic() - began < 3
