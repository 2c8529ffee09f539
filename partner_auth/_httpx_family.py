"""The door for httpx and httpx2: the flows sign, and mend what comes back. It decides nothing.

It knows its client by the request that it is handed, so it imports none. The first send needs no
generator of ours beyond the one that httpx asks for.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import AsyncGenerator, Generator
from typing import Any, Self

from partner_auth._authenticator import reply
from partner_auth._door import (
    MOST_READ,
    READ_WITHIN,
    Door,
    answer_of,
    client_of,
    is_rewound,
    joined_cookies,
    position_of,
)
from partner_auth._flight import in_event_loop, within
from partner_auth._origins import Origin, origin_of
from partner_auth._places import Place
from partner_auth._recovery import Send, Step
from partner_auth._tokens import Signed

_CLIENTS = ("httpx", "httpx2")
_WOULD_BLOCK = (
    "nothing is held, and to read the store would block this event loop: have the wrapper "
    "drive async_auth_flow instead of auth_flow, or await atoken() first"
)
_kept: set[type] = set()  # the clients' own classes of bodies in memory, as they are met


class HttpxFamily(Door):
    """The methods that httpx and httpx2 call."""

    requires_request_body = False
    requires_response_body = False

    def auth_flow(self, request: Any) -> Generator[Any, Any, None]:
        """Sign and mend, for a wrapper that drives the flow by hand.

        In an event loop it waits for nothing: the first request wants a credential that is held,
        and a 401 that would have to wait for the store goes back while the store is read.

        Raises:
            ConfigurationError: nothing is held, in an event loop.
        """
        return self._flow(request, may_wait=not in_event_loop())

    def sync_auth_flow(self, request: Any) -> Generator[Any, Any, None]:
        """Sign a request and mend its 401, as `httpx.Client` drives it."""
        return self._flow(request, may_wait=True)

    def _flow(self, request: Any, *, may_wait: bool) -> Generator[Any, Any, None]:
        place = self._known.get(_key(request.url)) or self._place_sent(request)
        if place is None:
            yield request
            return
        start = 0 if request.stream.__class__ in _kept else _start_of(request.stream)
        lease = None if start is None and may_wait else self._good_lease(place)
        if lease is None:
            no_wait = "" if may_wait else _WOULD_BLOCK
            lease = self._lease_for(request, place, patient=start is None, no_wait=no_wait)
        request.headers["Authorization"] = lease.header
        response = yield request
        if response.status_code not in self._rejects and not place.troubled:
            return
        mending = _Mending(self, place, lease.signed, request.stream, start)
        mending.take(request, response)
        try:
            while mending.step is not None:
                body = _withheld(mending.response)
                if may_wait:
                    body.read()
                    again = mending.resend(self._until_send(mending.steps, mending.step))
                else:
                    again = mending.resend(mending.at_once())
                if again is None:
                    return
                body.let_go()
                mending.take(again, (yield again))
        finally:
            mending.close()

    async def async_auth_flow(self, request: Any) -> AsyncGenerator[Any, Any]:
        """Sign and mend, as `httpx.AsyncClient` drives it, in asyncio and trio."""
        place = self._known.get(_key(request.url)) or self._place_sent(request)
        if place is None:
            yield request
            return
        start = 0 if request.stream.__class__ in _kept else _start_of(request.stream)
        lease = None if start is None else self._good_lease(place)
        if lease is None:
            lease = await self._alease_for(request, place, patient=start is None)
        request.headers["Authorization"] = lease.header
        response = yield request
        if response.status_code not in self._rejects and not place.troubled:
            return
        mending = _Mending(self, place, lease.signed, request.stream, start)
        mending.take(request, response)
        try:
            while mending.step is not None:
                body = _withheld(mending.response)
                await body.aread()
                again = mending.resend(await self._auntil_send(mending.steps, mending.step))
                if again is None:
                    return
                body.let_go()
                mending.take(again, (yield again))
        finally:
            mending.close()

    def _place_sent(self, request: Any) -> Place | None:
        return self._place_for(request, _key(request.url), _origin(request.url))


def _key(url: Any) -> object:
    """Return what tells one origin from another."""
    try:
        parts = url._uri_reference  # httpx's own parse: its properties cost four times as much
    except AttributeError:
        return url.raw_scheme, url.raw_host, url.port
    return parts.scheme, parts.host, parts.port


def _origin(url: Any) -> Origin | None:
    return origin_of(url.scheme, url.raw_host.decode("ascii", "replace"), url.port)


class _Mending:
    """One request on its way from a refused answer to the one that goes back.

    httpx follows redirects below the flow, so that one send may bring several answers: the first
    is the one to what was sent, the last came perhaps from another place.
    """

    def __init__(
        self, auth: Any, place: Place, signed: Signed, stream: Any, start: int | None
    ) -> None:
        self._auth, self._place, self._signed = auth, place, signed
        self._stream, self._start = stream, start
        self.steps: Any = None
        self.step: Step | None = None
        self.response: Any = None

    def take(self, sent: Any, response: Any) -> None:
        """Judge the answer to what was sent, then that of the last hop that it led to."""
        self.response = response
        answers = [*response.history, response]
        first = next((one for one in answers if one.request is sent), response)
        if self.steps is None:
            self._judge(first)
        else:
            self.step = reply(self.steps, answer_of(first))
        if self.step is None and first is not response:
            self._judge(response)

    def _judge(self, response: Any) -> None:
        self.close()
        taken_up = self._auth._taken_up(self._place, self._signed, response, _origin)
        if taken_up is None:
            return
        self._place, signed = taken_up
        self.steps = self._auth._recovering(
            self._place, signed, answer_of(response), replayable=self._is_rewound()
        )
        self.step = next(self.steps, None)

    def at_once(self) -> Signed | None:
        """Return what to sign with if nothing has to be waited for."""
        return self.step.signed if isinstance(self.step, Send) else None

    def resend(self, signed: Signed | None) -> Any:
        """Return what to send, or None: the answer goes back."""
        if signed is None or not self._is_rewound():
            return None
        self._signed = signed
        return _resent(self.response, signed)

    def _is_rewound(self) -> bool:
        """Put the body back to where it stood: that of the request that was refused."""
        stream = self.response.request.stream
        if stream is self._stream:
            return self._start is not None and _is_rewound(stream, self._start)
        return _start_of(stream) is not None and stream.__class__ in _kept

    def close(self) -> None:
        """Leave the look, if any."""
        if self.steps is not None:
            self.steps.close()
        self.steps = self.step = None


# -- bodies


def _start_of(stream: Any) -> int | None:
    """Return where a body begins that can be sent again; None for all but the known kinds."""
    kind = type(stream)
    if kind.__module__.partition(".")[0] not in _CLIENTS:
        return None
    if kind.__name__ == "ByteStream":
        _kept.add(kind)
        return 0
    if kind.__name__ == "MultipartStream":
        return 0 if _is_whole(stream) else None
    if kind.__name__ != "IteratorByteStream":
        return None
    body = getattr(stream, "_stream", None)
    return 0 if isinstance(body, (list, tuple, bytes, bytearray)) else position_of(body)


def _is_rewound(stream: Any, start: int) -> bool:
    if type(stream).__name__ == "MultipartStream":
        return _is_whole(stream)  # httpx sends its files from their beginning, each time
    body = getattr(stream, "_stream", None)
    return isinstance(body, (list, tuple, bytes, bytearray)) or is_rewound(body, start)


def _is_whole(multipart: Any) -> bool:
    """Whether every file of a multipart body is in memory or can seek."""
    fields = getattr(multipart, "fields", None)
    if not isinstance(fields, (list, tuple)):
        return False
    files = [getattr(one, "file", b"") for one in fields]
    return all(isinstance(one, (str, bytes)) or position_of(one) is not None for one in files)


# -- the resend


def _resent(response: Any, signed: Signed) -> Any:
    """Return a copy of the refused request: the one that it was redirected to, not the first."""
    old = response.request
    new = type(old)(
        old.method, old.url, headers=old.headers, stream=old.stream, extensions=old.extensions
    )
    new.headers["Authorization"] = signed.header
    _take_cookies(new, response)
    if old.stream.__class__ in _kept:
        new.read()
    return new


def _take_cookies(request: Any, response: Any) -> None:
    """Carry the 401's cookies into the resend, beside those that the request had."""
    bare = type(request)(request.method, request.url)
    cookies = client_of(response, "Cookies").Cookies()
    cookies.extract_cookies(response)  # `response.cookies` would stay there, and doesn't pickle
    cookies.set_cookie_header(bare)
    fresh = bare.headers.get("Cookie")
    if fresh:
        written = request.headers.get_list("Cookie")
        request.headers["Cookie"] = joined_cookies(*written, fresh)


class _Withheld:
    """A refused answer's body while the store is asked: a bounded part is read, undecoded.

    It stands in the response's place of the client's own stream: as if nothing had been read. An
    iterator of its own, because trio complains of generators that are left in their midst.
    """

    def __init__(self, response: Any, client: Any) -> None:
        self._response, self._client = response, client
        self._stream = response.stream
        self._rest: Any = None
        self._pieces: deque[bytes] = deque()
        self._is_given_back = True
        self._broken: Exception | None = None

    def _wants_more(self, until: float) -> bool:
        """Whether to read on to the end, which lets the connection be used again."""
        if not self._pieces:
            return True
        promised = self._response.headers.get("Content-Length", "")
        # without a length, one piece more may be as large as all that may be read
        expected = int(promised) if promised.isdecimal() else 8 * sum(map(len, self._pieces))
        return expected <= MOST_READ and time.monotonic() < until

    def read(self) -> None:
        """Read the bounded part; close what has ended. Over HTTP/2 read nothing.

        There a time-out breaks the connection for all that share it, a thread that waits for one
        stream keeps the others from theirs, and an unread body holds up none.
        """
        if self._response.http_version == "HTTP/2":
            return
        until = time.monotonic() + READ_WITHIN
        extensions = self._response.request.extensions
        usual = extensions.get("timeout")
        extensions["timeout"] = _hurried(usual)
        self._rest = iter(self._stream)
        try:
            while self._wants_more(until):
                piece = next(self._rest, None)
                if piece is None:
                    self._stream.close()
                    break
                self._pieces.append(piece)
        except Exception as error:  # noqa: BLE001  what is wrong with a refused body changes nothing
            self._broken = error
        finally:
            extensions["timeout"] = usual
            if usual is None:
                del extensions["timeout"]

    async def aread(self) -> None:
        """Read the bounded part; close what has ended."""
        until = time.monotonic() + READ_WITHIN
        self._rest = self._stream.__aiter__()
        try:
            while self._wants_more(until):
                piece = await within(anext(self._rest, None), READ_WITHIN)
                if piece is None:
                    await self._stream.aclose()
                    break
                self._pieces.append(piece)
        except self._client.HTTPError as error:
            self._broken = error
        except Exception:  # noqa: BLE001  what is wrong with a refused body changes nothing
            request = self._response.request
            self._broken = self._client.ReadTimeout(
                "the body did not come in time", request=request
            )

    def let_go(self) -> None:
        """Keep what was read: the client reads that before it sends again, and closes the rest."""
        if "Content-Encoding" in self._response.headers:
            del self._response.headers["Content-Encoding"]  # a part, or a lie, can't be decoded
        self._is_given_back = False

    # -- what the client asks of a stream

    @property
    def elapsed(self) -> Any:
        """What httpx2 asks of a response's stream."""
        return getattr(self._stream, "elapsed", None)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> bytes:
        if self._pieces:
            return self._pieces.popleft()
        if self._is_over():
            raise StopIteration
        self._rest = self._rest or iter(self._stream)
        piece: bytes = next(self._rest)
        return piece

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        if self._pieces:
            return self._pieces.popleft()
        if self._is_over():
            raise StopAsyncIteration
        self._rest = self._rest or self._stream.__aiter__()
        piece: bytes = await anext(self._rest)
        return piece

    def _is_over(self) -> bool:
        if self._is_given_back and self._broken is not None:
            raise self._broken
        return not self._is_given_back

    def close(self) -> None:
        self._stream.close()

    async def aclose(self) -> None:
        if hasattr(self._rest, "aclose"):
            await self._rest.aclose()
        await self._stream.aclose()


_kinds: dict[tuple[type, ...], Any] = {}


def _withheld(response: Any) -> Any:
    """Put a stream of ours into the response, of the classes that its client asks for."""
    client = client_of(response, "SyncByteStream")
    bases = (client.SyncByteStream, client.AsyncByteStream)
    kind = _kinds.get(bases)
    if kind is None:
        kind = _kinds[bases] = type("Withheld", (_Withheld, *bases), {})
    response.stream = kind(response, client)
    return response.stream


def _hurried(usual: Any) -> dict[str, Any]:
    """Return a request's time limits with one for each piece of a refused answer's body."""
    limits = dict(usual or {})
    limits["read"] = min(READ_WITHIN, limits.get("read") or READ_WITHIN)
    return limits
