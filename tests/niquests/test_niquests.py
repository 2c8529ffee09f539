"""The doors of niquests, in an environment of its own: `nox -s niquests`."""

from __future__ import annotations

import asyncio
import gc
import io
import pickle

import pytest

import partner_auth
from partner_auth.testing import Clock, PartnerServer

niquests = pytest.importorskip("niquests")
doors = pytest.importorskip("partner_auth.niquests")


@pytest.fixture
def partner():
    """A partner on loopback."""
    with PartnerServer() as server:
        yield server


@pytest.fixture
def session(partner):
    """A synchronous session that signs."""
    with niquests.Session() as made:
        made.auth = doors.PartnerAuth(partner.source, origins=partner.url)
        assert made.get(f"{partner.url}/portfolio").status_code == 200
        yield made


def in_session(partner, work, auth=None):
    """Run `work(session)` in an asynchronous session that signs."""

    async def main():
        async with niquests.AsyncSession() as made:
            made.auth = auth or doors.AsyncPartnerAuth(partner.source, origins=partner.url)
            return await work(made)

    return asyncio.run(main())


def statuses(partner):
    return [request.status for request in partner.requests]


def test_a_rotation_is_mended(session, partner):
    """By the same hook as in requests, the body whole."""
    partner.rotate()
    answer = session.post(f"{partner.url}/echo", json={"a": 1})
    assert answer.status_code == 200
    assert [one.status_code for one in answer.history] == [401]
    assert len({request.body for request in partner.requests[-2:]}) == 1


def test_a_rotation_is_mended_in_an_asynchronous_session(partner):
    """By the object that such a session awaits."""

    async def work(session):
        await session.get(f"{partner.url}/portfolio")
        partner.rotate()
        return await session.post(f"{partner.url}/echo", data=b"order")

    answer = in_session(partner, work)
    assert answer.status_code == 200
    assert [one.status_code for one in answer.history] == [401]
    assert statuses(partner) == [200, 401, 200]


def test_a_generator_is_never_sent_twice(partner):
    """Its caller gets the 401, the next request is right."""

    async def order():
        yield b"order"

    async def work(session):
        await session.get(f"{partner.url}/portfolio")
        partner.rotate()
        first = await session.post(f"{partner.url}/echo", data=order())
        return first.status_code, (await session.get(f"{partner.url}/portfolio")).status_code

    assert in_session(partner, work) == (401, 200)
    assert statuses(partner) == [200, 401, 200]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_synchronous_object_in_an_asynchronous_session_is_a_clear_error(partner):
    """At the first answer, not at the first 401."""

    async def work(session):
        await session.get(f"{partner.url}/portfolio")

    with pytest.raises(partner_auth.ConfigurationError, match="AsyncPartnerAuth"):
        in_session(partner, work, partner.auth())
    gc.collect()  # the connection: a synchronous hook can't close it


def test_errors_are_the_clients_own_too(partner):
    """A store that is down is a connection error."""
    partner.store.fail(partner_auth.SourceUnavailable("down"))

    async def work(session):
        await session.get(f"{partner.url}/portfolio")

    with pytest.raises(niquests.ConnectionError) as caught:
        in_session(partner, work)
    assert isinstance(caught.value, partner_auth.SourceUnavailable)


def test_another_origin_is_left_alone(partner):
    """Unsigned, and its 401 untouched."""

    async def work(session):
        return (await session.get(f"{partner.url}/portfolio")).status_code

    auth = doors.AsyncPartnerAuth(partner.source, origins="https://api.partner.example")
    assert in_session(partner, work, auth) == 401
    assert partner.requests[-1].headers.get("Authorization") is None


def test_requests_of_both_pickle(session, partner):
    """Their hooks pickle as nothing."""

    async def work(session):
        return (await session.get(f"{partner.url}/portfolio")).request

    for request in (session.get(f"{partner.url}/portfolio").request, in_session(partner, work)):
        assert pickle.loads(pickle.dumps(request)).url == request.url


class AsyncFile:
    """A file whose every method is awaited."""

    def __init__(self):
        self._data = io.BytesIO(b"order")

    async def read(self, size=-1):
        return self._data.read(size)

    async def tell(self):
        return self._data.tell()

    async def seek(self, position):
        return self._data.seek(position)

    async def seekable(self):
        return True

    async def __aiter__(self):
        yield await self.read()


def test_an_asynchronous_file_is_never_sent_twice(partner):
    """Where it stands would have to be awaited: its caller gets the 401."""

    async def work(session):
        await session.get(f"{partner.url}/portfolio")
        partner.rotate()
        first = await session.post(f"{partner.url}/echo", data=AsyncFile())
        return first.status_code, (await session.get(f"{partner.url}/portfolio")).status_code

    assert in_session(partner, work) == (401, 200)
    assert [one.body for one in partner.requests] == [b"", b"order", b""]


def test_a_file_is_sent_again_from_where_it_stood(partner):
    """In an asynchronous session too."""
    file = io.BytesIO(b"my order")
    file.seek(3)

    async def work(session):
        await session.get(f"{partner.url}/portfolio")
        partner.rotate()
        return (await session.post(f"{partner.url}/echo", data=file)).status_code

    assert in_session(partner, work) == 200
    assert [one.body for one in partner.requests[1:]] == [b"order", b"order"]


def test_the_user_s_hooks_see_the_last_answer_once(partner):
    """Those of an asynchronous session, awaited or not."""
    seen = []

    async def noted(response, **_):
        seen.append(response.status_code)

    async def work(session):
        session.hooks["response"] = [noted, lambda response, **_: seen.append("plain")]
        await session.get(f"{partner.url}/portfolio")
        partner.rotate()
        await session.get(f"{partner.url}/portfolio")

    in_session(partner, work)
    assert seen == [200, "plain", 200, "plain"]


def test_a_cancelled_request_leaves_the_connection_free(partner):
    """While it waits for the store at a 401; another one goes on over a pool of one."""
    adapter = niquests.adapters.AsyncHTTPAdapter(pool_maxsize=1, pool_block=True)

    async def work(session):
        session.mount("http://", adapter)
        await session.get(f"{partner.url}/portfolio")
        partner.hostile("huge")
        partner.rotate()
        partner.store.delay(5)
        task = asyncio.create_task(session.get(f"{partner.url}/portfolio"))
        await asyncio.to_thread(partner.store.wait_for_reads, 2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        partner.store.release()
        async with asyncio.timeout(5):
            return (await session.get(f"{partner.url}/portfolio")).status_code

    assert in_session(partner, work) == 200


def test_an_object_that_is_applied_twice_adds_nothing(partner):
    """It signs afresh; one hook stays."""

    async def work(session):
        request = niquests.Request("GET", f"{partner.url}/portfolio").prepare()
        for _ in range(2):
            await session.auth(request)
        return request

    assert len(in_session(partner, work).hooks["response"]) == 1


def test_a_request_that_is_sent_by_hand_is_not_signed_in_an_asynchronous_session(partner):
    """Niquests awaits an auth in `request()` alone; await it yourself before `send()`."""

    async def work(session):
        prepared = session.prepare_request(niquests.Request("GET", f"{partner.url}/portfolio"))
        before = (await session.send(prepared)).status_code
        await session.auth(prepared)
        return before, (await session.send(prepared)).status_code

    assert in_session(partner, work) == (401, 200)


def test_the_hook_of_an_asynchronous_session_works_when_it_was_unpickled(partner):
    """As a hook that does nothing."""

    async def work(session):
        request = (await session.get(f"{partner.url}/portfolio")).request
        again = pickle.loads(pickle.dumps(request))
        return (await session.send(again)).status_code

    assert in_session(partner, work) == 200


def test_a_generator_waits_for_a_read_that_is_due(partner):
    """Its 401 could not be mended, so it does not go out with a stale credential."""
    partner.clock = clock = Clock()
    auth = doors.AsyncPartnerAuth(
        partner.source,
        origins=partner.url,
        clock=clock,
        refresh=partner_auth.RefreshPolicy(jitter=0),
    )

    async def order():
        yield b"order"

    async def work(session):
        await session.get(f"{partner.url}/portfolio")
        partner.rotate()
        clock.advance(901)
        return (await session.post(f"{partner.url}/echo", data=order())).status_code

    assert in_session(partner, work, auth) == 200


def test_an_accepted_answer_ends_a_rejection(partner):
    """In an asynchronous session too."""
    auth = doors.AsyncPartnerAuth(partner.source, origins=partner.url)
    states = []

    async def work(session):
        for change in (partner.reject, partner.restore):
            change()
            await session.get(f"{partner.url}/portfolio")
            states.append(auth.status().state)

    in_session(partner, work, auth)
    assert states == ["rejected", "fresh"]
