"""What is in a request's body goes out again whole, or never."""

import contextlib
import importlib.metadata
import io
import math
import os
import threading

import pytest
from requests_toolbelt import MultipartEncoder

from partner_auth import RefreshPolicy
from partner_auth.testing import Clock
from tests.conformance.clients import ASYNC, CLIENTS, OF_HTTPX, SYNC

PAYLOAD = b"0123456789" * 20_000  # more than one chunk of any client


class Pipe(io.RawIOBase):
    """A file that can't seek."""

    def __init__(self, data=PAYLOAD):
        self._data = io.BytesIO(data)

    def readable(self):
        return True

    def readinto(self, buffer):
        return self._data.readinto(buffer)


class ReadOnly:
    """What has `read` alone, and a length: requests takes it, and can't rewind it."""

    def __init__(self):
        self._data = io.BytesIO(PAYLOAD)
        self.len = len(PAYLOAD)

    def read(self, size=-1):
        return self._data.read(size)


class Seekable(ReadOnly):
    """The same, but it can seek: requests itself notes no position of it."""

    def seekable(self):
        return True

    def seek(self, position):
        return self._data.seek(position)

    def tell(self):
        return self._data.tell()


class Once:
    """An iterable whose iterators share one stream: a fresh iterator proves nothing."""

    def __init__(self):
        self._pieces = iter(halves())

    def __iter__(self):
        return self._pieces


class AsyncOnce:
    """An object that is its own async iterator."""

    def __init__(self):
        self._pieces = iter(halves())

    def __aiter__(self):
        return self

    async def __anext__(self):
        for piece in self._pieces:
            return piece
        raise StopAsyncIteration


def halves():
    """Return the payload in two pieces."""
    return [PAYLOAD[:100_000], PAYLOAD[100_000:]]


def generator():
    """Yield the payload."""
    yield from halves()


async def async_generator():
    """Yield the payload."""
    for piece in halves():
        yield piece


def encoder():
    """Stream a multipart as requests-toolbelt does."""
    return MultipartEncoder({"order": ("order.bin", io.BytesIO(PAYLOAD))})


def multipart(file):
    """Return a form with a file."""
    return {"files": {"order": ("order.bin", file)}, "data": {"id": "7"}}


def version_of(client):
    """Return its first two numbers."""
    major, minor = importlib.metadata.version(client).split(".")[:2]
    return int(major), int(minor)


def plain(body):
    """Return what gives a body as it is."""
    return lambda _: {"content": body()}


# The others promise the length of the whole file, wherever it stands, without an auth too.
COUNTING = ["requests", *(["httpx2"] if version_of("httpx2") >= (2, 14) else [])]

# Each kind of body: how it is given (with files opened by the first argument), what arrives (None:
# a multipart or JSON of it), and the clients that can send it.
WHOLE = {
    "nothing": (lambda _: {}, b"", CLIENTS),
    "bytes": (plain(lambda: PAYLOAD), PAYLOAD, CLIENTS),
    "no-bytes": (plain(bytes), b"", CLIENTS),
    "text": (plain(PAYLOAD.decode), PAYLOAD, CLIENTS),
    "json": (lambda _: {"json": {"a": 1}}, None, CLIENTS),
    "form": (lambda _: {"data": {"a": "1", "b": "2"}}, b"a=1&b=2", CLIENTS),
    "multipart-of-bytes": (lambda _: multipart(PAYLOAD), None, CLIENTS),
    "multipart-of-a-file": (lambda stored: multipart(stored()), None, CLIENTS),
    "multipart-of-memory": (lambda _: multipart(io.BytesIO(PAYLOAD)), None, CLIENTS),
    # requests reads it into memory when it prepares the request
    "multipart-of-an-unseekable-file": (lambda _: multipart(Pipe()), None, ["requests"]),
    "bytearray": (plain(lambda: bytearray(PAYLOAD)), PAYLOAD, ["requests"]),
    "list": (plain(halves), PAYLOAD, ["httpx", "httpx2"]),
    "file": (lambda stored: {"content": stored()}, PAYLOAD, SYNC),
    "memory": (plain(lambda: io.BytesIO(PAYLOAD)), PAYLOAD, SYNC),
    "file-at-an-offset": (lambda stored: {"content": stored(1000)}, PAYLOAD[1000:], COUNTING),
    "seekable-without-iterator": (plain(Seekable), PAYLOAD, ["requests"]),
}  # fmt: skip
ONCE = {
    "generator": (plain(generator), PAYLOAD, SYNC),
    "iterator": (plain(lambda: iter(halves())), PAYLOAD, SYNC),
    "iterators-of-one-stream": (plain(Once), PAYLOAD, SYNC),
    "map": (plain(lambda: map(bytes, halves())), PAYLOAD, SYNC),
    "unseekable-file": (plain(Pipe), PAYLOAD, SYNC),
    "read-only": (plain(ReadOnly), PAYLOAD, ["requests"]),
    "toolbelt-encoder": (plain(encoder), None, ["requests"]),
    "multipart-of-an-unseekable-file": (lambda _: multipart(Pipe()), None, OF_HTTPX),
    "async-generator": (plain(async_generator), PAYLOAD, ASYNC),
    "async-iterator": (plain(AsyncOnce), PAYLOAD, ASYNC),
}


@pytest.fixture
def stored(tmp_path):
    """Open a file with the payload, at an offset: `stored(1000)`."""
    path = tmp_path / "order.bin"
    path.write_bytes(PAYLOAD)
    with contextlib.ExitStack() as opened:

        def stored(offset=0):
            file = opened.enter_context(path.open("rb"))
            file.seek(offset)
            return file

        yield stored


def cases(table):
    """Return each kind of body with each client that can send it."""
    return [
        pytest.param(name, *case[:2], id=f"{name}-{kind}")
        for kind, case in table.items()
        for name in case[2]
    ]


@pytest.mark.parametrize("client_name,given,arrives", cases(WHOLE))
def test_a_known_body_is_sent_again_whole(client, partner, stored, given, arrives):
    """Byte for byte what was refused."""
    partner.rotate()
    assert client.post(f"{partner.url}/echo", **given(stored)).status_code == 200
    refused, accepted = partner.requests
    assert (refused.status, accepted.status) == (401, 200)
    assert accepted.body == refused.body
    if arrives is not None:
        assert accepted.body == arrives


@pytest.mark.parametrize("client_name,given,arrives", cases(WHOLE))
def test_a_known_body_is_sent_a_third_time_whole(client, partner, stored, given, arrives):
    """When the current secret is refused once more and the pending one is accepted."""
    partner.store.pending = partner.rotate(store=False)
    assert client.post(f"{partner.url}/echo", **given(stored)).status_code == 200
    assert [one.status for one in partner.requests] == [401, 401, 200]
    assert len({one.body for one in partner.requests}) == 1


@pytest.mark.parametrize("client_name,given,arrives", cases(ONCE))
def test_a_body_that_can_not_be_sent_again_never_is(client, partner, stored, given, arrives):
    """The caller gets the 401, and the next request is right."""
    partner.rotate()
    got = client.post(f"{partner.url}/echo", **given(stored))
    assert (got.status_code, got.json()) == (401, {"error": "unknown_secret"})
    assert client.get(f"{partner.url}/portfolio").status_code == 200
    assert [one.status for one in partner.requests] == [401, 200]
    if arrives is not None:
        assert partner.requests[0].body == arrives


@pytest.mark.parametrize("client_name,given,arrives", cases(ONCE))
def test_a_body_is_sent_as_it_is_without_a_rotation(client, partner, stored, given, arrives):
    """Signing reads nothing of it."""
    assert client.post(f"{partner.url}/echo", **given(stored)).status_code == 200
    if arrives is not None:
        assert partner.requests[0].body == arrives


@pytest.mark.parametrize(
    "client_name,given,arrives",
    [case for case in cases(ONCE) if case.id.endswith("generator")],
)
def test_the_refusal_of_a_one_shot_body_is_unread(client, partner, stored, given, arrives):
    """Whoever streams it gets each byte, encoded as it came."""
    partner.hostile("gzip")
    partner.rotate()
    with client.stream("POST", f"{partner.url}/echo", **given(stored)) as answer:
        assert answer.status_code == 401
        assert answer.raw().startswith(b"\x1f\x8b")


def one_shots():
    """Return a body of one shot for each client, and for httpx the one that looks replayable."""
    yield from (
        pytest.param(name, lambda it: {"content": it.one_shot()}, id=name) for name in CLIENTS
    )
    for name in OF_HTTPX:
        yield pytest.param(name, lambda _: multipart(Pipe()), id=f"{name}-multipart")


@pytest.mark.parametrize("client_name,given", list(one_shots()))
def test_a_one_shot_body_waits_for_a_read_that_is_due(connect, partner, given):
    """Its 401 could not be mended, so it does not go out with a stale credential."""
    clock = Clock()
    partner.clock = clock
    client = connect(partner.auth(refresh=RefreshPolicy(jitter=0)))
    client.get(f"{partner.url}/portfolio")
    partner.rotate()
    clock.advance(901)
    assert client.post(f"{partner.url}/echo", **given(client)).status_code == 200


@pytest.mark.parametrize("client_name,given", list(one_shots()))
def test_a_one_shot_body_waits_for_a_read_under_way(connect, partner, given):
    """Others go out with what is held, which this read is about to replace."""
    clock = Clock()
    partner.clock = clock
    client = connect(partner.auth(refresh=RefreshPolicy(jitter=0)))
    client.get(f"{partner.url}/portfolio")
    partner.store.set("new" * 20)
    partner.store.delay(math.inf)
    clock.advance(901)
    assert client.get(f"{partner.url}/portfolio").status_code == 200
    partner.rotate("new" * 20)
    threading.Timer(0.1, partner.store.release).start()
    assert client.post(f"{partner.url}/echo", **given(client)).status_code == 200
    assert partner.store.reads == 2


@pytest.mark.parametrize("client_name", SYNC)
def test_a_file_that_is_closed_meanwhile_is_not_sent_again(connect, partner, stored, client_name):
    """The 401 goes back, rather than half a body."""
    file = stored()
    client = connect(partner.auth(on_event=lambda event: closes(event, file)))
    client.get(f"{partner.url}/portfolio")
    partner.clear()
    partner.rotate()
    assert client.post(f"{partner.url}/echo", content=file).status_code == 401
    assert [one.status for one in partner.requests] == [401]


def closes(event, file):
    """Close the file when the library is about to send it again."""
    if type(event).__name__ == "RequestResent":
        file.close()


@pytest.mark.parametrize("client_name", COUNTING)
def test_a_read_end_of_a_pipe_goes_out_once(client, partner, client_name):
    """A real pipe of the system: it says itself that it can't seek."""
    reading, writing = os.pipe()
    with os.fdopen(writing, "wb") as end:
        end.write(b"order")
    with os.fdopen(reading, "rb") as end:
        partner.rotate()
        assert client.post(f"{partner.url}/echo", content=end).status_code == 401
    assert [one.body for one in partner.requests] == [b"order"]
