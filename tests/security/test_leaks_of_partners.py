"""Whatever a partner answers, and wherever a request breaks: our side shows no secret and no token.

What the frames and objects of requests and httpx hold is theirs (docs/security.md): their header is
the token.
"""

import contextlib
import threading

import httpx
import pytest
import requests

from partner_auth import Credential, RefreshPolicy, SourceRejected, SourceUnavailable
from partner_auth.httpx import SigningTransport
from partner_auth.testing import Clock, PartnerServer
from tests.clients.drivers import Aiohttp, of_aiohttp
from tests.conformance.clients import ASYNC, CLIENTS
from tests.security.test_leaks_of_stores import look_inside

AT_ONCE = RefreshPolicy(backoff=0.001, backoff_max=0.001, cooldown=0.001, jitter=0)
ALL = {**CLIENTS, "aiohttp": Aiohttp}
CHALLENGES = [None, 'Basic realm="x"', "Negotiate", "Bearer", 'Bearer error="insufficient_scope"']


class World:
    """A partner with secrets of its own that are looked for, and a client."""

    def __init__(self, shown, search, secret_of, client_name):
        self.shown, self.search, self.secret_of = shown, search, secret_of
        self.partner = PartnerServer(secret_of(), clock=Clock()).start()
        self.stranger = PartnerServer().start()
        self.client_name = client_name
        self.client = None
        self.sign_with(self.partner.auth(refresh=AT_ONCE, on_event=shown.event))

    def sign_with(self, auth):
        """Send with another object from now on."""
        if self.client is not None:
            self.client.close()
        self.auth = of_aiohttp(auth) if self.client_name == "aiohttp" else auth
        self.client = ALL[self.client_name](self.auth)

    def rotate(self, **how):
        self.partner.rotate(self.secret_of(), **how)

    def get(self, path="/portfolio", **given):
        """Send a request to the partner; keep what is raised, and what our side says after it."""
        url = path if "://" in path else f"{self.partner.url}{path}"
        answer = self.shown.tried(f"a request to {path}", lambda: self.client.get(url, **given))
        self.look()
        return answer

    def look(self):
        for name, thing in (("PartnerAuth", self.auth), ("Status", self.auth.status())):
            self.shown.look_at(name, thing)
            self.shown.pickled(name, thing)
        look_inside(self.shown, self.auth)

    def close(self):
        self.partner.store.release()
        self.client.close()
        self.partner.close()
        self.stranger.close()


@pytest.fixture(params=ALL)
def client_name(request):
    """The name of the client under test."""
    return request.param


@pytest.fixture
def world(shown, search, secret_of, client_name):
    """A partner, a stranger and a client."""
    world = World(shown, search, secret_of, client_name)
    yield world
    world.close()


@pytest.fixture
def nothing_is_found(world, shown, search):
    """At the end, look for every secret and for every token that the partner was sent."""

    def look():
        for server in (world.partner, world.stranger):
            for one in server.requests:
                search.hide_token(one.token)
        shown.__exit__()
        assert search.found(shown) == []
        assert search.tokens

    return look


def test_no_refusal_shows_a_token(world, nothing_is_found):
    """Rotations, refusals for ever, every challenge."""
    for challenge in CHALLENGES:
        world.partner.challenge(challenge)
        for store in (True, False):
            world.rotate(store=store)
            world.get()
        world.partner.accept(world.partner.store.fetch().secret_key.reveal())
        world.get()
    world.partner.reject()
    for _ in range(3):
        world.get()
    nothing_is_found()


def test_no_challenge_that_quotes_the_token_shows_it(world, shown, nothing_is_found):
    """A careless partner says which token it refused; the log tells the rest of what it said."""
    world.get()
    for quoted in (world.auth.token(), world.auth.token()[20:], world.auth.token().split(".")[2]):
        said = f'Bearer error="invalid_token", error_description="{quoted}", realm="orders"'
        world.partner.challenge(said)
        world.partner.reject()
        world.get()
    # httpcore's own lines have the headers of each answer.
    shown.texts = [(where, text) for where, text in shown.texts if "logger httpcore" not in where]
    nothing_is_found()
    assert any('realm="orders"' in text for _, text in shown.texts)


@pytest.mark.parametrize("kind", ["endless", "cut", "bad-gzip", "empty"])
def test_no_body_of_a_refusal_shows_a_token(world, nothing_is_found, kind):
    """However it ends, or does not."""
    world.get()
    world.partner.hostile(kind)
    world.rotate()
    world.get()
    if kind not in ("endless", "bad-gzip"):  # which the client itself reads for ever, or stops at
        world.partner.reject()
        world.get()
    nothing_is_found()


def test_no_broken_connection_shows_a_token(world, shown, nothing_is_found):
    """At the first send, at a resend, and while nobody listens."""
    world.get()
    world.partner.drop(3)
    world.get()
    world.rotate()
    world.partner.fail(401)
    world.partner.drop(3)
    world.get()
    world.partner.down()
    world.get()
    world.partner.up()
    world.partner.reset()
    assert world.get().status_code == 200
    nothing_is_found()
    assert shown.errors


def test_no_time_out_shows_a_token(world, shown, nothing_is_found):
    """Of the client, in the first send and in a resend."""
    world.get()
    world.partner.delay(0.2)
    world.get(timeout=0.05)
    world.partner.release()
    world.rotate()
    world.partner.delay(0, 1)
    world.get()
    world.partner.delay(0.2)
    world.rotate()
    world.get(timeout=0.1)
    world.partner.release()
    nothing_is_found()
    assert shown.errors


def test_no_redirect_shows_a_token(world, shown, nothing_is_found):
    """To a stranger, to plain http, in a loop."""
    world.partner.redirect("/away", f"{world.stranger.url}/portfolio")
    world.partner.redirect("/loop", "/loop")
    world.partner.redirect("/down", "http://192.0.2.1:1/")
    world.get("/away")
    world.rotate()
    world.get("/away")
    world.get("/loop")
    world.get("/down", timeout=0.05)
    # aiohttp's own error has the request's headers in its arguments.
    shown.texts = [(where, text) for where, text in shown.texts if "TooManyRedirects" not in where]
    nothing_is_found()
    assert {one.token for one in world.stranger.requests} == {None}


@pytest.mark.parametrize("client_name", CLIENTS, indirect=True)
def test_no_insecure_request_shows_a_token(world, shown, nothing_is_found):
    """It is refused as one of the client's own errors, and holds none."""
    world.sign_with(world.partner.auth(origins=None, on_event=shown.event))
    assert world.get().status_code == 200
    assert world.get("http://api.partner.example/x") is None
    world.get("ftp://api.partner.example/x")
    world.get("https://api.partner.example:bad/x")
    nothing_is_found()
    assert any("InsecureTransport" in text for _, text in shown.texts)


def test_no_failing_store_shows_a_token(world, shown, nothing_is_found):
    """With something held, without, at a 401, and while a read hangs."""
    for error in (
        SourceUnavailable("down", reason="timeout"),
        SourceRejected("gone", reason="deleted"),
        ValueError(world.partner.secret),
        KeyError(world.partner.secret),
        UnicodeDecodeError("utf-8", str(world.partner.secret).encode(), 0, 1, "odd"),
    ):
        world.partner.store.fail(None)
        world.shown.tried("refresh", world.auth.refresh)
        world.get()
        world.partner.store.fail(error)
        world.shown.tried("refresh", world.auth.refresh)
        world.get()
        world.partner.reject()
        world.get()
        world.partner.restore()
    nothing_is_found()
    assert shown.errors


def test_no_callback_that_raises_shows_a_token(world, shown, nothing_is_found):
    """`on_event` and `claims` may hold what they like; what they raise stays theirs."""

    def careless(event):
        raise ValueError(world.partner.secret, world.auth.token())

    def claims(credential):
        if credential.version != "1":
            raise ValueError(credential.secret_key.reveal())
        return {}

    for options in ({"on_event": careless}, {"claims": claims}):
        world.sign_with(world.partner.auth(refresh=AT_ONCE, **options))
        world.get()
        world.rotate()
        world.get()
    nothing_is_found()
    assert shown.errors


@pytest.mark.parametrize("client_name", CLIENTS, indirect=True)
def test_no_hook_that_raises_shows_a_token(shown, search, secret_of, client_name):
    """The caller's own, which the client runs below ours."""

    def careless(answer):
        raise ValueError

    world = World(shown, search, secret_of, client_name)
    with contextlib.closing(world):
        client = CLIENTS[client_name](world.auth, on_answer=careless)
        with contextlib.closing(client):
            for _ in range(2):
                shown.tried("a request", client.get, f"{world.partner.url}/portfolio")
                world.rotate()
        for one in world.partner.requests:
            search.hide_token(one.token)
    shown.__exit__()
    assert search.found(shown) == []
    assert shown.errors


@pytest.mark.parametrize("client_name", ASYNC, indirect=True)
def test_no_cancelled_request_shows_a_token(world, shown, nothing_is_found):
    """While the store is read, while a 401's body is read, and while a try is under way."""
    import anyio

    async def cancelled():
        with anyio.move_on_after(0.05):
            await world.client.native.get(f"{world.partner.url}/portfolio")

    world.partner.store.delay(0.2, 1)
    shown.tried("a cancelled request", world.client.call, cancelled)
    world.get()
    world.rotate()
    world.partner.store.delay(0.2, 1)
    shown.tried("a cancelled request", world.client.call, cancelled)
    world.rotate(store=False)
    world.partner.hostile("silent")
    shown.tried("a cancelled request", world.client.call, cancelled)
    world.look()
    nothing_is_found()


def test_no_thread_that_waits_shows_a_token(world, nothing_is_found):
    """Some at once, all refused."""
    world.get()
    world.partner.reject()
    threads = [threading.Thread(target=world.get) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    nothing_is_found()


def test_no_transport_shows_a_token(shown, search, secret_of):
    """Below a client of somebody else's."""
    with PartnerServer(secret_of(), clock=Clock()) as partner:
        auth = partner.auth(on_event=shown.event)
        transport = SigningTransport(auth)
        shown.look_at("a transport", transport)
        with httpx.Client(transport=transport) as client:
            shown.tried("a request", client.get, f"{partner.url}/portfolio")
            partner.rotate(secret_of())
            partner.drop(1)
            shown.tried("a request", client.get, f"{partner.url}/portfolio")
            shown.tried("a request", client.get, "http://127.0.0.1:1/")
        shown.tried("no origins", SigningTransport, partner.auth(origins=None))
        for one in partner.requests:
            search.hide_token(one.token)
    shown.__exit__()
    assert search.found(shown) == []
    assert search.tokens


@pytest.mark.parametrize("client_name", CLIENTS, indirect=True)
def test_what_a_client_keeps_holds_the_token(world, search, shown):
    """So the documentation says: the answer's request, its pickle, and the client's frames."""
    answer = world.get()
    world.partner.drop(3)
    world.get()
    for one in world.partner.requests:
        search.hide_token(one.token)
    shown.texts = [("headers", repr(dict(answer.request.headers)))]
    assert search.found(shown)
    shown.texts = shown.foreign
    in_frames = " ".join(search.found(shown))
    assert bool(in_frames) == ("urllib3" in in_frames) == (world.client.library is requests)


def test_a_credential_of_ones_own_stays_with_its_origin(search, secret_of, shown, client_name):
    """A `Credential` in place of a source: nothing of it is shown when its partner refuses it."""
    key = secret_of()
    world = World(shown, search, secret_of, client_name)
    with contextlib.closing(world):
        world.sign_with(world.partner.auth(source=Credential("acme", key), on_event=shown.event))
        world.get()
        for one in world.partner.requests:
            search.hide_token(one.token)
    shown.__exit__()
    assert search.found(shown) == []
    assert search.tokens
