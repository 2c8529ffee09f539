"""Over HTTP/2, where all requests share one connection: httpx and httpx2, sync and async."""

from __future__ import annotations

import functools
import math

import anyio
import httpx
import httpx2
import pytest

from tests.clients import h2_front
from tests.conformance.clients import Httpx

partner = h2_front.partner
KINDS = {
    f"{library.__name__}{backend and '-' + backend}": (library, backend or None)
    for library in (httpx, httpx2)
    for backend in ("", "asyncio", "trio")
}
ASYNC = [name for name, (_, backend) in KINDS.items() if backend]
SYNC = [name for name in KINDS if name not in ASYNC]

# See test_refused_bodies.py: generators of httpx and httpcore, where a body isn't read to its end.
pytestmark = pytest.mark.filterwarnings(
    r"ignore:Async generator '(httpcore|httpx2?\._transports|httpx\._client.Bound):ResourceWarning"
)


@pytest.fixture(params=KINDS)
def kind(request):
    """Each kind of client in turn."""
    return request.param


@pytest.fixture
def client(kind, partner, certificate):
    """A client over HTTP/2 that has signed once."""
    library, backend = KINDS[kind]
    auth = partner.auth(origins=partner.front.url)
    made = Httpx(auth, library=library, backend=backend, verify=certificate, http2=True)
    assert made.get(f"{partner.front.url}/portfolio").http_version == "HTTP/2"
    yield made
    made.close()


def together(client, requests):
    """Send requests at once, in one event loop; return their answers."""

    async def one(answers, number, request):
        answers[number] = await request()

    async def main():
        answers = {}
        async with anyio.create_task_group() as tasks:
            for number, request in enumerate(requests):
                tasks.start_soon(one, answers, number, request)
        return [answers[number] for number in sorted(answers)]

    return client.call(main)


def test_a_rotation_goes_unnoticed(client, partner):
    """On the one connection, and the answers stand in the history."""
    partner.rotate()
    got = client.post(f"{partner.front.url}/echo", content=b"order")
    assert (got.status_code, [one.status_code for one in got.history]) == (200, [401])
    assert [one.status for one in partner.requests] == [200, 401, 200]
    assert [one.body for one in partner.requests[1:]] == [b"order", b"order"]
    assert partner.front.connections == 1


def test_a_large_body_goes_out_again_whole(client, partner):
    """Through both windows of flow control."""
    partner.rotate()
    got = client.post(f"{partner.front.url}/echo", content=b"x" * 300_000)
    assert (got.status_code, len(partner.requests[-1].body)) == (200, 300_000)


def test_a_body_that_can_not_be_sent_again_brings_the_refusal(client, partner):
    """Whole, and the next request is right."""
    partner.rotate()
    got = client.post(f"{partner.front.url}/echo", content=client.one_shot())
    assert (got.status_code, got.json()) == (401, {"error": "unknown_secret"})
    assert client.get(f"{partner.front.url}/portfolio").status_code == 200


@pytest.mark.parametrize("shape", ["huge", "drip", "silent", "cut", "bad-gzip", "bomb", "empty"])
def test_no_refusal_s_body_keeps_its_request_from_being_mended(client, partner, shape):
    """Of whatever shape it is; and the connection, which others share, goes on."""
    partner.hostile(shape)
    partner.rotate()
    for _ in range(2):
        assert client.get(f"{partner.front.url}/portfolio").status_code == 200
    assert partner.front.connections == 1


def test_a_refusal_that_goes_back_is_whole(client, partner):
    """All its four megabytes, which the client had not seen yet."""
    partner.hostile("huge")
    partner.reject()
    got = client.get(f"{partner.front.url}/portfolio")
    assert (got.status_code, len(got.content)) == (401, 4 * 1024 * 1024)


@pytest.mark.parametrize("kind", ASYNC)
def test_many_at_once_are_mended_on_one_connection(client, partner):
    """By one read of the store."""
    partner.rotate()
    get = functools.partial(client.native.get, f"{partner.front.url}/portfolio")
    assert {one.status_code for one in together(client, [get] * 20)} == {200}
    assert (partner.store.reads, partner.front.connections) == (2, 1)


@pytest.mark.parametrize("kind", ASYNC)
def test_a_silent_refusal_leaves_the_others_on_its_connection_alone(client, partner):
    """Only the reading of its own stream is given up."""
    partner.clear()
    partner.delay(math.inf, times=1)
    held = functools.partial(client.native.get, f"{partner.front.url}/echo")

    async def mended():
        await anyio.to_thread.run_sync(partner.wait_for, 1)
        partner.hostile("silent")
        partner.rotate()
        answer = await client.native.get(f"{partner.front.url}/portfolio")
        partner.release()
        return answer

    assert [one.status_code for one in together(client, [held, mended])] == [200, 200]
    assert partner.front.connections == 1


@pytest.mark.parametrize("kind", SYNC)
def test_five_large_refusals_use_up_the_client_s_window(client, partner):
    """It gives back no byte of a body that is closed unread: what docs/clients/httpx.md tells.

    One request fails, the next has a connection of its own.
    """
    partner.hostile("huge")
    for _ in range(4):
        partner.rotate()
        assert client.get(f"{partner.front.url}/portfolio").status_code == 200
        partner.front.settle()
    partner.rotate()
    with pytest.raises(client.library.ReadTimeout):
        client.native.get(f"{partner.front.url}/portfolio", timeout=0.5)
    assert client.get(f"{partner.front.url}/portfolio").status_code == 200
    assert partner.front.connections == 2


@pytest.mark.parametrize("kind", SYNC)
def test_large_answers_closed_early_use_up_the_client_s_window_without_us(client, partner):
    """The same by its own means: the limit is the client's."""
    partner.hostile("huge")
    partner.reject()
    for _ in range(5):
        with client.native.stream("GET", f"{partner.front.url}/portfolio", auth=None):
            partner.front.settle()
    with pytest.raises(client.library.ReadTimeout):
        client.native.get(f"{partner.front.url}/portfolio", auth=None, timeout=0.5)
