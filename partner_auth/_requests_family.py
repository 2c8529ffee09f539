"""The door for requests and its kin: `__call__` signs, a response hook mends. It decides nothing.

It knows its client by the request that it is handed, so it imports none.
"""

from __future__ import annotations

import inspect
import io
import sys
import time
from datetime import timedelta
from typing import Any

from partner_auth._authenticator import reply
from partner_auth._door import (
    MOST_READ,
    READ_WITHIN,
    Door,
    answer_of,
    is_rewound,
    joined_cookies,
    position_of,
)
from partner_auth._origins import origin_of_url
from partner_auth._places import Lease, Place
from partner_auth._tokens import Signed
from partner_auth.exceptions import ConfigurationError

_IN_MEMORY = (str, bytes, bytearray, memoryview, type(None))


class Hook:
    """The response hook of one token: shared by all requests that carry it, pickled as nothing."""

    __slots__ = ("auth", "place", "signed")

    def __init__(self, auth: RequestsFamily, place: Place, signed: Signed) -> None:
        """Hold the token that its requests carry."""
        self.auth = auth
        self.place = place
        self.signed = signed

    def __call__(self, response: Any, **kwargs: Any) -> Any:
        """Return the answer, or the one that a resend brought."""
        return self.auth._answered(self, response, kwargs)

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


class RequestsFamily(Door):
    """The methods that requests and niquests call."""

    def __call__(self, request: Any, *handler: Any) -> Any:
        """Sign a prepared request and see to its answer.

        Raises:
            CredentialError: no credential can be had; it is the client's own error too.
            InsecureTransport: the request goes over plain http; likewise.
            ConfigurationError: the client is none that this object is for.
        """
        if handler:
            raise no_middleware(request)
        place: Place | None
        prefix, place = self._latest
        try:
            if not request.url.startswith(prefix):
                place = self._place_asked(request)
                if place is None:
                    return request
            body, hooks = request.body, request.hooks.get("response")
        except (AttributeError, TypeError):
            raise _no_client_of_ours(request) from None
        lease = place.lease
        if (
            lease is None
            or not (body is None or isinstance(body, _IN_MEMORY))
            or self._now() >= lease.until
            or not lease.wall_from <= self._wall() < lease.wall_until
        ):
            lease = self._lease_for(request, place, patient=not notes_position(request))
        request.headers["Authorization"] = lease.header
        hook = lease.attachment or self._hook(place, lease)
        if hooks:
            _hook_up(request, hook)
        else:
            request.hooks["response"] = [hook]
        return request

    def _place_asked(self, request: Any) -> Place | None:
        url: str = request.url
        prefix = url[: url.find("/", 8) + 1]
        if not prefix:  # a URL without a path has no beginning that another could not share
            return self._place_for(request, url, origin_of_url(url))
        place = self._known.get(prefix) or self._place_for(request, prefix, origin_of_url(url))
        if place is not None:
            self._latest = prefix, place
        return place

    def _hook(self, place: Place, lease: Lease) -> Hook:
        hook = lease.attachment = Hook(self, place, lease.signed)
        return hook

    # -- the answer

    def _answered(self, hook: Hook, response: Any, kwargs: dict[str, Any]) -> Any:
        connection = getattr(response, "connection", None)
        if hasattr(response, "__await__") or type(connection) not in _synchronous:
            _check_synchronous(response, connection)
        is_refused = response.status_code in self._rejects
        if not is_refused and not hook.place.troubled:
            return response
        if response.request is None:  # an adapter of the user's names none, but it was ours
            if is_refused:
                return self._mended(response, hook.place, hook.signed, kwargs)
            self._note(hook.place, hook.signed, response.status_code)
            return response
        taken_up = self._taken_up(hook.place, hook.signed, response, origin_of_url)
        return response if taken_up is None else self._mended(response, *taken_up, kwargs)

    def _mended(
        self, response: Any, place: Place, signed: Signed | None, kwargs: dict[str, Any]
    ) -> Any:
        refused: list[Any] = []
        steps = self._recovering(
            place, signed, answer_of(response), replayable=can_be_resent(response)
        )
        try:
            step = next(steps, None)
            while step is not None:
                body = _Withheld(response)
                send = self._until_send(steps, step)
                if send is None or not _is_rewound(response.request):
                    body.give_back()
                    break
                body.drop()
                refused.append(response)
                signed = send
                response = _resent(response, send, kwargs)
                step = reply(steps, answer_of(response))
        except BaseException:
            response.close()  # a pool would wait for its connection for ever
            raise
        finally:
            steps.close()
        if refused:
            response.history = [*response.history, *refused]
            if signed is not None and response.is_redirect:
                _go_on_from(refused[0].request, Hook(self, place, signed))
        return response


_synchronous: set[type] = set()  # the clients' kinds of connections, as they are met


def _check_synchronous(response: object, connection: object) -> None:
    awaits = inspect.iscoroutinefunction(getattr(connection, "send", None))
    if awaits or hasattr(response, "__await__"):
        raise _sync_in_async()
    _synchronous.add(type(connection))


def _go_on_from(request: Any, hook: Hook) -> None:
    """Put the new token into the request that the session holds: it follows a redirect from it."""
    request.headers["Authorization"] = hook.signed.header
    _hook_up(request, hook)


def _hook_up(request: Any, hook: object) -> None:
    """Put our hook first, in place of an older one: the user's see the final answer."""
    listed = request.hooks["response"]
    others = [listed] if callable(listed) else [one for one in listed if type(one) is not Hook]
    request.hooks["response"] = [hook, *others]


# -- bodies


def notes_position(request: Any) -> bool:
    """Note where a body stands, as requests does for redirects; False: it can't be sent again."""
    if isinstance(request.body, _IN_MEMORY):
        return True
    position = position_of(request.body)
    if position is None:
        return False
    request._body_position = position  # requests' own name for it; copies keep it
    return True


def can_be_resent(response: Any) -> bool:
    """Whether there is a connection to send on, and the body is whole again; a file is rewound."""
    sender = getattr(getattr(response, "connection", None), "send", None)
    return callable(sender) and _is_rewound(response.request)


def _is_rewound(request: Any) -> bool:
    if isinstance(request.body, _IN_MEMORY):
        return True
    return is_rewound(request.body, getattr(request, "_body_position", None))


# -- the resend


def resend_of(response: Any, signed: Signed) -> Any:
    """Return the refused request once more, with another token and the 401's cookies."""
    request = response.request.copy()
    request.headers["Authorization"] = signed.header
    _take_cookies(request, response)
    return request


def _resent(response: Any, signed: Signed, kwargs: dict[str, Any]) -> Any:
    request = resend_of(response, signed)
    began = time.perf_counter()
    again = response.connection.send(request, **kwargs)
    again.elapsed = timedelta(seconds=time.perf_counter() - began)
    again.request = request
    return again


def _take_cookies(request: Any, response: Any) -> None:
    """Carry the 401's cookies into the resend, beside those of a header that the caller wrote."""
    cookies: Any = sys.modules.get(type(request).__module__.partition(".")[0] + ".cookies")
    if cookies is None:
        return
    jar = request._cookies  # where requests keeps what its header is made of
    if jar is None:
        jar = request._cookies = cookies.RequestsCookieJar()
    header = request.headers.pop("Cookie", None)
    from_jar = cookies.get_cookie_header(jar, request)
    cookies.extract_cookies_to_jar(jar, response.request, response.raw)
    fresh = cookies.get_cookie_header(jar, request)
    written = "" if header is None or header == from_jar else header
    joined = joined_cookies(written, fresh or "", written)
    if joined:
        request.headers["Cookie"] = joined


class _Withheld:
    """A refused answer's body while the store is asked: a bounded part is read, undecoded."""

    def __init__(self, response: Any) -> None:
        self._response = response
        self._raw = raw = response.raw
        self._data, self._ended, self._taken = bytearray(), False, False
        self._broken: Exception | None = None
        # recorders and stubs bring a raw of their own: it is left alone
        kind = type(raw).__module__.partition(".")[0]
        if kind == "urllib3" and hasattr(raw, "read1") and not raw.closed:
            self._taken = True
            self._read()

    def _read(self) -> None:
        until = time.monotonic() + READ_WITHIN
        sock = _socket_below(self._raw)
        usual = None if sock is None else sock.gettimeout()
        self._raw.release_conn = _not_yet
        try:
            if sock is not None:  # else a silent body would hold this up for as long as the client
                sock.settimeout(READ_WITHIN if usual is None else min(READ_WITHIN, usual))
            while len(self._data) < MOST_READ and time.monotonic() < until:
                piece = self._raw.read1(MOST_READ - len(self._data), decode_content=False)
                if not piece:
                    self._ended = True
                    break
                self._data += piece
        except Exception as error:  # noqa: BLE001  what is wrong with a refused body changes nothing
            self._broken = error  # unless the caller reads as far
        finally:
            _restore_timeout(sock, usual)
            self._release()

    def _release(self) -> None:
        del self._raw.release_conn
        if self._ended or self._broken is not None:
            self._raw.release_conn()

    def give_back(self) -> None:
        """Leave the response as if nothing had been read."""
        if self._taken:
            rest = None if self._ended else self._raw
            self._replace(_Joined(bytes(self._data), rest, self._broken))

    def drop(self) -> None:
        """Let the connection go, back to the pool if it can be used again; keep what was read."""
        if not self._taken:
            self._response.close()
            return
        if not self._ended:
            self._raw.close()
        self._raw.release_conn()
        self._replace(io.BytesIO(bytes(self._data)))

    def _replace(self, body: Any) -> None:
        old = self._raw
        self._response.raw = type(old)(
            body=body,
            headers=old.headers,
            status=old.status,
            version=old.version,
            reason=old.reason,
            preload_content=False,
            decode_content=False,
            original_response=old._original_response,  # where requests looks for cookies
            enforce_content_length=False,  # whoever read the old one did
            request_method=self._response.request.method,
        )


def _not_yet() -> None:
    """Keep a connection whose time limit is not its own: another thread would get it like that."""


def _socket_below(raw: Any) -> Any:
    """Return the socket; an answer that ends its connection has taken it out of there."""
    sock = getattr(getattr(raw, "connection", None), "sock", None)
    return sock or getattr(getattr(raw, "_sock_shutdown", None), "__self__", None)


def _restore_timeout(sock: Any, usual: float | None) -> None:
    if sock is None:
        return
    try:
        sock.settimeout(usual)
    except (OSError, ValueError):
        return


class _Joined(io.RawIOBase):
    """What was read of a body, then the rest of it, or what went wrong there."""

    def __init__(self, read: bytes, rest: Any, broken: Exception | None) -> None:
        self._read, self._rest, self._broken = io.BytesIO(read), rest, broken

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        piece = self._read.read(len(buffer))
        if not piece and self._broken is not None:
            raise self._broken
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


def _no_client_of_ours(request: Any) -> ConfigurationError:
    kind = f"{type(request).__module__}.{type(request).__qualname__}"
    return ConfigurationError(
        f"a {kind} can't be signed here: this client took PartnerAuth for a plain function, so no "
        "401 would be mended; use the PartnerAuth of partner_auth's module for it "
        "(partner_auth.requests, .httpx, .httpx2)"
    )


def no_middleware(request: Any) -> ConfigurationError:
    """Return the error for a client that hands over a handler too, as aiohttp does."""
    client = type(request).__module__.partition(".")[0]
    return ConfigurationError(
        f"{client} took this PartnerAuth for its middleware: the one for aiohttp is "
        "partner_auth.aiohttp.PartnerAuth, and it wants origins=…"
    )


def _sync_in_async() -> ConfigurationError:
    return ConfigurationError(
        "an asynchronous session took a synchronous PartnerAuth: use AsyncPartnerAuth"
    )
