"""What only httpx and httpx2 have: flows driven by others, the user's own streams, WebSockets."""

import asyncio
import base64
import gc
import hashlib
import importlib.util
import sys

import anyio
import httpx
import httpx2
import pytest

from partner_auth import ConfigurationError, PartnerAuth, SourceUnavailable
from partner_auth.testing import Clock, MemoryStore, PartnerServer
from tests.concurrency.kit import quiet
from tests.conformance.clients import ASYNC
from tests.conformance.servers import Server, head, whole

# See test_refused_bodies.py: generators of httpx and httpcore, where a body isn't read to its end.
pytestmark = pytest.mark.filterwarnings(
    r"ignore:Async generator '(httpcore|httpx2?\._transports|httpx\._client.Bound):ResourceWarning"
)

both = pytest.mark.parametrize("library", [httpx, httpx2], ids=lambda library: library.__name__)
in_loops = pytest.mark.parametrize("backend", ["asyncio", "trio"])


def wrapped(library, auth):
    """Return an auth of the user's own around ours, that drives `auth_flow` by hand."""

    class Wrapper(library.Auth):
        def auth_flow(self, request):
            request.headers["X-Wrapped"] = "1"
            yield from auth.auth_flow(request)

    return Wrapper()


# -- driven by a wrapper


@both
def test_a_wrapper_of_a_sync_client_is_mended(partner, library):
    """It may wait for the store."""
    with library.Client(auth=wrapped(library, partner.auth())) as client:
        client.get(f"{partner.url}/portfolio")
        partner.rotate()
        assert client.get(f"{partner.url}/portfolio").status_code == 200
    assert [one.status for one in partner.requests] == [200, 401, 200]
    assert {one.headers["X-Wrapped"] for one in partner.requests} == {"1"}


@both
@in_loops
def test_a_wrapper_in_an_event_loop_never_blocks_it(partner, library, backend):
    """With nothing held it says what to do instead; the store is read, so the next is signed."""

    async def main():
        async with library.AsyncClient(auth=wrapped(library, partner.auth())) as client:
            with pytest.raises(ConfigurationError, match="async_auth_flow"):
                await client.get(f"{partner.url}/portfolio")
            assert partner.requests == []
            quiet()
            return await client.get(f"{partner.url}/portfolio")

    assert anyio.run(main, backend=backend).status_code == 200


@both
@in_loops
def test_a_wrapper_in_an_event_loop_replaces_a_token_in_time(library, backend):
    """To sign another one waits for nothing, nor does a read behind a stale credential."""
    clock = Clock()

    async def main(partner):
        auth = partner.auth(clock=clock)
        await auth.atoken()
        async with library.AsyncClient(auth=wrapped(library, auth)) as client:
            for _ in range(3):
                clock.advance(895)
                assert (await client.get(f"{partner.url}/portfolio")).status_code == 200
                quiet()

    with PartnerServer(clock=clock) as partner:
        anyio.run(main, partner, backend=backend)
        assert len({one.token for one in partner.requests}) == 3


@both
@in_loops
def test_a_wrapper_in_an_event_loop_signs_with_what_is_held(partner, library, backend):
    """A 401 that would have to wait goes back, whole; the store is read, so the next is right."""
    auth = partner.auth()

    async def main():
        await auth.atoken()
        async with library.AsyncClient(auth=wrapped(library, auth)) as client:
            await client.get(f"{partner.url}/portfolio")
            partner.rotate()
            refused = await client.get(f"{partner.url}/portfolio")
            partner.store.wait_for_reads(2)
            quiet()
            return refused, await client.get(f"{partner.url}/portfolio")

    refused, answer = anyio.run(main, backend=backend)
    assert (refused.status_code, refused.json()) == (401, {"error": "unknown_secret"})
    assert answer.status_code == 200


@both
@in_loops
def test_a_wrapper_in_an_event_loop_resends_what_need_not_wait(partner, library, backend):
    """The new secret came by another request meanwhile."""
    auth = partner.auth()

    async def main():
        await auth.atoken()
        async with library.AsyncClient(auth=wrapped(library, auth)) as client:
            request = client.build_request("POST", f"{partner.url}/echo", content=b"order")
            flow = auth.auth_flow(request)
            sent = next(flow)
            partner.hostile("huge")
            partner.rotate()
            await auth.arefresh()
            refused = await client.send(sent, auth=None, stream=True)
            again = flow.send(refused)
            assert await refused.aread() == b""  # not four megabytes of it
            return await client.send(again, auth=None)

    assert anyio.run(main, backend=backend).status_code == 200
    assert [one.body for one in partner.requests] == [b"order", b"order"]


@both
def test_a_wrapper_that_asks_for_one_request_signs(partner, library):
    """As some that join several auths do."""
    auth = partner.auth()

    class First(library.Auth):
        def auth_flow(self, request):
            next(auth.auth_flow(request))
            yield request

    with library.Client(auth=First()) as client:
        assert client.get(f"{partner.url}/portfolio").status_code == 200


@both
def test_a_wrapper_with_requests_of_its_own_is_mended(partner, library):
    """Its answers stand in the history too, and are none to what we sent."""
    auth = partner.auth()
    partner.public("/login")
    partner.answer("/login", {})

    class Login(library.Auth):
        def auth_flow(self, request):
            yield library.Request("GET", f"{partner.url}/login")
            yield from auth.auth_flow(request)

    with library.Client(auth=Login()) as client:
        client.get(f"{partner.url}/portfolio")
        partner.clear()
        partner.rotate()
        assert client.get(f"{partner.url}/portfolio").status_code == 200
    assert [one.path for one in partner.requests] == ["/login", "/portfolio", "/portfolio"]


# -- taken for something else


def vendored(library):
    """Return a second copy of a library, as some packages bring one of their own."""
    name = f"vendored_{library.__name__}"
    spec = importlib.util.spec_from_file_location(
        name, library.__file__, submodule_search_locations=list(library.__path__)
    )
    copied = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(copied)
    return copied


@both
def test_a_client_that_takes_the_object_for_a_function_says_so(partner, library):
    """Signed, but never mended: that would show on the day of the rotation alone."""
    copied = vendored(library)
    assert copied.Auth is not library.Auth
    taken = pytest.raises(ConfigurationError, match=r"took PartnerAuth for a plain function")
    with copied.Client(auth=partner.auth()) as client, taken:
        client.get(f"{partner.url}/portfolio")
    assert partner.requests == []


@both
def test_an_error_for_a_request_class_of_the_users_own_is_the_clients(partner, library):
    """It derives from the client's."""

    class Own(library.Request):
        pass

    partner.store.fail(SourceUnavailable("down"))
    with library.Client(auth=partner.auth()) as client, pytest.raises(library.ConnectError):
        client.send(Own("GET", f"{partner.url}/portfolio"))


@both
def test_a_stream_of_the_users_own_is_not_sent_again(partner, library):
    """Whatever its class and its attributes are called."""

    class ByteStream(library.SyncByteStream):
        def __init__(self):
            self._stream = b"order"
            self.pieces = iter([b"order"])

        def __iter__(self):
            return self.pieces

    with library.Client(auth=partner.auth()) as client:
        client.get(f"{partner.url}/portfolio")
        partner.rotate()
        request = client.build_request("POST", f"{partner.url}/echo", content=b"order")
        request.stream = ByteStream()
        assert client.send(request).status_code == 401
    assert [one.body for one in partner.requests] == [b"", b"order"]


@both
def test_the_request_that_was_sent_again_shows_its_content(partner, library):
    """As the client's own do when the body was in memory."""
    with library.Client(auth=partner.auth()) as client:
        client.get(f"{partner.url}/portfolio")
        partner.rotate()
        got = client.post(f"{partner.url}/echo", data={"a": "1"})
    assert got.request.content == got.history[0].request.content == b"a=1"


@both
def test_two_cookie_headers_of_the_caller_become_one(partner, library):
    """RFC 6265 §5.4 wants a single one."""
    partner.cookies("session", "1")
    with library.Client(auth=partner.auth()) as client:
        headers = [("Cookie", "a=1"), ("Cookie", "b=2")]
        assert client.get(f"{partner.url}/portfolio", headers=headers).status_code == 200
    assert partner.requests[1].headers.get_all("Cookie") == ["a=1; b=2; session=1"]


@both
def test_a_cookie_for_another_path_stays_out_of_the_resend(partner, library):
    """The jar's own rules decide."""
    refused = whole(401, b"", "Set-Cookie: there=1; Path=/there", "Set-Cookie: here=1; Path=/")
    answers = [[refused], [whole(200, b"")]]
    with Server(lambda request: answers.pop(0)) as server:
        with library.Client(auth=partner.auth(origins=server.url)) as client:
            assert client.get(f"{server.url}/here").status_code == 200
        assert server.requests[1].headers["Cookie"] == "here=1"


# -- cancelled


@pytest.mark.parametrize("client_name", ASYNC)
def test_a_request_that_is_cancelled_while_the_store_is_asked_frees_its_connection(
    connect, partner, client_name
):
    """And the read goes on for the next one."""
    client = connect(partner.auth(), one_connection=True)
    client.get(f"{partner.url}/portfolio")
    partner.hostile("huge")
    partner.rotate()
    partner.store.delay(float("inf"))

    async def cancelled():
        with anyio.move_on_after(0.3) as scope:
            await client.native.get(f"{partner.url}/portfolio")
        gc.collect()  # where trio complains of what was left half read
        return scope.cancelled_caught

    assert client.call(cancelled)
    partner.store.release()
    assert client.get(f"{partner.url}/portfolio").status_code == 200
    assert partner.store.reads == 2


@pytest.mark.parametrize("client_name", ASYNC)
def test_a_request_that_is_cancelled_while_a_refusal_drips_frees_its_connection(
    connect, partner, client_name
):
    """In the midst of the bounded reading."""
    client = connect(partner.auth(), one_connection=True)
    client.get(f"{partner.url}/portfolio")
    partner.hostile("drip")
    partner.rotate()

    async def cancelled():
        with anyio.move_on_after(0.3) as scope:
            await client.native.get(f"{partner.url}/portfolio")
        gc.collect()  # where trio complains of what was left half read
        return scope.cancelled_caught

    assert client.call(cancelled)
    partner.hostile(None)
    assert client.get(f"{partner.url}/portfolio").status_code == 200


def test_many_requests_at_once_are_mended_by_one_read(partner):
    """In one event loop, over one object."""

    async def main():
        async with httpx2.AsyncClient(auth=partner.auth()) as client:
            await client.get(f"{partner.url}/portfolio")
            partner.rotate()
            asked = (client.get(f"{partner.url}/portfolio") for _ in range(20))
            return await asyncio.gather(*asked)

    assert {one.status_code for one in asyncio.run(main())} == {200}
    assert partner.store.reads == 2


# -- WebSockets


def opening(server):
    """Return what answers the handshake: 401 at first, then the protocol's own 101 and its end."""

    def answer(request):
        if len(server[0].requests) == 1:
            return [whole(401, b"refused")]
        given = request.headers["Sec-WebSocket-Key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        digest = hashlib.sha1(given.encode(), usedforsecurity=False).digest()
        accept = base64.b64encode(digest).decode()
        lines = ("Upgrade: websocket", "Connection: Upgrade", f"Sec-WebSocket-Accept: {accept}")
        return [head(101, *lines) + b"\x81\x05hello\x88\x00", b""]

    return answer


def test_a_websocket_is_signed_and_its_handshake_mended():
    """`ws://` counts as `http://` where it is decided whether to sign."""
    servers = []
    with Server(opening(servers)) as server:
        servers.append(server)
        auth = PartnerAuth(MemoryStore("acme", "k" * 40), origins=server.url)
        url = server.url.replace("http", "ws") + "/feed"
        with httpx2.Client(auth=auth) as client, client.websocket(url) as session:
            assert session.receive_text() == "hello"
        assert [one.headers["Authorization"][:7] for one in server.requests] == ["Bearer "] * 2


@in_loops
def test_an_async_websocket_is_signed_and_its_handshake_mended(backend):
    """In asyncio and trio."""
    servers = []

    async def main(server):
        auth = PartnerAuth(MemoryStore("acme", "k" * 40), origins=server.url)
        async with httpx2.AsyncClient(auth=auth) as client:
            url = server.url.replace("http", "ws") + "/feed"
            async with client.websocket(url) as session:
                assert await session.receive_text() == "hello"

    with Server(opening(servers)) as server:
        servers.append(server)
        anyio.run(main, server, backend=backend)
        assert [one.headers["Authorization"][:7] for one in server.requests] == ["Bearer "] * 2
