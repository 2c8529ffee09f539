"""The door for httpx and httpx2: the flows sign, and mend what comes back. It adapts and decides nothing.

It knows its client by the request that it is handed, so it imports none. The first send needs no generator of ours
beyond the one that httpx asks for.
"""

from __future__ import annotations

import sys
import time
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from typing import Any

from partner_auth._authenticator import Authenticator, reply
from partner_auth._flight import in_event_loop, within
from partner_auth._origins import Origin, origin_of
from partner_auth._places import Lease, Place
from partner_auth._recovery import Answer, Recovering
from partner_auth._tokens import Signed
from partner_auth.exceptions import (
    ConfigurationError,
    InsecureTransport,
    PartnerAuthError,
    SourceUnavailable,
    raised_by_client,
)

MOST_READ = 65_536
READ_WITHIN = 1.0
_kept: set[type] = set()  # the clients' own classes of bodies in memory, as they are met


class HttpxFamily(Authenticator):
    """The methods that httpx and httpx2 call."""

    requires_request_body = False
    requires_response_body = False

    def auth_flow(self, request: Any) -> Generator[Any, Any, None]:
        """Sign and mend, for a wrapper that drives the flow by hand; it may not block an event loop."""
        place = self._place_sent(request)
        if place is not None and in_event_loop() and self._good_lease(place) is None:
            raise ConfigurationError("auth_flow would block this event loop: drive async_auth_flow instead")
        yield from self.sync_auth_flow(request)

    def sync_auth_flow(self, request: Any) -> Generator[Any, Any, None]:
        """Sign a request and mend its 401, as `httpx.Client` drives it."""
        place = self._known.get(_key(request.url)) or self._place_sent(request)
        if place is None:
            yield request
            return
        lease = self._good_lease(place) if request.stream.__class__ in _kept else None
        if lease is None:
            lease = self._lease_sent(request, place)
        request.headers["Authorization"] = lease.header
        response = yield request
        if response.status_code not in self._rejects and not place.troubled:
            return
        steps = self._steps(place, lease.signed, response)
        if steps is None:
            return
        try:
            step = next(steps, None)
            while step is not None:
                body = _Withheld(response)
                body.read()
                send = self._until_send(steps, step)
                if send is None:
                    body.give_back()
                    return
                body.drop()
                response = yield _resent(response, send)
                step = reply(steps, _answer(response))
        finally:
            steps.close()

    async def async_auth_flow(self, request: Any) -> AsyncGenerator[Any, Any]:
        """Sign a request and mend its 401, as `httpx.AsyncClient` drives it, in asyncio and trio."""
        place = self._known.get(_key(request.url)) or self._place_sent(request)
        if place is None:
            yield request
            return
        lease = self._good_lease(place) if request.stream.__class__ in _kept else None
        if lease is None:
            lease = await self._alease_sent(request, place)
        request.headers["Authorization"] = lease.header
        response = yield request
        if response.status_code not in self._rejects and not place.troubled:
            return
        steps = self._steps(place, lease.signed, response)
        if steps is None:
            return
        try:
            step = next(steps, None)
            while step is not None:
                body = _Withheld(response)
                await body.aread()
                send = await self._auntil_send(steps, step)
                if send is None:
                    body.give_back()
                    return
                await body.adrop()
                response = yield _resent(response, send)
                step = reply(steps, _answer(response))
        finally:
            steps.close()

    # -- signing

    def _place_sent(self, request: Any) -> Place | None:
        error: PartnerAuthError
        try:
            return self._remember(_key(request.url), _origin(request.url))
        except InsecureTransport as insecure:
            error = insecure
        raise _as_the_clients(error, request)

    def _lease_sent(self, request: Any, place: Place) -> Lease:
        error: PartnerAuthError
        try:
            return self._lease(place, patient=_is_one_shot(request))
        except PartnerAuthError as failed:
            error = failed
        raise _as_the_clients(error, request)

    async def _alease_sent(self, request: Any, place: Place) -> Lease:
        error: PartnerAuthError
        try:
            return await self._alease(place, patient=_is_one_shot(request))
        except PartnerAuthError as failed:
            error = failed
        raise _as_the_clients(error, request)

    # -- the answer

    def _steps(self, place: Place, signed: Signed, response: Any) -> Recovering | None:
        """Return the steps that mend this answer, or None when it goes back as it is."""
        status, request = response.status_code, response.request
        ours = request.headers.get("Authorization") == signed.header
        if status not in self._rejects:
            if place.troubled and ours:
                self._note(place, signed, status)
            return None
        try:
            at = self._place(_origin(request.url))
        except InsecureTransport:
            return None
        if at is None or not (ours or at.named):
            return None
        replayable = not _is_one_shot(request)
        return self._recovering(at, signed if ours else None, _answer(response), replayable=replayable)


def _key(url: Any) -> object:
    """Return what tells one origin from another, from httpx's own parse: its properties cost four times as much."""
    try:
        parts = url._uri_reference  # noqa: SLF001
        return parts.scheme, parts.host, parts.port
    except AttributeError:
        return url.raw_scheme, url.raw_host, url.port


def _origin(url: Any) -> Origin | None:
    return origin_of(url.scheme, url.raw_host.decode("ascii", "replace"), url.port)


def _answer(response: Any) -> Answer:
    headers = response.headers
    return Answer(response.status_code, headers.get("Date"), headers.get("WWW-Authenticate"))


# -- bodies


def _is_one_shot(request: Any) -> bool:
    """Whether the body can't be sent again: all but what is known to be whole each time it is iterated."""
    stream = request.stream
    kind = type(stream).__name__
    if kind == "ByteStream":
        _kept.add(type(stream))
        return False
    if kind in ("IteratorByteStream", "AsyncIteratorByteStream"):
        return not isinstance(getattr(stream, "_stream", None), (list, tuple, bytes, bytearray))
    if kind == "MultipartStream":
        return not _is_whole(stream)
    return True


def _is_whole(multipart: Any) -> bool:
    """Whether every file of a multipart body is in memory or can seek: httpx itself then sends it from its start."""
    fields = getattr(multipart, "fields", None)
    if not isinstance(fields, (list, tuple)):
        return False
    return all(_is_memory_or_seekable(getattr(one, "file", b"")) for one in fields)


def _is_memory_or_seekable(file: Any) -> bool:
    if isinstance(file, (str, bytes)):
        return True
    try:
        return bool(file.seekable())
    except (AttributeError, OSError, ValueError):
        return False


# -- the resend


def _resent(response: Any, signed: Signed) -> Any:
    """Return a copy of the refused request: the one it was redirected to, not the first of the chain."""
    old = response.request
    new = type(old)(old.method, old.url, headers=old.headers, stream=old.stream, extensions=old.extensions)
    new.headers["Authorization"] = signed.header
    _take_cookies(new, response)
    if type(old.stream).__name__ == "ByteStream":
        new.read()
    return new


def _take_cookies(request: Any, response: Any) -> None:
    """Carry the 401's cookies into the resend, beside those that the request had."""
    given = response.cookies
    if not given:
        return
    bare = type(request)(request.method, request.url)
    given.set_cookie_header(bare)
    fresh = _pairs(bare.headers.get("Cookie", ""))
    if not fresh:
        return
    cookies = {**_pairs(request.headers.get("Cookie", "")), **fresh}
    request.headers["Cookie"] = "; ".join(f"{name}={value}" if value is not None else name for name, value in cookies.items())


def _pairs(header: str) -> dict[str, str | None]:
    pairs: dict[str, str | None] = {}
    for part in filter(None, map(str.strip, header.split(";"))):
        name, equals, value = part.partition("=")
        pairs[name] = value if equals else None
    return pairs


class _Withheld:
    """A refused answer's body while the store is asked: at most 64 KiB read, for a second, undecoded."""

    def __init__(self, response: Any) -> None:
        self._response = response
        self._stream = response.stream
        self._pieces: list[bytes] = []
        self._ended = False
        self._broken: Exception | None = None
        self._iterator: Any = None

    def _wants_more(self, until: float) -> bool:
        total = sum(map(len, self._pieces))
        if total and str(total) == self._response.headers.get("Content-Length"):
            return True  # for the end alone, which lets the connection be used again
        latest = len(self._pieces[-1]) if self._pieces else 0
        return total + latest <= MOST_READ and total < MOST_READ and time.monotonic() < until

    def read(self) -> None:
        """Read the bounded part."""
        until = time.monotonic() + READ_WITHIN
        self._iterator = iter(self._stream)
        try:
            while self._wants_more(until):
                piece = next(self._iterator, None)
                if piece is None:
                    self._ended = True
                    break
                self._pieces.append(piece)
        except Exception as error:  # noqa: BLE001  what is wrong with a refused body changes nothing
            self._broken = error
        if self._ended:
            self._stream.close()

    async def aread(self) -> None:
        """Read the bounded part."""
        until = time.monotonic() + READ_WITHIN
        self._iterator = self._stream.__aiter__()
        try:
            while self._wants_more(until):
                piece = await within(anext(self._iterator, None), until - time.monotonic())
                if piece is None:
                    self._ended = True
                    break
                self._pieces.append(piece)
        except Exception as error:  # noqa: BLE001  what is wrong with a refused body changes nothing
            self._broken = error
        if self._ended:
            await self._stream.aclose()

    def give_back(self) -> None:
        """Leave the response as if nothing had been read."""
        self._response.stream = self._again(whole=True)

    def drop(self) -> None:
        """Let the connection go; the client reads what was read."""
        self._stream.close()
        self._keep_read()

    async def adrop(self) -> None:
        """Let the connection go; the client reads what was read."""
        await self._stream.aclose()
        self._keep_read()

    def _keep_read(self) -> None:
        if "Content-Encoding" in self._response.headers:
            del self._response.headers["Content-Encoding"]  # a part, or a lie, can't be decoded
        self._response.stream = self._again(whole=False)

    def _again(self, *, whole: bool) -> Any:
        module: Any = sys.modules[type(self._response).__module__.partition(".")[0]]
        bases = (module.SyncByteStream, module.AsyncByteStream)
        kind = _kinds.get(bases) or _kinds.setdefault(bases, type("Replayed", (_Replayed, *bases), {}))
        rest = self._iterator if whole and not self._ended else None
        return kind(self._pieces, rest, self._broken if whole else None, self._stream)


_kinds: dict[tuple[type, ...], Any] = {}


class _Replayed:
    """What was read of a body, then the rest of it, or what went wrong there."""

    def __init__(self, pieces: list[bytes], rest: Any, broken: Exception | None, stream: Any) -> None:
        self._pieces, self._rest, self._broken, self._stream = pieces, rest, broken, stream

    def __iter__(self) -> Iterator[bytes]:
        yield from self._pieces
        if self._broken is not None:
            raise self._broken
        if self._rest is not None:
            yield from self._rest

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            yield piece
        if self._broken is not None:
            raise self._broken
        if self._rest is not None:
            async for piece in self._rest:
                yield piece

    def close(self) -> None:
        self._stream.close()

    async def aclose(self) -> None:
        await self._stream.aclose()


# -- errors


def _as_the_clients(error: PartnerAuthError, request: Any) -> PartnerAuthError:
    """Return the error as one of the client that made `request`; SDKs retry a connection error, and pass on others."""
    client: Any = sys.modules.get(type(request).__module__.partition(".")[0])
    if isinstance(error, ConfigurationError) or client is None:
        return error
    name = "ConnectError" if isinstance(error, SourceUnavailable) else "HTTPError"
    base = getattr(client, name, None)
    return error if base is None else raised_by_client(error, base, request)
