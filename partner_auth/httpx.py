"""PartnerAuth for httpx: a true `httpx.Auth`, importing that client alone, and the same as transports."""

from __future__ import annotations

from partner_auth import _httpx_transport, _partner_auth
from partner_auth._extras import extra

with extra("httpx", "httpx"):
    from httpx import AsyncBaseTransport, AsyncHTTPTransport, Auth, BaseTransport, HTTPTransport

__all__ = ["AsyncSigningTransport", "PartnerAuth", "SigningTransport"]


class PartnerAuth(_partner_auth.PartnerAuth, Auth):
    """The same as `partner_auth.PartnerAuth`, as a subclass of httpx's own base class."""


class SigningTransport(_httpx_transport.Signing, BaseTransport):
    """Sign below event hooks and redirects: `httpx.Client(transport=SigningTransport(auth))`.

    For a client with a `raise_for_status` hook, a small `max_redirects`, or one that an SDK owns.
    Each hop of a redirect is signed or left alone by itself, so `origins` must be named. The 401
    and its cookies stay below the client: neither its hooks, its history nor its jar see them.

    Args:
        auth: a `PartnerAuth` with `origins`.
        transport: what sends; by default an `httpx.HTTPTransport()`. With `transport=` given to the
            client, httpx applies no environment proxies, nor the client's own `verify`, `cert`,
            `http2` and `limits`: give them to this one.

    Raises:
        ConfigurationError: no origins are named.
    """

    def __init__(
        self, auth: _partner_auth.PartnerAuth, transport: BaseTransport | None = None
    ) -> None:
        """Connect nothing yet."""
        super().__init__(auth, transport or HTTPTransport())


class AsyncSigningTransport(_httpx_transport.AsyncSigning, AsyncBaseTransport):
    """The same for `httpx.AsyncClient`."""

    def __init__(
        self, auth: _partner_auth.PartnerAuth, transport: AsyncBaseTransport | None = None
    ) -> None:
        """Connect nothing yet."""
        super().__init__(auth, transport or AsyncHTTPTransport())
