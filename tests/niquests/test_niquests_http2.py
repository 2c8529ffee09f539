"""niquests over HTTP/2, as it speaks wherever a server does: one connection for all requests."""

from __future__ import annotations

import concurrent.futures
import math

import anyio
import pytest

from tests.clients import h2_front
from tests.niquests.drivers import AsyncNiquests, Niquests

partner = h2_front.partner
KINDS = {"niquests": Niquests, "niquests-asyncio": AsyncNiquests}


@pytest.fixture(params=KINDS)
def kind(request):
    """Each kind of session in turn."""
    return request.param


@pytest.fixture
def client(kind, partner, certificate):
    """A session over HTTP/2 that has signed once."""
    made = KINDS[kind](partner.auth(origins=partner.front.url), verify=certificate)
    assert made.get(f"{partner.front.url}/portfolio").http_version == 20
    yield made
    made.close()


def test_a_rotation_goes_unnoticed(client, partner):
    """On the one connection."""
    partner.rotate()
    got = client.post(f"{partner.front.url}/echo", content=b"order")
    assert (got.status_code, [one.status_code for one in got.history]) == (200, [401])
    assert [one.status for one in partner.requests] == [200, 401, 200]
    assert partner.front.connections == 1


@pytest.mark.parametrize("shape", ["huge", "drip", "silent", "cut", "bad-gzip", "bomb", "empty"])
def test_no_refusal_s_body_keeps_its_request_from_being_mended(client, partner, shape):
    """Of whatever shape it is."""
    partner.hostile(shape)
    partner.rotate()
    for _ in range(2):
        assert client.get(f"{partner.front.url}/portfolio").status_code == 200


@pytest.mark.parametrize("kind", ["niquests-asyncio"])
def test_a_silent_refusal_leaves_the_others_alone(client, partner):
    """Those that wait for an answer meanwhile."""
    partner.clear()
    partner.delay(math.inf, times=1)

    async def main():
        got = {}

        async def get(path):
            got[path] = await client.session.get(partner.front.url + path, **client._options)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(get, "/echo")
            await anyio.to_thread.run_sync(partner.wait_for, 1)
            partner.hostile("silent")
            partner.rotate()
            await get("/portfolio")
            partner.release()
        return {one.status_code for one in got.values()}

    assert client._portal.call(main) == {200}


@pytest.mark.parametrize("kind", ["niquests"])
def test_a_silent_refusal_leaves_other_threads_alone(client, partner):
    """Those that wait for an answer meanwhile."""
    partner.clear()
    partner.delay(math.inf, times=1)
    with concurrent.futures.ThreadPoolExecutor() as threads:
        held = threads.submit(client.get, f"{partner.front.url}/echo")
        partner.wait_for(1)
        partner.hostile("silent")
        partner.rotate()
        assert client.get(f"{partner.front.url}/portfolio").status_code == 200
        partner.release()
        assert held.result().status_code == 200
