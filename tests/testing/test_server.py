"""The test partner, asked by real clients."""

import concurrent.futures
import contextlib
import datetime as dt
import gc
import hashlib
import http.client
import ipaddress
import json
import math
import socket
import ssl
import threading
import time
import warnings

import httpx
import httpx2
import jwt
import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID

from partner_auth.testing import Clock, PartnerServer

SECRET = "the first secret of this partner, long enough"
OTHER = "another secret of the same length or nearly so"


@pytest.fixture
def clock():
    """Stand still in 2026."""
    return Clock()


@pytest.fixture
def server(clock):
    """Run a partner whose secret and time are known."""
    with PartnerServer(SECRET, clock=clock) as partner:
        yield partner


@pytest.fixture(scope="module")
def tls(tmp_path_factory):
    """Make a certificate for 127.0.0.1: the server's context and the client's."""
    key, pem = ec.generate_private_key(ec.SECP256R1()), tmp_path_factory.mktemp("tls") / "both.pem"
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "partner")])
    today = dt.datetime.now(dt.UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(today - dt.timedelta(days=1))
        .not_valid_after(today + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .sign(key, hashes.SHA256())
    )
    text = certificate.public_bytes(serialization.Encoding.PEM).decode()
    pem.write_text(_key_pem(key) + text)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return context, ssl.create_default_context(cadata=text)


def signed(server, secret=None, *, algorithm="HS256", **claims):
    """Sign a token as the partner's guide does; a claim that is given as ... is left out."""
    now = int(server.clock.now() if server.clock else time.time())
    claims = {"clientId": "acme", "iat": now, "exp": now + 900} | claims
    claims = {name: value for name, value in claims.items() if value is not ...}
    return jwt.encode(claims, secret or server.secret, algorithm)


def ask(server, path="/portfolio", *, token=None, method="GET", headers=(), **options):
    """Ask once, over a connection of its own."""
    headers = {"Authorization": f"Bearer {token or signed(server)}"} | dict(headers)
    with requests.Session() as session:
        options = {"timeout": 5, "allow_redirects": False} | options
        return session.request(method, server.url + path, headers=headers, **options)


def statuses(server):
    """Return what was answered so far."""
    return [received.status for received in server.requests]


def with_requests(url, headers):
    """Ask with requests."""
    return requests.get(url, headers=headers, timeout=1)


def with_httpx(url, headers):
    """Ask with httpx."""
    return httpx.get(url, headers=headers, timeout=1)


def with_httpx2(url, headers):
    """Ask with httpx2."""
    return httpx2.get(url, headers=headers, timeout=1)


each_client = pytest.mark.parametrize(
    "get", [with_requests, with_httpx, with_httpx2], ids=["requests", "httpx", "httpx2"]
)


# What it believes


@each_client
def test_a_good_token_is_answered(server, get):
    """Every client gets the portfolio with a token over the secret."""
    answer = get(f"{server.url}/portfolio", {"Authorization": f"Bearer {signed(server)}"})
    assert (answer.status_code, answer.json()["positions"][0]["symbol"]) == (200, "ACME")


@pytest.mark.parametrize(
    "claims,refusal",
    [
        ({"iat": ...}, "bad_claims"),
        ({"exp": ...}, "bad_claims"),
        ({"clientId": ...}, "bad_claims"),
        ({"iat": 1_767_225_600.5}, "bad_claims"),
        ({"exp": 1_767_226_500.0}, "bad_claims"),
        ({"exp": True}, "bad_claims"),
        ({"clientId": "somebody else"}, "wrong_client"),
        ({"iat": 1_767_225_601}, "issued_in_future"),
        ({"exp": 1_767_225_600}, "expired"),
        ({"exp": 1_767_225_601}, None),
    ],
)
def test_claims_are_checked_as_pyjwt_does(server, claims, refusal):
    """All three are required, times are whole, `exp` has no and `iat` full force at its second."""
    answer = ask(server, token=signed(server, **claims))
    assert (answer.status_code, server.requests[0].refusal) == (401 if refusal else 200, refusal)


@pytest.mark.parametrize(
    "line,refusal",
    [
        ("Bearer not.a.token", "malformed_token"),
        ("Bearer ", "missing_token"),
        ("Basic dXNlcjpwYXNz", "missing_token"),
        ("bearer {token}", "missing_token"),
        ("Bearer {other}", "unknown_secret"),
        ("Bearer {hs512}", "unsupported_algorithm"),
        ("Bearer {none}", "unsupported_algorithm"),
    ],
)
def test_whatever_is_no_token_of_its_own_is_refused(server, line, refusal):
    """Another scheme, another spelling, another key and another algorithm all get a 401."""
    line = line.format(
        token=signed(server),
        other=signed(server, OTHER),
        hs512=signed(server, SECRET * 2, algorithm="HS512"),
        none=jwt.encode({"clientId": "acme"}, None, "none"),
    )
    answer = requests.get(server.url, headers={"Authorization": line}, timeout=5)
    received = server.requests[0]
    assert (answer.json(), received.refusal) == ({"error": refusal}, refusal)
    assert received.accepted_by is None


def test_two_tokens_are_one_too_many(server):
    """A client that adds its header twice is told so."""
    connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=5)
    connection.putrequest("GET", "/portfolio")
    for _ in range(2):
        connection.putheader("Authorization", f"Bearer {signed(server)}")
    connection.endheaders()
    assert connection.getresponse().status == 401
    connection.close()


def test_leeway_forgives_seconds(clock):
    """A lenient partner takes a token from the near future."""
    with PartnerServer(clock=clock, leeway=5) as server:
        answers = [ask(server, token=signed(server, iat=int(clock.now()) + n)) for n in (5, 6)]
    assert [answer.status_code for answer in answers] == [200, 401]


def test_a_short_secret_is_believed_without_a_warning():
    """Partners issue short keys; warnings are errors here, in the server's threads too."""
    token = jwt.api_jws.PyJWS().get_algorithm_by_name("HS256")
    head, claims = ("eyJhbGciOiJIUzI1NiJ9", "eyJjbGllbnRJZCI6ImFjbWUiLCJpYXQiOjEsImV4cCI6OX0")
    signature = jwt.utils.base64url_encode(token.sign(f"{head}.{claims}".encode(), b"short"))
    with PartnerServer("short", clock=Clock(5.0)) as server:
        assert ask(server, token=f"{head}.{claims}.{signature.decode()}").ok


def test_a_port_of_ones_own_choice():
    """For a program that is told the URL beforehand; known before it starts, and an error when it is taken."""
    with PartnerServer() as first:
        port = int(first.url.rpartition(":")[2])
        with pytest.raises(OSError, match="in use"):
            PartnerServer(port=port).start()
    chosen = PartnerServer(port=port)
    assert chosen.url == first.url
    with chosen:
        assert requests.get(f"{chosen.url}/portfolio", auth=chosen.auth(), timeout=5).ok


@pytest.mark.parametrize("client_id", ["acme", "globex"])
def test_it_knows_its_client(client_id):
    """The claim `clientId` is the one it was made with."""
    with PartnerServer(client_id="globex") as server:
        assert ask(server, token=signed(server, clientId=client_id)).ok == (client_id == "globex")


@pytest.mark.parametrize(
    "algorithm,made",
    [
        ("ES256", lambda: ec.generate_private_key(ec.SECP256R1())),
        ("RS256", lambda: rsa.generate_private_key(65537, 2048)),
        ("EdDSA", ed25519.Ed25519PrivateKey.generate),
    ],
    ids=["ES256", "RS256", "EdDSA"],
)
def test_other_algorithms_can_be_set(algorithm, made):
    """The store has the private key, and the partner verifies with its public half."""
    pem = _key_pem(made())
    with PartnerServer(pem, algorithms=[algorithm]) as server:
        assert ask(server, token=signed(server, pem, algorithm=algorithm)).ok
        assert not ask(server, token=signed(server, SECRET)).ok


def test_a_private_key_is_not_made_up():
    """Only an HMAC secret is any random text."""
    with pytest.raises(ValueError, match="PEM"):
        PartnerServer(algorithms=["ES256"])


def test_a_key_that_does_not_fit_fails_in_the_test():
    """And not in a thread of the server, where nobody sees it."""
    with pytest.raises(ValueError, match="no key for ES256"):
        PartnerServer("no PEM", algorithms=["ES256"])


# Its clock


def test_it_verifies_by_the_clock_it_is_given(server, clock):
    """A token expires when the test says so."""
    token = signed(server)
    clock.advance(899)
    before = ask(server, token=token)
    clock.advance(1)
    assert (before.status_code, ask(server, token=token).status_code) == (200, 401)


@pytest.mark.parametrize("skew,refusal", [(-10, "issued_in_future"), (900, "expired"), (899, None)])
def test_its_clock_can_be_wrong(server, skew, refusal):
    """Behind: tokens come from the future; ahead: they are expired."""
    server.skew(skew)
    ask(server)
    assert server.requests[0].refusal == refusal


def test_the_date_header_is_of_its_clock(server):
    """A client can learn the skew from it."""
    server.skew(90)
    server.reject()
    assert ask(server).headers["Date"] == "Thu, 01 Jan 2026 00:01:30 GMT"


@pytest.mark.parametrize("texts", [(), ("garbage",), ("Thu, 01 Jan 2099 00:00:00 GMT", "")])
def test_date_headers_can_be_anything(server, texts):
    """None at all, one, or two, word for word, until it is honest again."""
    server.dates(*texts)
    assert _raw(server).headers.get_all("Date", []) == list(texts)
    server.dates(None)
    assert _raw(server).headers.get_all("Date") == ["Thu, 01 Jan 2026 00:00:00 GMT"]


def test_without_a_clock_it_uses_the_machines():
    """A program that is not a test of time needs none."""
    with PartnerServer() as server:
        assert ask(server).ok
        assert server.now() == pytest.approx(time.time(), abs=5)


# Rotation


def accepted(server, *secrets):
    """Say by which of the partner's secrets each of these is accepted now."""
    server.clear()
    for secret in secrets:
        ask(server, token=signed(server, secret))
    return [received.accepted_by for received in server.requests]


def test_a_rotation_ends_the_old_secret(server):
    """By default there is no overlap, and the store has the new one."""
    new = server.rotate()
    assert accepted(server, SECRET, new) == [None, "current"]
    assert server.store.fetch().secret_key.reveal() == new == server.secret


def test_partner_first(server):
    """The store can be left behind, and corrected later."""
    new = server.rotate(store=False)
    assert server.store.fetch().secret_key.reveal() == SECRET
    server.store.set(new)
    assert server.store.fetch().secret_key.reveal() == new


def test_store_first(server):
    """The store can have the new secret before the partner does."""
    server.store.set(OTHER)
    assert accepted(server, SECRET, OTHER) == ["current", None]
    server.rotate(OTHER)
    assert accepted(server, SECRET, OTHER) == [None, "current"]


def test_an_overlap_lasts_until_it_is_retired(server):
    """Both secrets are accepted in between."""
    new = server.rotate(overlap=True)
    assert accepted(server, SECRET, new) == ["previous", "current"]
    server.retire()
    assert accepted(server, SECRET, new) == [None, "current"]


def test_an_overlap_ends_by_its_clock(server, clock):
    """A number of seconds sets its length."""
    new = server.rotate(overlap=60)
    clock.advance(59)
    assert accepted(server, SECRET, new) == ["previous", "current"]
    clock.advance(1)
    assert accepted(server, SECRET, new) == [None, "current"]


def test_exactly_what_is_accepted_can_be_said(server):
    """The first is the current one, and there may be none."""
    server.accept(OTHER, SECRET)
    assert accepted(server, OTHER, SECRET) == ["current", "previous"]
    server.accept()
    assert (accepted(server, OTHER, SECRET), server.secret) == ([None, None], OTHER)


def test_everything_is_refused_until_it_is_restored(server):
    """`reject` forgets no secret."""
    server.reject()
    assert ask(server).json() == {"error": "rejecting"}
    server.restore()
    assert ask(server).ok


def test_accept_ends_reject(server):
    """Whoever says what is accepted means it."""
    server.reject()
    server.accept(SECRET)
    assert ask(server).ok


def test_nodes_switch_one_by_one(server):
    """Two machines in turn: one has switched, the other not yet."""
    server.nodes(2)
    new = server.rotate(OTHER, node=0)
    assert accepted(server, new, new, SECRET, SECRET) == ["current", None, None, "previous"]
    server.rotate(new, node=1)
    assert accepted(server, new, new, SECRET, SECRET) == ["current", "current", None, None]


def test_nodes_are_recorded(server):
    """So a test can see which machine said no."""
    server.nodes(3)
    for _ in range(4):
        ask(server)
    assert [received.node for received in server.requests] == [0, 1, 2, 0]


def test_nodes_can_be_taken_by_chance(server):
    """A seed makes the same choice again."""
    orders = []
    for _ in range(2):
        server.nodes(8, seed=7)
        server.clear()
        for _ in range(12):
            ask(server)
        orders.append([received.node for received in server.requests])
    assert orders[0] == orders[1] != [n % 8 for n in range(12)]


def test_what_one_node_accepts_can_be_said(server):
    """The others, and the current secret, stay."""
    server.nodes(2)
    server.accept(OTHER, node=1)
    assert (accepted(server, SECRET, SECRET), server.secret) == (["current", None], SECRET)


def test_at_least_one_node_is_wanted(server):
    """A partner of no machines answers nothing."""
    with pytest.raises(ValueError, match="at least one"):
        server.nodes(0)


# What it answers


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_echo_says_what_arrived(server, method):
    """A test can see that a body was sent again whole."""
    body = bytes(range(256)) * 1000
    answer = ask(server, "/echo", method=method, data=body)
    assert answer.json() == {"bytes": len(body), "sha256": hashlib.sha256(body).hexdigest()}
    assert server.requests[0].body == body


def test_chunked_bodies_arrive_joined(server):
    """A generator goes out in chunks."""
    ask(server, "/echo", method="POST", data=(piece for piece in [b"one", b"two"]))
    assert server.requests[0].body == b"onetwo"


def test_it_asks_for_a_body_that_waits_for_it(server):
    """`Expect: 100-continue`, as curl sends with a large body, is answered before the body."""
    head = f"POST /echo HTTP/1.1\r\nAuthorization: Bearer {signed(server)}\r\nContent-Length: 2\r\n"
    with _connected(server) as raw:
        raw.sendall(f"{head}Expect: 100-continue\r\n\r\n".encode())
        assert raw.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        raw.sendall(b"hi")
        assert raw.recv(1000).startswith(b"HTTP/1.1 200 OK\r\n")


def test_a_document_can_be_put_anywhere(server):
    """A program's own paths are answered with what its test says."""
    server.answer("/orders", {"orders": []}, status=201)
    answer = ask(server, "/orders?page=2")
    assert (answer.status_code, answer.json()) == (201, {"orders": []})


def test_elsewhere_there_is_nothing(server):
    """And the answer says how something gets there."""
    answer = ask(server, "/orders")
    assert (answer.status_code, "answer()" in answer.text) == (404, True)


def test_head_has_no_body(server):
    """Its length is told, and nothing follows the head."""
    with _connected(server) as raw:
        raw.sendall(b"HEAD / HTTP/1.1\r\nConnection: close\r\n\r\n")
        answer = b"".join(iter(lambda: raw.recv(1000), b""))
    assert b"\r\nContent-Length: 26\r\n" in answer
    assert answer.endswith(b"\r\n\r\n")


def test_failures_are_counted(server):
    """The next two requests get a 503, whatever they carry; the third is answered."""
    server.fail(503, times=2)
    server.fail(429)
    answers = [ask(server).status_code for _ in range(4)]
    assert answers == statuses(server) == [503, 503, 429, 200]


def test_a_connection_can_break_instead_of_an_answer(server):
    """The request is on record, without a status."""
    server.drop()
    with pytest.raises(requests.ConnectionError):
        ask(server)
    assert (ask(server).status_code, statuses(server)) == (200, [None, 200])


def test_a_forbidden_path_is_always_401(server):
    """A partner that says 401 where 403 is meant; other paths are none the worse."""
    server.forbid("/admin")
    assert [ask(server, path).status_code for path in ("/admin?x=1", "/portfolio")] == [401, 200]
    assert server.requests[0].refusal == "forbidden"


def test_a_public_path_needs_no_token(server):
    """A stranger's server can be played, which looks at no token."""
    server.public("/open")
    server.answer("/open", [])
    assert requests.get(f"{server.url}/open", timeout=5).ok
    assert (server.requests[0].token, server.requests[0].refusal) == (None, None)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_path_can_redirect(server, status):
    """Once the token is accepted."""
    server.redirect("/old", "/portfolio", status)
    answer = ask(server, "/old")
    assert (answer.status_code, answer.headers["Location"]) == (status, "/portfolio")
    assert requests.get(f"{server.url}/old", timeout=5).status_code == 401


def test_a_public_redirect_needs_no_token(server):
    """A stranger can send a client here."""
    server.public("/go")
    server.redirect("/go", "https://elsewhere.example/")
    answer = requests.get(f"{server.url}/go", timeout=5, allow_redirects=False)
    assert answer.headers["Location"] == "https://elsewhere.example/"


@pytest.mark.parametrize("text", [None, 'Bearer error="invalid_token"', "Basic"])
def test_the_challenge_can_be_set(server, text):
    """At first there is none."""
    server.reject()
    server.challenge(text)
    assert ask(server).headers.get("WWW-Authenticate") == text


def test_a_cookie_can_be_wanted(server):
    """A 401 sets it, and a good token without it is refused."""
    server.cookies("lb", "node7")
    first = ask(server)
    assert (first.status_code, server.requests[0].refusal) == (401, "missing_cookie")
    assert first.cookies.get_dict() == {"lb": "node7"}
    assert ask(server, headers={"Cookie": "a=b; lb=node7"}).ok
    server.cookies(None)
    assert ask(server).ok


def test_reset_makes_it_healthy(server):
    """All that shapes answers ends; secrets stay."""
    server.hostile("endless")
    server.fail(503, times=9)
    server.forbid("/portfolio")
    server.cookies()
    server.delay(60)
    server.reset()
    assert ask(server).ok


# Slow answers


def test_answers_can_be_slow(server):
    """In real time, for as many answers as are said."""
    server.delay(0.2, times=1)
    took = []
    for _ in range(2):
        start = time.monotonic()
        ask(server)
        took.append(time.monotonic() - start)
    assert took[1] < 0.2 <= took[0]


def test_answers_can_be_held_until_released(server):
    """So a test gathers requests without sleeping, and they are under way together."""
    server.delay(math.inf)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = [pool.submit(ask, server) for _ in range(8)]
        assert len(server.wait_for(8)) == 8
        assert not any(answer.done() for answer in answers)
        server.release()
        assert {answer.result().status_code for answer in answers} == {200}


def test_a_slow_answer_was_decided_on_arrival(server):
    """What changes while it is held changes nothing for it."""
    server.delay(math.inf)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        answer = pool.submit(ask, server)
        server.wait_for(1)
        server.rotate()
        server.release()
        assert answer.result().ok


def test_waiting_for_requests_has_an_end(server):
    """A test that waits for what never comes fails and says so."""
    with pytest.raises(TimeoutError, match=r"0 requests after .* s, not 1"):
        server.wait_for(1, timeout=0.01)


def test_a_delay_is_a_number_of_seconds(server):
    """Nobody can wait for less than no time."""
    with pytest.raises(ValueError, match=r"from 0 to math\.inf"):
        server.delay(-1)


# Hostile bodies


def rejected(server, kind):
    """Ask for a hostile 401 and return the raw answer and its connection."""
    server.reject()
    server.hostile(kind)
    connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=0.5)
    connection.request("GET", "/portfolio", headers={"Authorization": f"Bearer {signed(server)}"})
    return connection.getresponse(), connection


def test_endless_has_no_end(server):
    """More comes than any client should read."""
    answer, connection = rejected(server, "endless")
    assert len(answer.read(20_000_000)) == 20_000_000
    connection.close()


def test_drip_is_a_byte_at_a_time(server):
    """Each of them starts a read time-out anew."""
    answer, connection = rejected(server, "drip")
    assert [answer.read1() for _ in range(2)] == [b" ", b" "]
    connection.close()


def test_silent_promises_and_sends_nothing(server):
    """Only a time-out ends it."""
    answer, connection = rejected(server, "silent")
    assert int(answer.headers["Content-Length"]) > 0
    with pytest.raises(TimeoutError):
        answer.read()
    connection.close()


def test_cut_ends_early(server):
    """The length is a lie."""
    answer, connection = rejected(server, "cut")
    with pytest.raises(http.client.IncompleteRead):
        answer.read()
    connection.close()


@each_client
@pytest.mark.parametrize("kind", ["cut", "bad-gzip", "drip", "silent"])
def test_a_careless_client_loses_the_answer(server, get, kind):
    """That is what the shapes are for: reading the 401 raises, or has no end."""
    server.reject()
    server.hostile(kind)
    if kind == "drip":
        threading.Timer(0.5, server.close).start()
    with pytest.raises((requests.RequestException, httpx.HTTPError, httpx2.HTTPError)):
        get(f"{server.url}/portfolio", {})


@pytest.mark.parametrize("kind,size", [("huge", 4 << 20), ("bomb", 64 << 20), ("empty", 0)])
def test_sizes_of_a_refusal(server, kind, size):
    """Huge and empty ones are well-formed; a bomb is small until it is unpacked."""
    server.reject()
    server.hostile(kind)
    with requests.Session() as session:
        lengths = [len(session.get(server.url, timeout=5).content) for _ in range(2)]
    assert (lengths, server.connections) == ([size, size], 1)


@each_client
def test_gzip_is_as_it_should_be(server, get):
    """A refusal may be compressed, and a caller wants to read it."""
    server.reject()
    server.hostile("gzip")
    answer = get(server.url, {})
    assert (answer.headers["Content-Encoding"], answer.json()) == (
        "gzip",
        {"error": "missing_token"},
    )


@pytest.mark.parametrize("kind", ["none", None])
def test_hostility_ends(server, kind):
    """By its name or by None."""
    server.reject()
    server.hostile("cut")
    server.hostile(kind)
    assert ask(server).json() == {"error": "rejecting"}


def test_only_known_shapes(server):
    """A typing error is told at once, with what there is."""
    with pytest.raises(ValueError, match=r"endless, drip, .* is wanted, not 'gzipped'"):
        server.hostile("gzipped")


def test_only_a_401_is_hostile(server):
    """What is accepted is answered honestly."""
    server.hostile("cut")
    assert ask(server).ok


# Connections


@each_client
def test_a_connection_is_kept_alive(server, get):
    """Refused, accepted, missing and with a body: all go over one."""
    with requests.Session() as session:
        good = {"Authorization": f"Bearer {signed(server)}"}
        session.get(server.url, timeout=5)
        session.get(f"{server.url}/none", headers=good, timeout=5)
        session.post(f"{server.url}/echo", headers=good, data=b"x" * 100_000, timeout=5)
        assert session.get(f"{server.url}/portfolio", headers=good, timeout=5).ok
    assert {received.connection for received in server.requests} == {1}
    get(server.url, good)
    assert (server.requests[-1].connection, server.connections) == (2, 2)


def test_an_answer_takes_no_forty_milliseconds(server):
    """Small packets that wait for each other's acknowledgement would make every test slow."""
    with requests.Session() as session:
        session.get(server.url, timeout=5)
        start = time.monotonic()
        for _ in range(10):
            session.get(server.url, timeout=5)
    assert time.monotonic() - start < 0.4


@pytest.mark.parametrize("line", ["Connection: close", "X: y"])
def test_a_client_that_wants_to_close_is_obeyed(server, line):
    """HTTP/1.0, or a header, ends the connection after the answer."""
    version = "1.1" if "close" in line else "1.0"
    with _connected(server) as raw:
        raw.sendall(f"GET / HTTP/{version}\r\n{line}\r\n\r\n".encode())
        answer = b"".join(iter(lambda: raw.recv(1000), b""))
    assert b"\r\nConnection: close\r\n" in answer


@pytest.mark.parametrize(
    "text",
    [
        "GET\r\n\r\n",
        "GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        "GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
        "GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        "GET / HTTP/1.1\r\n" + "A: b\r\n" * 200 + "\r\n",
    ],
)
def test_nonsense_is_a_bad_request(server, text):
    """A broken client is told so, and nothing is on record."""
    with _connected(server) as raw:
        raw.sendall(text.encode())
        assert raw.recv(1000).startswith(b"HTTP/1.1 400 ")
    assert server.requests == []


def test_down_refuses_and_up_is_on_the_same_port(server):
    """A partner that is restarted keeps its address; what was open breaks."""
    with requests.Session() as session:
        session.get(server.url, timeout=5)
        server.down()
        with pytest.raises(requests.ConnectionError):
            session.get(server.url, timeout=5)
        with pytest.raises(ConnectionRefusedError):
            _connected(server)
        server.up()
        assert session.get(server.url, timeout=5).status_code == 401


def test_down_can_drop_instead(server):
    """A load balancer without a machine behind it takes connections and closes them."""
    server.down(drop=True)
    with pytest.raises(requests.ConnectionError):
        ask(server)
    server.up()
    assert ask(server).ok


def test_down_breaks_requests_under_way(server):
    """An answer that is held never comes."""
    server.delay(math.inf)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        answer = pool.submit(ask, server)
        server.wait_for(1)
        server.down()
        assert isinstance(answer.exception(5), requests.ConnectionError)


def test_it_may_go_down_and_up_in_any_order(server):
    """Twice is as good as once."""
    for switch in (server.up, server.down, server.down, server.up, server.up):
        switch()
    assert ask(server).ok


def test_clear_forgets(server):
    """A test counts from where it likes."""
    ask(server)
    server.clear()
    assert (server.requests, server.connections) == ([], 0)
    ask(server)
    assert (len(server.requests), server.connections) == (1, 1)


def test_what_is_on_record(server, clock):
    """A request as the partner saw it, and what it made of it."""
    token = signed(server)
    ask(server, "/echo?q=1", method="POST", token=token, data=b"hi", headers={"X-Trace": "7"})
    (received,) = server.requests
    assert (received.method, received.path, received.body) == ("POST", "/echo?q=1", b"hi")
    assert (received.headers["x-trace"], received.token) == ("7", token)
    assert received.claims["clientId"] == "acme"
    assert (received.status, received.accepted_by, received.refusal) == (200, "current", None)
    assert received.time == clock.now()


def test_the_record_shows_no_token(server):
    """What pytest prints of a failed assertion ends up in CI's logs."""
    token = signed(server)
    ask(server, token=token)
    assert token not in repr(server.requests)
    assert "status=200" in repr(server.requests)


def test_the_record_is_a_copy(server):
    """Whoever changes it changes his own."""
    server.requests.append("x")
    assert server.requests == []


def test_many_at_once(server):
    """32 clients at a time, none lost."""
    token = signed(server)
    with concurrent.futures.ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(lambda _: ask(server, token=token).status_code, range(128)))
    assert (set(answers), len(server.requests), server.connections) == ({200}, 128, 128)


def test_tls(tls):
    """With a certificate its origin is https."""
    mine, theirs = tls
    with PartnerServer(ssl_context=mine) as server, httpx.Client(verify=theirs) as client:
        headers = {"Authorization": f"Bearer {signed(server)}"}
        answers = [client.get(f"{server.url}/portfolio", headers=headers) for _ in range(2)]
        assert ([answer.status_code for answer in answers], server.connections) == ([200, 200], 1)
        assert server.url.startswith("https://127.0.0.1:")


def test_a_handshake_that_fails_leaves_nothing_open(tls):
    """When a client speaks plain http to a TLS port, the secured socket is closed, too."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        with PartnerServer(ssl_context=tls[0]) as server, _connected(server) as raw:
            raw.sendall(b"GET / HTTP/1.1\r\nHost: partner\r\n\r\n")
            with contextlib.suppress(ConnectionResetError):
                while raw.recv(1024):  # an alert, then the end
                    pass
        gc.collect()
    assert [str(one.message) for one in told] == []


# Its life


@pytest.mark.parametrize("kind", ["endless", "drip", "silent", "huge"])
@pytest.mark.parametrize("secured", [False, True], ids=["plain", "tls"])
def test_no_thread_outlives_it(kind, secured, tls):
    """A body that never ends, one that nobody reads, an idle connection: close ends them all."""
    before = set(threading.enumerate())
    mine, theirs = tls if secured else (None, None)
    server = PartnerServer(ssl_context=mine).start()
    server.hostile(kind)
    clients = [_connected(server, theirs) for _ in range(3)]
    for client in clients[1:]:
        client.sendall(b"GET / HTTP/1.1\r\nHost: partner\r\n\r\n")
    server.wait_for(2)
    assert set(threading.enumerate()) - before
    start = time.monotonic()
    server.close()
    assert set(threading.enumerate()) - before == set()
    assert time.monotonic() - start < 1
    for client in clients:
        client.close()


def test_held_answers_end_with_it():
    """Nobody waits for a release that never comes."""
    before = set(threading.enumerate())
    with PartnerServer() as server:
        server.delay(math.inf)
        raw = _connected(server)
        raw.sendall(b"GET / HTTP/1.1\r\n\r\n")
        server.wait_for(1)
    raw.close()
    assert set(threading.enumerate()) == before


@pytest.mark.parametrize("kind", ["endless", "huge", "drip", "cut", "none"])
def test_a_client_that_goes_away_makes_no_noise(server, kind, capfd):
    """Whoever leaves in the midst of an answer leaves no traceback."""
    server.hostile(kind)
    for _ in range(3):
        raw = _connected(server)
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # a reset
        raw.sendall(b"GET / HTTP/1.1\r\n\r\n")
        raw.close()
    with _connected(server) as raw:
        raw.sendall(b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhi")
    server.close()
    assert capfd.readouterr() == ("", "")


def test_it_may_be_closed_twice():
    """As every context manager may."""
    server = PartnerServer().start()
    server.close()
    server.close()
    with pytest.raises(ConnectionRefusedError):
        _connected(server)


def test_a_closed_one_stays_closed():
    """Another port would be another origin."""
    server = PartnerServer()
    server.close()
    with pytest.raises(RuntimeError, match="make another one"):
        server.start()


def test_its_port_is_free_again():
    """The next server can have it."""
    with PartnerServer() as server:
        port = int(server.url.rpartition(":")[2])
    with socket.socket() as again:
        again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        again.bind(("127.0.0.1", port))


def test_it_has_no_address_before_it_starts():
    """Making one opens nothing."""
    before = threading.active_count()
    server = PartnerServer()
    with pytest.raises(RuntimeError, match=r"start\(\)"):
        _ = server.url
    assert threading.active_count() == before


def test_two_do_not_meet():
    """Two origins, two secrets."""
    with PartnerServer() as one, PartnerServer() as other:
        assert one.url != other.url
        assert ask(one, token=signed(other)).json() == {"error": "unknown_secret"}


def test_its_repr_shows_no_secret(server):
    """Nor does the store's."""
    assert (SECRET in repr(server), SECRET in repr(server.store)) == (False, False)
    assert "acme" in repr(server)


# With PartnerAuth


def test_its_auth_survives_a_rotation(partner_server):
    """The example of the docstring."""
    with requests.Session() as session:
        session.auth = partner_server.auth()
        assert session.get(f"{partner_server.url}/portfolio", timeout=5).ok
        partner_server.rotate()
        assert session.get(f"{partner_server.url}/portfolio", timeout=5).ok
    assert statuses(partner_server) == [200, 401, 200]


def test_its_auth_lives_by_its_clock(server, clock):
    """A token that expired on the clock is signed anew."""
    auth = server.auth()
    first = auth.token()
    clock.advance(900)
    assert ask(server, token=first).status_code == 401
    assert ask(server, token=auth.token()).ok


def test_its_auth_can_be_made_before_it_has_an_address():
    """Where the caller names the origins."""
    auth = PartnerServer().auth(origins="https://api.partner.example")
    assert auth.token("https://api.partner.example/portfolio")


def test_its_auth_takes_options(server):
    """They go to `PartnerAuth`, and win."""
    auth = server.auth(lifetime=60, claims={"scope": "read"})
    ask(server, token=auth.token())
    claims = server.requests[0].claims
    assert (claims["exp"] - claims["iat"], claims["scope"]) == (60, "read")


def _raw(server):
    connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=5)
    connection.request("GET", "/portfolio")
    answer = connection.getresponse()
    json.loads(answer.read())
    connection.close()
    return answer


def _connected(server, context=None):
    host, _, port = server.url.partition("://")[2].partition(":")
    raw = socket.create_connection((host, int(port)), timeout=5)
    return context.wrap_socket(raw, server_hostname=host) if context else raw


def _key_pem(key):
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()
