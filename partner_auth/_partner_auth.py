"""PartnerAuth: the authenticator with both families' methods, for every client."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from partner_auth._httpx_family import HttpxFamily
from partner_auth._requests_family import RequestsFamily

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator

    import httpx
    import httpx2
    import requests.auth

    class _Posing(requests.auth.AuthBase, httpx.Auth, httpx2.Auth):
        """What type checkers see, whichever clients are installed."""

        def auth_flow(self, request: Any) -> Generator[Any, Any, None]: ...
        def sync_auth_flow(self, request: Any) -> Generator[Any, Any, None]: ...
        def async_auth_flow(self, request: Any) -> AsyncGenerator[Any, Any]: ...

else:
    _Posing = object


_BASES = (
    ("requests.auth", "AuthBase"),
    ("niquests.auth", "AuthBase"),
    ("httpx", "Auth"),
    ("httpx2", "Auth"),
)


class PartnerAuth(RequestsFamily, HttpxFamily, _Posing):
    """Sign every request to a partner's API, and follow its secret through rotations.

    One object serves requests, httpx and httpx2 (sync, asyncio and trio) and niquests (sync), in
    any number of threads, loops and clients at once: `session.auth = PartnerAuth(...)`,
    `httpx.AsyncClient(auth=PartnerAuth(...))`.

    Args:
        source: where the secret is: a source, a source URL, a `Credential`, a callable that returns
            one (a coroutine function too), or None: `PARTNER_AUTH_SOURCE`, else `PARTNER_CLIENT_ID`
            and `PARTNER_SECRET_KEY`.
        origins: where tokens may go, one or several like `"https://api.partner.example"`. None: the
            origin of `PARTNER_BASE_URL` when `source` is None too, else every https origin that the
            client is sent to.
        lifetime: of a token, seconds or `timedelta`, 1 second to 366 days.
        algorithm: HS256, HS384, HS512, or with the `crypto` extra one of RS, PS, ES and EdDSA.
        claims: further claims: a mapping, or a callable of the `Credential` that runs once a token.
        key_id: the token's `kid`, unless the credential brings its own.
        rejects: the status codes that mean "token refused".
        refresh: when the store is read.
        on_event: a plain function of one `partner_auth.events` object, called where it happened.
        clock: for tests: an object with `now()` and `monotonic()`.

    Raises:
        ConfigurationError: an argument or a variable is wrong, or an extra is missing.
    """

    @property
    def __class__(self) -> Any:
        """Answer `isinstance` for whichever clients the program has imported, and import none."""
        return _posing_class(type(self))

    @__class__.setter
    def __class__(self, other: type) -> None:
        raise TypeError("a PartnerAuth keeps its class")


_posing: dict[tuple[type, ...], type] = {}


def _posing_class(own: type) -> type:
    bases: list[type] = [own]
    for module, name in _BASES:
        base = getattr(sys.modules.get(module), name, None)
        if isinstance(base, type) and not any(issubclass(known, base) for known in bases):
            bases.append(base)
    key = tuple(bases)
    known = _posing.get(key)
    if known is None:
        known = own if len(bases) == 1 else type(own.__name__, key, {"__module__": own.__module__})
        _posing[key] = known
    return known
