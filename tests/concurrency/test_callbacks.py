"""`on_event` may raise, be slow, or use the same object; and no context leaks into a read."""

import asyncio
import contextvars
import gc
import logging
import threading
import time
import weakref

import pytest

from partner_auth import Credential, PartnerAuth, RefreshPolicy
from partner_auth.events import (
    CredentialFetched,
    CredentialRotated,
    ServedStale,
    SourceFailed,
    TokenSigned,
)
from tests.concurrency.kit import (
    DOWN,
    FOREVER,
    NEW,
    OLD,
    eventually,
    exact,
    failure,
    in_threads,
    quiet,
    readers,
    signer_of,
)


def test_a_callback_that_raises_costs_nothing(store, caplog):
    """What a callback raises stays there, named by its type alone."""

    def callback(event):
        raise ValueError(OLD)

    assert signer_of(exact(store, on_event=callback).token()) == OLD
    quiet()
    assert {record.getMessage() for record in caplog.records} == {
        "on_event raised ValueError for CredentialFetched",
        "on_event raised ValueError for TokenSigned",
    }


def test_a_slow_callback_of_a_read_holds_up_nobody(store):
    """The reading thread tells of its read when all who waited are awake."""
    done = threading.Event()

    def callback(event):
        if isinstance(event, CredentialFetched):
            done.wait(5)

    auth = exact(store, on_event=callback)
    began = time.monotonic()
    tokens = in_threads(20, auth.token)
    assert time.monotonic() - began < 1
    assert {signer_of(token) for token in tokens} == {OLD}
    done.set()


def test_a_read_may_begin_while_the_last_one_is_still_told(store):
    """A slow callback does not keep the store from being read again."""
    done = threading.Event()

    def callback(event):
        if isinstance(event, CredentialFetched) and not done.is_set():
            done.wait(5)

    auth = exact(store, on_event=callback)
    auth.token()
    store.set(NEW)
    auth.refresh()
    assert signer_of(auth.token()) == NEW
    done.set()


@pytest.mark.parametrize("use", ["token", "status", "refresh"])
def test_a_callback_may_use_the_object(store, clock, use):
    """A callback that uses the object it is told of neither deadlocks nor is told for ever."""
    told = []

    def callback(event):
        told.append(type(event))
        try:
            getattr(auth, use)()
        except Exception:
            told.append(None)

    auth = exact(store, clock, on_event=callback)
    assert signer_of(auth.token()) == OLD
    clock.advance(901)
    store.fail(DOWN)
    auth.token()
    quiet()
    auth.token()
    quiet()
    assert len(told) < 40
    assert {CredentialFetched, TokenSigned, SourceFailed, ServedStale} <= set(told)


def test_a_callback_that_wants_a_token_is_told_of_one(store):
    """A callback that asks for a token at `TokenSigned` gets the one that was signed."""
    told, tokens = [], []

    def callback(event):
        if isinstance(event, TokenSigned):
            told.append(event)
            tokens.append(auth.token())

    auth = exact(store, on_event=callback)
    assert [auth.token()] == tokens
    assert len(told) == 1


@pytest.mark.parametrize("printed", [False, True], ids=["plain", "with a fingerprint"])
def test_a_callback_told_of_stale_is_not_told_for_ever(store, clock, printed):
    """Nor while a read hangs, or too many do: what it asks for is there by then."""
    if printed:
        store.fingerprint = lambda: 1
    told = []

    def callback(event):
        if isinstance(event, ServedStale):
            told.append(event)
            auth.token()

    auth = exact(store, clock, on_event=callback, timeout=2, backoff=1, backoff_max=1)
    auth.token()
    store.delay(FOREVER)
    clock.advance(901)
    for _ in range(24):
        told.clear()
        assert signer_of(auth.token()) == OLD
        assert len(told) <= 2
        eventually(lambda: len(readers()) == store.reads - 1)
        clock.advance(1.1)
    assert store.reads == 5


def test_no_context_leaks_into_a_read():
    """A read does not carry the request id of whoever happened to start it, nor keep it alive."""
    request_id = contextvars.ContextVar("request_id", default=None)
    seen = []

    class Request:
        """Stands for what a framework keeps in a context."""

    class Source:
        def fetch(self):
            seen.append(request_id.get())
            return Credential("acme", OLD)

        async def fetch_fresh(self):
            seen.append(request_id.get())
            return Credential("acme", OLD)

    auth = exact(Source())

    async def handle():
        request = Request()
        request_id.set(request)
        await auth.atoken()
        await auth.arefresh()
        return weakref.ref(request)

    request = asyncio.run(handle())
    gc.collect()
    assert (seen, request()) == ([None, None], None)


def test_no_context_leaks_into_a_read_in_place(monkeypatch):
    """Nor where no thread can be started, and the caller's own thread reads."""
    request_id = contextvars.ContextVar("request_id", default=None)
    seen = []

    class Source:
        def fetch(self):
            seen.append(request_id.get())
            request_id.set("the source's")
            return Credential("acme", OLD)

    def start(_thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    request_id.set("the request's")
    exact(Source()).token()
    assert (seen, request_id.get()) == ([None], "the request's")


def test_a_rotation_that_a_read_brings_is_told(store, clock):
    """With the versions before and after, and for how long the one before was held."""
    told = []
    auth = exact(store, clock, on_event=told.append)
    auth.token()
    clock.advance(7)
    store.set(NEW)
    auth.refresh()
    quiet()
    assert [
        (event.previous_version, event.version, event.previous_age, event.client_id, event.origin)
        for event in told
        if isinstance(event, CredentialRotated)
    ] == [("1", "2", 7.0, "acme", None)]


def test_a_read_is_told_whether_it_brought_another_credential(store, clock):
    """The first one is another one than none."""
    told = []
    auth = exact(store, clock, on_event=told.append)
    auth.token()
    auth.refresh()
    store.set(NEW)
    auth.refresh()
    quiet()
    reads = [event for event in told if isinstance(event, CredentialFetched)]
    assert [(event.changed, event.version) for event in reads] == [
        (True, "1"),
        (False, "1"),
        (True, "2"),
    ]


def test_a_read_is_told_with_the_time_it_took_and_the_next_one(store, clock):
    """In seconds, and as a moment."""
    told = []
    store.delay(FOREVER)
    auth = exact(store, clock, on_event=told.append)
    auth.refresh(wait=False)
    store.wait_for_reads(1)
    clock.advance(3)
    store.release()
    eventually(lambda: told)
    assert told[0].took == 3.0
    assert told[0].next_read.timestamp() == clock.now() + 900


def test_a_failed_read_is_told_with_the_age_of_what_is_held(store, clock):
    """And so is what is served meanwhile; both tell of the next read."""
    told = []
    auth = exact(store, clock, on_event=told.append)
    auth.token()
    store.fail(DOWN)
    clock.advance(901)
    failure(auth.refresh)
    quiet()
    clock.advance(0.75)
    auth.token()
    failed, stale = [event for event in told if isinstance(event, (SourceFailed, ServedStale))]
    due = clock.now() + 0.25
    assert (failed.age, failed.held, failed.next_read.timestamp()) == (901.0, True, due)
    assert (stale.age, stale.error, stale.next_read.timestamp()) == (901.75, str(DOWN), due)


def test_what_is_served_stale_is_a_warning_once_a_failure(store, clock, caplog):
    """At other origins and later it is DEBUG."""
    origins = [f"https://{name}.example" for name in "ab"]
    refresh = RefreshPolicy(jitter=0)
    auth = PartnerAuth(store, origins=origins, refresh=refresh, clock=clock)
    auth.token(origins[0])
    store.fail(DOWN)
    clock.advance(901)
    with caplog.at_level(logging.DEBUG, "partner_auth"):
        for _ in range(2):
            store.delay(FOREVER)
            auth.token(origins[0])  # begins the read, which fails after it
            store.release()
            quiet()
            for origin in origins:
                auth.token(origin)
            clock.advance(10)
    levels = [one.levelname for one in caplog.records if one.getMessage().startswith("ServedStale")]
    assert levels.count("WARNING") == 2
    assert levels[-2:] == ["WARNING", "DEBUG"]


def test_events_carry_no_secret(store, clock):
    """Nothing that a callback is told shows a secret or a token."""
    told = []
    auth = exact(store, clock, on_event=told.append)
    tokens = [auth.token()]
    store.set(NEW)
    auth.refresh()
    tokens.append(auth.token())
    store.fail(DOWN)
    failure(auth.refresh)
    quiet()
    text = f"{told!r} {auth!r} {auth.status()!r} {RefreshPolicy()!r}"
    assert len(told) >= 5
    assert not [secret for secret in (OLD, NEW, *tokens) if secret in text]
