"""The door for requests and its kin: `__call__` signs, a response hook mends. It adapts and decides nothing.

It knows its client by the request that it is handed, so it imports none.
"""

from __future__ import annotations

import io
import sys
import time
from datetime import timedelta
from typing import Any

from partner_auth._authenticator import Authenticator, reply
from partner_auth._origins import origin_of_url
from partner_auth._places import Lease, Place
from partner_auth._recovery import Answer
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
_IN_MEMORY = (str, bytes, bytearray, memoryview, type(None))


class Hook:
    """The response hook of one token: shared by all requests that carry it, and pickled as nothing."""

    __slots__ = ("auth", "place", "signed")

    def __init__(self, auth: RequestsFamily, place: Place, signed: Signed) -> None:
        """Hold the token that its requests carry."""
        self.auth = auth
        self.place = place
        self.signed = signed

    def __call__(self, response: Any, **kwargs: Any) -> Any:
        """Return the answer, or the one that a resend brought."""
        return self.auth._answered(self, response, kwargs)  # noqa: SLF001  its own other half

    def __repr__(self) -> str:
        """Show no token."""
        return "<partner_auth response hook>"

    def __deepcopy__(self, memo: object) -> Hook:
        """Return itself: it belongs to the token."""
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as a hook that does nothing: neither the auth object nor a lock comes along."""
        return _no_hook, ()


def _no_hook() -> Any:
    return _pass


def _pass(response: Any, **_kwargs: Any) -> Any:
    return response


class RequestsFamily(Authenticator):
    """The methods that requests and niquests call."""

    def __call__(self, request: Any) -> Any:
        """Sign a prepared request and see to its answer.

        Raises:
            CredentialError: no credential can be had; it is the client's own error too.
            InsecureTransport: the request goes over plain http; likewise.
        """
        prefix, place = self._latest
        try:
            if not request.url.startswith(prefix):
                place = self._place_asked(request)
                if place is None:
                    return request
            body, hooks = request.body, request.hooks["response"]
        except (AttributeError, KeyError, TypeError):
            raise _no_client_of_ours(request) from None
        lease = place.lease
        if (
            lease is None
            or not (body is None or isinstance(body, _IN_MEMORY))
            or self._now() >= lease.until
            or not lease.wall_from <= self._wall() < lease.wall_until
        ):
            lease = self._lease_asked(request, place)
        request.headers["Authorization"] = lease.header
        hook = lease.attachment or self._hook(place, lease)
        if hooks:
            _hook_up(hooks, hook)
        else:
            hooks.append(hook)
        return request

    def _place_asked(self, request: Any) -> Place | None:
        url: str = request.url
        prefix = url[: url.find("/", 8) + 1]
        error: PartnerAuthError
        try:
            place = self._known.get(prefix) or self._remember(prefix, origin_of_url(url))
        except InsecureTransport as insecure:
            error = insecure
        else:
            if place is not None and prefix:
                self._latest = prefix, place
            return place
        raise _as_the_clients(error, request)

    def _lease_asked(self, request: Any, place: Place) -> Lease:
        patient = not isinstance(request.body, _IN_MEMORY) and not _notes_position(request)
        error: PartnerAuthError
        try:
            return self._lease(place, patient=patient)
        except PartnerAuthError as failed:
            error = failed
        raise _as_the_clients(error, request)

    def _hook(self, place: Place, lease: Lease) -> Hook:
        hook = lease.attachment = Hook(self, place, lease.signed)
        return hook

    # -- the answer

    def _answered(self, hook: Hook, response: Any, kwargs: dict[str, Any]) -> Any:
        if hasattr(response, "__await__") or hasattr(getattr(response, "connection", None), "__aenter__"):
            raise _sync_in_async()
        status = response.status_code
        if status not in self._rejects:
            if hook.place.troubled and _carries(response.request, hook.signed):
                self._note(hook.place, hook.signed, status)
            return response
        place = self._place_at(response.request)
        if place is None:
            return response
        signed = hook.signed if _carries(response.request, hook.signed) else None
        if signed is None and not place.named:
            return response
        return self._mended(response, place, signed, kwargs)

    def _place_at(self, request: Any) -> Place | None:
        try:
            return self._place(origin_of_url(request.url))
        except InsecureTransport:
            return None

    def _mended(self, response: Any, place: Place, signed: Signed | None, kwargs: dict[str, Any]) -> Any:
        first, refused = response, []
        replayable = _can_resend(response)
        steps = self._recovering(place, signed, _answer(response), replayable=replayable)
        try:
            step = next(steps, None)
            while step is not None:
                body = _Withheld(response)
                send = self._until_send(steps, step)
                if send is None:
                    body.give_back()
                    break
                body.drop()
                refused.append(response)
                response = _resent(response, send, kwargs, refused)
                signed = send
                step = reply(steps, _answer(response))
        finally:
            steps.close()
        if response is not first and signed is not None and response.is_redirect:
            # the session follows from the request that it holds, not from the resent one
            first.request.headers["Authorization"] = signed.header
            _hook_up(first.request.hooks["response"], Hook(self, place, signed))
        return response


def _answer(response: Any) -> Answer:
    headers = response.headers
    return Answer(response.status_code, headers.get("Date"), headers.get("WWW-Authenticate"))


def _carries(request: Any, signed: Signed) -> bool:
    return bool(request.headers.get("Authorization") == signed.header)


def _hook_up(listed: list[Any], hook: Any) -> None:
    """Put our hook first, so that the user's see the final answer; in place of one that is there already."""
    for index, other in enumerate(listed):
        if type(other) is Hook:
            listed[index] = hook
            return
    listed.insert(0, hook)


# -- bodies


def _notes_position(request: Any) -> bool:
    """Note where a seekable body stands, as requests does for its redirects; False: it can't be sent again."""
    body = request.body
    try:
        if not body.seekable():
            return False
        request._body_position = body.tell()  # noqa: SLF001  requests' own name for it; copies keep it
    except (AttributeError, OSError, ValueError):
        return False
    return isinstance(request._body_position, int)  # noqa: SLF001


def _can_resend(response: Any) -> bool:
    request = response.request
    if not callable(getattr(getattr(response, "connection", None), "send", None)):
        return False
    if isinstance(request.body, _IN_MEMORY):
        return True
    return isinstance(getattr(request, "_body_position", None), int) and _rewound(request)


def _rewound(request: Any) -> bool:
    if isinstance(request.body, _IN_MEMORY):
        return True
    try:
        request.body.seek(request._body_position)  # noqa: SLF001
    except (AttributeError, OSError, ValueError):
        return False
    return True


# -- the resend


def _resent(response: Any, signed: Signed, kwargs: dict[str, Any], refused: list[Any]) -> Any:
    request = response.request.copy()
    request.headers["Authorization"] = signed.header
    _take_cookies(request, response)
    _rewound(request)
    began = time.perf_counter()
    again = response.connection.send(request, **kwargs)
    again.elapsed = timedelta(seconds=time.perf_counter() - began)
    again.request = request
    again.history = [*again.history, *refused]
    return again


def _take_cookies(request: Any, response: Any) -> None:
    """Carry the 401's cookies into the resend; a Cookie header that the caller wrote stays."""
    cookies = sys.modules.get(type(response.request).__module__.partition(".")[0] + ".cookies")
    jar = request._cookies  # noqa: SLF001  where requests keeps what its header is made of
    if cookies is None or jar is None:
        return
    written = request.headers.get("Cookie")
    if written is not None and written != cookies.get_cookie_header(jar, _bare(request)):
        return
    cookies.extract_cookies_to_jar(jar, response.request, response.raw)
    request.headers.pop("Cookie", None)
    request.prepare_cookies(jar)


def _bare(request: Any) -> Any:
    copied = request.copy()
    copied.headers.pop("Cookie", None)
    return copied


class _Withheld:
    """A refused answer's body while the store is asked: at most 64 KiB read, for a second, undecoded."""

    def __init__(self, response: Any) -> None:
        self._response = response
        self._raw = raw = response.raw
        self._data, self._ended, self._taken = bytearray(), False, False
        # recorders and stubs bring a raw of their own: it is left alone
        if type(raw).__module__.partition(".")[0] == "urllib3" and hasattr(raw, "read1") and not raw.closed:
            self._taken = True
            self._read()

    def _read(self) -> None:
        until = time.monotonic() + READ_WITHIN
        sock = getattr(getattr(self._raw, "connection", None), "sock", None)
        usual = sock.gettimeout() if sock is not None else None
        try:
            while len(self._data) < MOST_READ and (left := until - time.monotonic()) > 0:
                if sock is not None:  # a silent body would else wait for as long as the client does
                    sock.settimeout(left if usual is None else min(left, usual))
                piece = self._raw.read1(MOST_READ - len(self._data), decode_content=False)
                if not piece:
                    self._ended = True
                    break
                self._data += piece
        except Exception:  # noqa: BLE001  what is wrong with a refused body changes nothing
            self._ended = False
        _restore_timeout(sock, usual)

    def give_back(self) -> None:
        """Leave the response as if nothing had been read."""
        if self._taken:
            self._replace(_Joined(bytes(self._data), None if self._ended else self._raw), whole=True)

    def drop(self) -> None:
        """Let the connection go, back to the pool if the body was read to its end; keep what was read."""
        if not self._taken:
            self._response.close()
            return
        if not self._ended:
            self._raw.close()
        self._raw.release_conn()
        self._replace(io.BytesIO(bytes(self._data)), whole=False)

    def _replace(self, body: Any, *, whole: bool) -> None:
        old = self._raw
        self._response.raw = type(old)(
            body=body,
            headers=old.headers,
            status=old.status,
            version=old.version,
            reason=old.reason,
            preload_content=False,
            decode_content=False,
            original_response=old._original_response,  # noqa: SLF001  where requests looks for cookies
            enforce_content_length=whole and not self._ended,
            request_method=getattr(old, "_request_method", None) or self._response.request.method,
        )


def _restore_timeout(sock: Any, usual: float | None) -> None:
    if sock is None:
        return
    try:
        sock.settimeout(usual)
    except (OSError, ValueError):
        return


class _Joined(io.RawIOBase):
    """What was read of a body, then the rest of it."""

    def __init__(self, read: bytes, rest: Any) -> None:
        self._read, self._rest = io.BytesIO(read), rest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        piece = self._read.read(len(buffer))
        if not piece and self._rest is not None:
            piece = self._rest.read1(len(buffer), decode_content=False)
        buffer[: len(piece)] = piece
        return len(piece)

    def read1(self, size: int = -1) -> bytes:
        return self.read(size if size >= 0 else MOST_READ) or b""

    def close(self) -> None:
        if self._rest is not None:
            self._rest.close()
            self._rest.release_conn()
        super().close()


# -- errors


def _as_the_clients(error: PartnerAuthError, request: Any) -> PartnerAuthError:
    """Return the error as one of the client that made `request`."""
    client: Any = sys.modules.get(type(request).__module__.partition(".")[0])
    if isinstance(error, ConfigurationError) or client is None:
        return error
    name = "ConnectionError" if isinstance(error, SourceUnavailable) else "RequestException"
    base = getattr(client, name, None)
    return error if base is None else raised_by_client(error, base, request)


def _no_client_of_ours(request: Any) -> ConfigurationError:
    kind = f"{type(request).__module__}.{type(request).__qualname__}"
    return ConfigurationError(
        f"a {kind} can't be signed here: this client took PartnerAuth for a plain function, so no 401 would be mended; "
        "use the PartnerAuth of partner_auth's module for it (partner_auth.requests, .httpx, .httpx2)"
    )


def _sync_in_async() -> ConfigurationError:
    return ConfigurationError("an asynchronous session took a synchronous PartnerAuth: use AsyncPartnerAuth")
