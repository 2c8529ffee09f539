"""What is aiohttp's own: each hop judged anew, its bodies, its errors, its timers, its WebSocket."""

import asyncio
import contextlib
import copy
import io
import pickle
import time

import aiohttp
import httpx
import httpx2
import pytest
import requests
from aiohttp import web

from partner_auth import (
    ConfigurationError,
    Credential,
    InsecureTransport,
    RefreshPolicy,
    SourceRejected,
    SourceUnavailable,
)
from partner_auth.aiohttp import PartnerAuth
from partner_auth.events import RequestResent
from partner_auth.testing import Clock
from tests.clients.drivers import Aiohttp, of_aiohttp

Client = Aiohttp  # the fixture `connect` makes these
PAYLOAD = b"0123456789" * 20_000  # more than aiohttp reads of a file at once


class Pipe(io.RawIOBase):
    """A file that can't seek, whatever its position says."""

    def __init__(self):
        self._data = io.BytesIO(PAYLOAD)

    def readable(self):
        return True

    def readinto(self, buffer):
        return self._data.readinto(buffer)


class TellsOnly(Pipe):
    """One that tells where it stands, and can't go back there."""

    def tell(self):
        return self._data.tell()


async def stream():
    yield PAYLOAD[:100_000]
    yield PAYLOAD[100_000:]


def form(value, **names):
    made = aiohttp.FormData()
    made.add_field("id", "7")
    made.add_field("order", value, **names)
    return made


@pytest.fixture
def auth(partner):
    """The middleware for the partner."""
    return of_aiohttp(partner.auth())


@pytest.fixture
def stored(tmp_path):
    """Open a file with the payload, at an offset: `stored(1000)`."""
    path = tmp_path / "order.bin"
    path.write_bytes(PAYLOAD)
    with contextlib.ExitStack() as opened:

        def stored(offset=0, mode="rb"):
            file = opened.enter_context(path.open(mode))
            file.seek(offset)
            return file

        yield stored


def statuses(server):
    return [one.status for one in server.requests]


# -- origins


@pytest.mark.parametrize("source", ["env://", None])
def test_origins_must_be_named(source):
    """The middleware can't tell a hop from a request; nothing is signed by chance."""
    with pytest.raises(ConfigurationError, match="name origins"):
        PartnerAuth(source)


def test_a_client_s_general_object_is_no_middleware(partner):
    """It says which one is, where a TypeError would tell of arguments alone; nothing is sent."""

    async def main():
        async with aiohttp.ClientSession(middlewares=(partner.auth(),)) as session:
            await session.get(f"{partner.url}/portfolio")

    with pytest.raises(ConfigurationError, match=r"partner_auth\.aiohttp\.PartnerAuth.*origins"):
        asyncio.run(main())
    assert partner.requests == []


@pytest.mark.parametrize(
    "get", [requests.get, httpx.get, httpx2.get], ids=["requests", "httpx", "httpx2"]
)
def test_the_middleware_is_no_auth_of_another_client(partner, auth, get):
    """The clients take anything that can be called for a function that signs."""
    with pytest.raises(ConfigurationError, match=r"use partner_auth\.PartnerAuth"):
        get(f"{partner.url}/portfolio", auth=auth, timeout=5)
    assert partner.requests == []


def test_the_variable_names_the_origin(monkeypatch, partner, connect):
    """`PARTNER_BASE_URL`, where the rest comes from the environment too."""
    monkeypatch.setenv("PARTNER_BASE_URL", f"{partner.url}/v1")
    monkeypatch.setenv("PARTNER_CLIENT_ID", partner.client_id)
    monkeypatch.setenv("PARTNER_SECRET_KEY", partner.secret)
    assert connect(PartnerAuth()).get(f"{partner.url}/portfolio").status_code == 200


def test_a_hop_to_another_named_origin_is_signed_at_once(connect, partner, other):
    """Aiohttp has dropped the header there; the hop is a request of its own."""
    other.accept(partner.secret)
    partner.redirect("/moved", f"{other.url}/echo", 307)
    client = connect(partner.auth(origins=[partner.url, other.url]))
    assert client.post(f"{partner.url}/moved", content=PAYLOAD).status_code == 200
    assert statuses(other) == [200]
    assert other.requests[0].body == PAYLOAD


def test_a_hop_to_a_stranger_is_left_alone(client, partner, other):
    """It carries no token, and its 401 is neither mended nor looked into."""
    partner.redirect("/away", f"{other.url}/portfolio")
    got = client.get(f"{partner.url}/away")
    assert (got.status_code, got.json()) == (401, {"error": "missing_token"})
    assert [one.token for one in other.requests] == [None]
    assert partner.store.reads == 1


def test_a_hop_from_a_stranger_is_signed(client, partner, other):
    """Whoever redirected there, the partner gets what it asks for."""
    other.public("/start")
    other.redirect("/start", f"{partner.url}/portfolio")
    assert client.get(f"{other.url}/start").status_code == 200
    assert statuses(partner) == [200]


def test_each_hop_is_mended_by_itself(client, partner):
    """401, 302, then the new token at once."""
    partner.redirect("/old", "/portfolio")
    partner.rotate()
    assert client.get(f"{partner.url}/old").status_code == 200
    assert statuses(partner) == [401, 302, 200]


def test_a_hop_from_https_to_http_is_refused(connect, secure, other):
    """At the named host, before anything is sent."""
    secure.redirect("/away", f"{other.url}/portfolio")
    client = connect(secure.auth(), verify=secure.ca)
    with pytest.raises(InsecureTransport, match=other.url) as caught:
        client.get(f"{secure.url}/away")
    assert isinstance(caught.value, aiohttp.ClientError)
    assert str(caught.value.request.url) == f"{other.url}/portfolio"
    assert other.requests == []


def test_a_redirect_ends_a_rejection(connect, partner, other):
    """It is an accepted answer, whatever the place that it leads to says."""
    auth = of_aiohttp(partner.auth())
    client = connect(auth)
    partner.public("/away")
    partner.redirect("/away", f"{other.url}/portfolio")
    partner.reject()
    client.get(f"{partner.url}/portfolio")
    assert auth.status().state == "rejected"
    assert client.get(f"{partner.url}/away").status_code == 401
    assert auth.status().state == "fresh"


def test_a_server_error_does_not_end_a_rejection(connect, partner):
    """It says nothing of the token."""
    auth = of_aiohttp(partner.auth())
    client = connect(auth)
    partner.reject()
    client.get(f"{partner.url}/portfolio")
    partner.fail(503)
    assert client.get(f"{partner.url}/portfolio").status_code == 503
    assert auth.status().state == "rejected"


# -- bodies


WHOLE = {
    "bytes": lambda stored: PAYLOAD,
    "bytearray": lambda stored: bytearray(PAYLOAD),
    "text": lambda stored: PAYLOAD.decode(),
    "form": lambda stored: {"a": "1", "b": "2"},
    "file": lambda stored: stored(),
    "file-at-an-offset": lambda stored: stored(1000),
    "text-file": lambda stored: stored(mode="r"),
    "memory": lambda stored: io.BytesIO(PAYLOAD),
    "memory-text": lambda stored: io.StringIO("order"),
    "multipart": lambda stored: form(PAYLOAD.decode(), content_type="text/plain"),
    "multipart-of-a-file": lambda stored: form(stored()),
    "multipart-of-memory": lambda stored: form(io.BytesIO(PAYLOAD)),
}
ONCE = {
    "stream": lambda stored: stream(),
    "unseekable-file": lambda stored: Pipe(),
    "file-that-tells-only": lambda stored: TellsOnly(),
    "multipart-of-an-unseekable-file": lambda stored: form(Pipe(), filename="order"),
    "multipart-of-a-file-that-tells-only": lambda stored: form(TellsOnly(), filename="order"),
    "multipart-of-a-stream": lambda stored: form(stream(), filename="order"),
}


@pytest.mark.parametrize("body", WHOLE.values(), ids=WHOLE)
def test_a_known_body_is_sent_again_whole(client, partner, stored, body):
    """And a third time: the current secret is refused, the pending one accepted."""
    partner.store.pending = partner.rotate(store=False)
    assert client.post(f"{partner.url}/echo", content=body(stored)).status_code == 200
    assert statuses(partner) == [401, 401, 200]
    assert len({one.body for one in partner.requests}) == 1
    assert partner.requests[0].body


def test_json_is_sent_again_whole(client, partner):
    """As it was serialised once."""
    partner.rotate()
    assert client.post(f"{partner.url}/echo", json={"a": 1}).status_code == 200
    assert [one.body for one in partner.requests] == [b'{"a": 1}'] * 2


def test_a_compressed_body_is_sent_again_whole(client, partner):
    """Aiohttp packs it anew."""
    partner.rotate()
    assert client.post(f"{partner.url}/echo", content=PAYLOAD, compress=True).status_code == 200
    assert len({one.body for one in partner.requests}) == 1


def test_a_file_at_an_offset_goes_out_from_there(client, partner, stored):
    """From where it stood when it was given."""
    partner.rotate()
    client.post(f"{partner.url}/echo", content=stored(1000))
    assert [one.body for one in partner.requests] == [PAYLOAD[1000:]] * 2


@pytest.mark.parametrize("body", ONCE.values(), ids=ONCE)
def test_a_body_that_can_not_be_sent_again_never_is(client, partner, stored, body):
    """The caller gets the 401, and the next request is right."""
    partner.rotate()
    got = client.post(f"{partner.url}/echo", content=body(stored))
    assert (got.status_code, got.json()) == (401, {"error": "unknown_secret"})
    assert PAYLOAD in partner.requests[0].body
    assert client.get(f"{partner.url}/portfolio").status_code == 200
    assert statuses(partner) == [401, 200]


def test_a_payload_of_another_s_making_is_never_sent_again(client, partner):
    """It says that it isn't consumed, because it knows no better."""

    class Fed(aiohttp.Payload):
        async def write(self, writer):
            await writer.write(self._value.read())

        def decode(self, encoding="utf-8", errors="strict"):
            raise NotImplementedError

    partner.rotate()
    got = client.post(f"{partner.url}/echo", content=Fed(io.BytesIO(b"order")))
    assert got.status_code == 401
    assert [one.body for one in partner.requests] == [b"order"]


@pytest.mark.parametrize("body", ONCE.values(), ids=ONCE)
def test_a_one_shot_body_waits_for_a_read_that_is_due(connect, partner, stored, body):
    """Its 401 could not be mended, so it does not go out with a stale credential."""
    partner.clock = clock = Clock()
    client = connect(partner.auth(clock=clock, refresh=RefreshPolicy(jitter=0)))
    client.get(f"{partner.url}/portfolio")
    partner.rotate()
    clock.advance(901)
    assert client.post(f"{partner.url}/echo", content=body(stored)).status_code == 200


def test_a_file_that_is_closed_meanwhile_is_not_sent_again(connect, partner, stored):
    """The 401 goes back, rather than half a body."""
    file = stored()

    def told(event):
        if isinstance(event, RequestResent):
            file.close()

    client = connect(partner.auth(on_event=told))
    client.get(f"{partner.url}/portfolio")
    partner.rotate()
    assert client.post(f"{partner.url}/echo", content=file).status_code == 401
    assert statuses(partner) == [200, 401]


def serving(handler):
    """Serve with aiohttp's own server on loopback; yields its URL."""

    @contextlib.asynccontextmanager
    async def opened():
        runner = web.ServerRunner(web.Server(handler))
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        try:
            yield f"http://127.0.0.1:{runner.addresses[0][1]}"
        finally:
            await runner.cleanup()

    return opened()


@pytest.mark.parametrize(
    "body", [lambda stored: PAYLOAD, lambda stored: stream()], ids=["bytes", "stream"]
)
def test_a_body_that_waits_for_a_100_has_not_gone_out(partner, stored, body):
    """`expect100`: a 401 in place of the 100 leaves even a stream whole."""
    got = []

    async def handler(request):
        if request.headers["Authorization"] == got[0]:
            return web.Response(status=401)
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        return web.Response(body=await request.read())

    async def main():
        async with serving(handler) as url:
            auth = PartnerAuth(partner.store, origins=url)
            got.append(f"Bearer {await auth.atoken(url)}")
            partner.store.set("k" * 40)
            # before 3.14.5 aiohttp goes on with a connection whose server waits for a body still
            connector = aiohttp.TCPConnector(force_close=True)
            async with (
                aiohttp.ClientSession(middlewares=(auth,), connector=connector) as session,
                session.post(url, data=body(stored), expect100=True) as response,
            ):
                return response.status, await response.read()

    assert asyncio.run(main()) == (200, PAYLOAD)


def test_a_refusal_before_the_upload_is_over_is_mended(partner, tmp_path):
    """The upload is broken off, and the file goes out again from its beginning."""
    path = tmp_path / "order.bin"
    size = 32 * 1024 * 1024
    with path.open("wb") as file:
        file.write(b"first")
        file.truncate(size)
    seen, got = [], []

    async def handler(request):
        if request.headers["Authorization"] == got[0]:
            return web.Response(status=401)
        seen.extend([piece async for piece in request.content.iter_any()])
        return web.Response()

    async def main():
        async with serving(handler) as url:
            auth = PartnerAuth(partner.store, origins=url)
            got.append(f"Bearer {await auth.atoken(url)}")
            partner.store.set("k" * 40)
            with path.open("rb") as file:
                async with aiohttp.ClientSession(middlewares=(auth,)) as session:
                    return (await session.put(url, data=file)).status

    assert asyncio.run(main()) == 200
    assert sum(map(len, seen)) == size
    assert seen[0].startswith(b"first")


# -- errors and time


@pytest.mark.parametrize(
    "error,base",
    [
        (SourceUnavailable("the store is down"), aiohttp.ClientConnectionError),
        (SourceRejected("the secret is gone", reason="deleted"), aiohttp.ClientError),
    ],
    ids=["unavailable", "rejected"],
)
def test_errors_are_aiohttp_s_own_too(connect, partner, error, base):
    """With the request set, and ready to be pickled; nothing is sent."""
    partner.store.fail(error)
    client = connect(partner.auth())
    with pytest.raises(type(error), match=str(error)) as caught:
        client.get(f"{partner.url}/portfolio")
    assert isinstance(caught.value, base)
    assert isinstance(caught.value, aiohttp.ClientConnectionError) == (
        base is aiohttp.ClientConnectionError
    )
    assert str(caught.value.request.url) == f"{partner.url}/portfolio"
    again = pickle.loads(pickle.dumps(caught.value))
    assert (type(again), str(again)) == (type(caught.value), str(error))
    assert partner.requests == []


def test_a_store_that_fails_at_a_401_hides_nothing(client, partner):
    """The 401 goes back, not the store's error."""
    partner.rotate()
    partner.store.fail(SourceUnavailable("the store is down"))
    assert client.get(f"{partner.url}/portfolio").status_code == 401


@pytest.mark.parametrize("kind", ["silent", "drip"])
def test_the_time_of_the_whole_request_counts_on(connect, partner, kind):
    """A refused body that never ends uses it up: aiohttp's own error, and no further send."""
    client = connect(partner.auth(), timeout=aiohttp.ClientTimeout(total=0.4))
    client.get(f"{partner.url}/portfolio")
    partner.hostile(kind)
    partner.rotate()
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        client.get(f"{partner.url}/portfolio")
    assert time.monotonic() - began < 0.9
    assert statuses(partner) == [200, 401]


def test_the_time_between_two_pieces_is_not_the_caller_s(connect, partner):
    """`sock_read` runs out over the refused body, which changes nothing."""
    client = connect(partner.auth(), timeout=aiohttp.ClientTimeout(sock_read=0.6))
    client.get(f"{partner.url}/portfolio")
    partner.hostile("silent")
    partner.rotate()
    assert client.get(f"{partner.url}/portfolio").status_code == 200


def test_a_slow_store_is_cut_short_by_the_time_of_the_whole_request(connect, partner):
    """The waiting is cancelled, not the read."""
    partner.store.delay(5)
    client = connect(partner.auth(), timeout=aiohttp.ClientTimeout(total=0.3))
    with pytest.raises(TimeoutError):
        client.get(f"{partner.url}/portfolio")
    partner.store.release()
    assert client.get(f"{partner.url}/portfolio").status_code == 200
    assert partner.store.reads == 1


def test_a_request_that_is_cancelled_at_a_401_frees_its_connection(partner, auth):
    """While it waits for the store; another request goes on over a pool of one."""

    async def main():
        connector = aiohttp.TCPConnector(limit=1)
        async with aiohttp.ClientSession(middlewares=(auth,), connector=connector) as session:
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
            async with asyncio.timeout(5), session.get(f"{partner.url}/portfolio") as response:
                return response.status

    assert asyncio.run(main()) == 200


def test_many_rejected_at_once_share_a_pool_of_one(connect, partner, auth):
    """With refused bodies that aiohttp can't buffer: each gives its connection up in turn."""

    async def one(session):
        async with session.get(f"{partner.url}/portfolio") as response:
            return response.status

    async def main():
        connector = aiohttp.TCPConnector(limit=1)
        async with aiohttp.ClientSession(middlewares=(auth,), connector=connector) as session:
            await one(session)
            partner.hostile("huge")
            partner.rotate()
            async with asyncio.timeout(10):
                return await asyncio.gather(*(one(session) for _ in range(8)))

    assert asyncio.run(main()) == [200] * 8


def test_the_loop_runs_on_while_a_store_is_read(partner, auth):
    """A read has a thread of its own."""
    partner.store.delay(0.3)

    async def main():
        async with aiohttp.ClientSession(middlewares=(auth,)) as session:
            task = asyncio.create_task(session.get(f"{partner.url}/portfolio"))
            longest, before = 0.0, time.monotonic()
            while not task.done():
                await asyncio.sleep(0.01)
                now = time.monotonic()
                longest, before = max(longest, now - before), now
            async with await task as response:
                return response.status, longest

    status, longest = asyncio.run(main())
    assert status == 200
    assert longest < 0.2


def test_a_long_refusal_is_not_read_to_its_end(client, partner):
    """64 KiB of it at most: its connection is dropped instead."""
    partner.hostile("huge")
    partner.rotate()
    assert client.get(f"{partner.url}/portfolio").status_code == 200
    assert len({one.connection for one in partner.requests}) == 2


# -- beside aiohttp's other ways


@pytest.mark.parametrize("how", [True, "callable"])
def test_raise_for_status_sees_the_last_answer(connect, partner, how):
    """Aiohttp asks for it above the middleware."""
    seen = []

    async def noted(response):
        seen.append(response.status)

    client = connect(partner.auth(), raise_for_status=noted if how == "callable" else how)
    client.get(f"{partner.url}/portfolio")
    partner.rotate()
    assert client.get(f"{partner.url}/portfolio").status_code == 200
    assert seen in ([], [200, 200])


def test_a_refusal_that_lasts_is_raised_for_its_status(connect, partner):
    """With aiohttp's own error."""
    client = connect(partner.auth(), raise_for_status=True)
    partner.reject()
    with pytest.raises(aiohttp.ClientResponseError) as caught:
        client.get(f"{partner.url}/portfolio")
    assert caught.value.status == 401


def test_middlewares_of_a_request_take_the_place_of_the_session_s(client, partner):
    """Aiohttp's rule: none means unsigned."""
    assert client.get(f"{partner.url}/portfolio", middlewares=()).status_code == 401
    assert [one.token for one in partner.requests] == [None]


def test_a_middleware_further_in_that_signs_is_mended_too(partner, auth):
    """It arrived without our token at a named origin: it is signed and sent once more."""

    async def theirs(request, handler):
        request.headers.setdefault("X-Sends", "")
        if not request.headers["X-Sends"]:
            request.headers["Authorization"] = "Basic bWU6bWU="
        request.headers["X-Sends"] += "x"
        return await handler(request)

    async def main():
        async with (
            aiohttp.ClientSession(middlewares=(auth, theirs)) as session,
            session.get(f"{partner.url}/portfolio") as response,
        ):
            return response.status

    assert asyncio.run(main()) == 200
    assert statuses(partner) == [401, 200]
    assert partner.store.reads == 1  # none at the 401: it says nothing of our token


def test_credentials_in_the_url_are_replaced(client, partner):
    """As an `Authorization` header is."""
    url = partner.url.replace("://", "://me:me@")
    assert client.get(f"{url}/portfolio").status_code == 200


def test_a_websocket_s_handshake_is_mended(partner):
    """`ws://` counts as `http://`."""
    got = []

    async def handler(request):
        if request.headers["Authorization"] == got[0]:
            return web.Response(status=401)
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_str("welcome")
        await socket.close()
        return socket

    async def main():
        async with serving(handler) as url:
            auth = PartnerAuth(partner.store, origins=url)
            got.append(f"Bearer {await auth.atoken(url)}")
            partner.store.set("k" * 40)
            async with (
                aiohttp.ClientSession(middlewares=(auth,)) as session,
                session.ws_connect(url.replace("http", "ws")) as socket,
            ):
                return await socket.receive_str()

    assert asyncio.run(main()) == "welcome"


def test_one_object_serves_loops_in_turn(partner, auth):
    """Nothing of it belongs to a loop."""

    async def main():
        async with (
            aiohttp.ClientSession(middlewares=(auth,)) as session,
            session.get(f"{partner.url}/portfolio") as response,
        ):
            return response.status

    assert [asyncio.run(main()) for _ in range(2)] == [200, 200]
    assert partner.store.reads == 1


def test_a_cookie_for_one_request_stays(connect, partner):
    """It is not put back to what the jar holds, beside the 401's own."""
    client = connect(partner.auth())
    partner.cookies("session", "1")
    client.get(f"{partner.url}/portfolio")
    partner.clear()
    partner.cookies("other", "2")
    got = client.get(f"{partner.url}/portfolio", cookies={"session": "mine"})
    assert got.status_code == 200
    assert partner.requests[1].headers["Cookie"] == "session=mine; other=2"


def test_it_is_pickled_and_copied_without_what_it_holds():
    """As every PartnerAuth is."""
    auth = PartnerAuth("env://", origins="https://api.partner.example")
    again = pickle.loads(pickle.dumps(auth))
    assert (type(again), repr(again)) == (PartnerAuth, repr(auth))
    assert copy.deepcopy(auth) is auth


def test_the_signature_is_that_of_every_partner_auth():
    """What `help()` shows."""
    import inspect

    import partner_auth

    assert inspect.signature(PartnerAuth) == inspect.signature(partner_auth.PartnerAuth)


def test_the_warning_about_plain_http_points_at_the_caller():
    """Not into the library."""
    with pytest.warns(UserWarning, match="readable on the way") as caught:
        PartnerAuth(Credential("acme", "k" * 32), origins="http://api.partner.example")
    assert caught[0].filename == __file__
