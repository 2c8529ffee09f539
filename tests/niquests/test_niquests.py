"""The doors of niquests, in an environment of its own: `nox -s niquests`."""

from __future__ import annotations

import asyncio
import pickle

import pytest

import partner_auth
from partner_auth.testing import PartnerServer

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


def test_a_synchronous_object_in_an_asynchronous_session_is_a_clear_error(partner):
    """At the first answer, not at the first 401."""

    async def work(session):
        await session.get(f"{partner.url}/portfolio")

    with pytest.raises(partner_auth.ConfigurationError, match="AsyncPartnerAuth"):
        in_session(partner, work, partner.auth())


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
        assert pickle.loads(pickle.dumps(request)).url == request.url  # noqa: S301  our own bytes
