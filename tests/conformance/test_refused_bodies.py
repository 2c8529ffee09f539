"""The body of a 401: a bounded part is read while the store is asked, and it can do no harm."""

import gzip
import math
import threading
import time

import pytest

from tests.conformance.servers import Server, chunk, head, whole

# httpx and httpcore leave generators of their own in their midst wherever a body isn't read to its
# end, with or without an auth; only trio complains.
pytestmark = pytest.mark.filterwarnings("ignore:Async generator '(http|tests):ResourceWarning")

ENDS = ["none", "empty", "gzip", "bad-gzip", "bomb", "huge"]
NEVER_ENDS = ["endless", "drip", "silent", "cut"]


@pytest.mark.parametrize("kind", ENDS + NEVER_ENDS)
def test_a_rotation_is_mended_whatever_the_refusal_says(client, partner, kind):
    """In bounded time, with one resend."""
    partner.hostile(kind)
    partner.rotate()
    began = time.monotonic()
    assert client.get(f"{partner.url}/portfolio").status_code == 200
    assert time.monotonic() - began < 5  # the client's own limit is 10
    assert [one.status for one in partner.requests] == [401, 200]


@pytest.mark.parametrize("kind", ["silent", "drip", "endless"])
def test_a_rotation_over_tls_is_mended_whatever_the_refusal_says(connect, secure, kind):
    """TLS has buffers of its own between the socket and the reader."""
    client = connect(secure.auth(), verify=secure.ca)
    client.get(f"{secure.url}/portfolio")
    secure.hostile(kind)
    secure.rotate()
    began = time.monotonic()
    assert client.get(f"{secure.url}/portfolio").status_code == 200
    assert time.monotonic() - began < 5  # the client's own limit is 10


@pytest.mark.parametrize("kind", ["silent", "drip"])
def test_a_client_without_a_time_limit_is_mended_in_time(client, partner, kind):
    """Its own reading would go on for ever."""
    partner.hostile(kind)
    partner.rotate()
    began = time.monotonic()
    assert client.get(f"{partner.url}/portfolio", timeout=None).status_code == 200
    assert time.monotonic() - began < 5  # the client's own limit is 10


@pytest.mark.parametrize("kind", ["endless", "huge"])
def test_no_more_than_64_kib_of_a_refusal_are_read(connect, partner, kind):
    """But for a piece that had begun: httpx hands out what its network layer took at once."""
    client = connect(partner.auth(), spy=True)
    client.get(f"{partner.url}/portfolio")
    partner.hostile(kind)
    partner.rotate()
    client.get(f"{partner.url}/portfolio")
    assert 0 < client.spy.read[1] <= 65_536 * 9 / 8


def test_what_was_read_of_a_refusal_stands_in_the_history(client, partner):
    """For whoever wants to know why."""
    partner.rotate()
    got = client.get(f"{partner.url}/portfolio")
    assert got.history[0].json() == {"error": "unknown_secret"}


# A body that can't be sent again has its 401 go back after the store was asked, so that it was
# withheld meanwhile.


@pytest.mark.parametrize("kind", ENDS)
def test_a_refusal_that_goes_back_has_its_whole_body(client, partner, kind):
    """As it came over the wire: neither read nor decoded."""
    expected = received(client, partner, kind)
    with client.stream("POST", f"{partner.url}/echo", content=client.one_shot()) as answer:
        assert answer.status_code == 401
        assert steady(answer.raw()) == expected
    assert partner.store.reads == 2


def received(client, partner, kind):
    """Return the body that the partner gives, by a 401 that no look is made for."""
    partner.hostile(kind)
    partner.reject()
    partner.challenge('Bearer error="insufficient_scope"')
    with client.stream("GET", f"{partner.url}/portfolio") as answer:
        body = answer.raw()
    partner.challenge(None)
    return steady(body)


@pytest.mark.parametrize("kind", ENDS)
def test_a_refusal_after_which_nothing_is_tried_has_its_whole_body(client, partner, kind):
    """Within the pause between two looks nothing is read at all."""
    expected = received(client, partner, kind)
    with client.stream("GET", f"{partner.url}/portfolio") as answer:
        assert steady(answer.raw()) == expected


def steady(body):
    """Return a body without the time that gzip writes into its header."""
    return body[:4] + body[8:] if body.startswith(b"\x1f\x8b") else body


def test_a_refusal_that_goes_back_is_decoded_by_the_client(client, partner):
    """Its headers are those of the partner."""
    partner.hostile("gzip")
    partner.reject()
    got = client.post(f"{partner.url}/echo", content=client.one_shot())
    assert got.json() == {"error": "rejecting"}
    assert got.headers["Content-Encoding"] == "gzip"


def test_a_refusal_that_goes_back_can_be_read_at_last(client, partner):
    """By the client's own means, in the midst of a stream."""
    partner.hostile("gzip")
    partner.reject()
    with client.stream("POST", f"{partner.url}/echo", content=client.one_shot()) as answer:
        assert b"rejecting" in answer.read()


def test_a_refusal_that_goes_back_tells_how_long_it_took(client, partner):
    """The whole exchange, as without the library."""
    partner.delay(0.2)
    partner.reject()
    began = time.monotonic()
    got = client.post(f"{partner.url}/echo", content=client.one_shot())
    assert 0.2 <= got.elapsed.total_seconds() <= time.monotonic() - began


@pytest.mark.parametrize("kind", ["endless", "drip"])
def test_a_refusal_that_never_ends_goes_back_in_time(client, partner, kind):
    """And goes on where the library stopped reading."""
    partner.hostile(kind)
    partner.reject()
    began = time.monotonic()
    with client.stream("POST", f"{partner.url}/echo", content=client.one_shot()) as answer:
        assert answer.status_code == 401
        assert time.monotonic() - began < 5
        least = 200_000 if kind == "endless" else 15
        data = answer.raw(least)
        assert len(data) >= least
        assert data.strip() == b""


@pytest.mark.parametrize("kind", ["cut", "silent"])
def test_a_refusal_that_breaks_off_breaks_off_for_the_caller_too(client, partner, kind):
    """With the client's own error, and not before it reads the body."""
    partner.hostile(kind)
    partner.reject()
    with client.stream("POST", f"{partner.url}/echo", content=client.one_shot()) as answer:
        assert answer.status_code == 401
        with pytest.raises(client.base_error) as caught:
            answer.read()
    assert str(caught.value)


@pytest.mark.parametrize("kind", ["none", "gzip", "huge", "endless", "silent", "cut"])
def test_a_pool_of_one_connection_does_not_hang(connect, partner, kind):
    """The refused answer's connection is given back, or dropped, before the resend."""
    client = connect(partner.auth(), one_connection=True)
    client.get(f"{partner.url}/portfolio")
    partner.hostile(kind)
    for _ in range(2):
        partner.rotate()
        assert client.get(f"{partner.url}/portfolio").status_code == 200


def test_a_pool_of_one_connection_is_free_after_a_refusal_that_went_back(connect, partner):
    """As soon as its body is read or closed."""
    client = connect(partner.auth(), one_connection=True)
    partner.hostile("huge")
    partner.reject()
    got = client.post(f"{partner.url}/echo", content=client.one_shot())
    assert len(got.content) == 4 * 1024 * 1024
    with client.stream("POST", f"{partner.url}/echo", content=client.one_shot()) as answer:
        assert answer.status_code == 401
    partner.restore()
    assert client.get(f"{partner.url}/portfolio").status_code == 200


@pytest.mark.parametrize("kind", ["cut", "silent"])
def test_a_pool_of_one_connection_is_free_after_a_refusal_that_broke_off(connect, partner, kind):
    """Though the caller has only got an error for it."""
    client = connect(partner.auth(), one_connection=True)
    partner.hostile(kind)
    partner.reject()
    with pytest.raises(client.base_error):
        client.post(f"{partner.url}/echo", content=client.one_shot())
    partner.restore()
    assert client.get(f"{partner.url}/portfolio").status_code == 200


def test_an_honest_refusal_is_off_its_connection_while_the_store_is_asked(connect, partner):
    """So that a slow store does not starve a pool of one."""
    client = connect(partner.auth(), one_connection=True)
    client.get(f"{partner.url}/portfolio")
    partner.rotate()
    partner.store.delay(math.inf)
    waiting = threading.Thread(target=client.get, args=(f"{partner.url}/portfolio",))
    waiting.start()
    partner.store.wait_for_reads(2)
    partner.public("/public")
    assert client.get(f"{partner.url}/public").status_code == 404
    partner.store.release()
    waiting.join(5)
    assert not waiting.is_alive()


def test_a_refusal_in_pieces_goes_back_whole(connect, partner):
    """Chunked, with pauses between the chunks."""
    packed = gzip.compress(b'{"error": "no"}')
    pieces = [packed[:5], packed[5:10], packed[10:]]

    def answer(request):
        yield head(401, "Content-Encoding: gzip", "Transfer-Encoding: chunked")
        for piece in [*pieces, b""]:
            yield 0.1
            yield chunk(piece)

    with Server(answer) as server:
        client = connect(partner.auth(origins=server.url))
        with client.stream("POST", server.url, content=client.one_shot()) as got:
            assert got.raw() == packed
        assert client.get(server.url).json() == {"error": "no"}


@pytest.mark.parametrize("length", [65_535, 65_536, 65_537])
def test_a_refusal_about_as_long_as_the_bound_goes_back_whole(connect, partner, length):
    """No byte is lost or doubled where the reading stops."""
    body = (bytes(range(256)) * 257)[:length]
    with Server(lambda request: [whole(401, body)]) as server:
        client = connect(partner.auth(origins=server.url))
        assert client.post(server.url, content=client.one_shot()).content == body


def test_a_refusal_without_a_length_goes_back_whole(connect, partner):
    """It ends with its connection, as HTTP/1.0 did it."""
    with Server(lambda request: [head(401, "Connection: close") + b"refused", b""]) as server:
        client = connect(partner.auth(origins=server.url))
        assert client.post(server.url, content=client.one_shot()).content == b"refused"
