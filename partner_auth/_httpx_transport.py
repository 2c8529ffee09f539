"""The same flow run inside a transport: below event hooks, redirects and a client that somebody else owns."""

from __future__ import annotations

from typing import Any

from partner_auth._authenticator import Authenticator
from partner_auth._httpx_family import HttpxFamily
from partner_auth.exceptions import ConfigurationError


class Signing:
    """What a signing transport does, over any other transport of the same client."""

    _auth: HttpxFamily
    _transport: Any

    def __init__(self, auth: Authenticator, transport: Any) -> None:
        """Check that the origins are named: here each hop of a redirect is a request of its own."""
        if not isinstance(auth, HttpxFamily):
            raise ConfigurationError(f"auth: a PartnerAuth is wanted, not {type(auth).__name__}")
        if auth._origins.named is None:  # noqa: SLF001  a part of the same machine
            raise ConfigurationError(
                "a signing transport sees each hop of a redirect: name origins=…"
            )
        self._auth = auth
        self._transport = transport

    def handle_request(self, request: Any) -> Any:
        """Sign, send and mend one request."""
        flow = self._auth.sync_auth_flow(request)
        try:
            sending = next(flow)
            while True:
                response = self._transport.handle_request(sending)
                response.request = sending
                again = _next(flow, response)
                if again is None:
                    return _told(request, response)
                response.close()
                sending = again
        finally:
            flow.close()

    def close(self) -> None:
        """Close the transport below."""
        self._transport.close()


class AsyncSigning(Signing):
    """The same for the asynchronous client."""

    async def handle_async_request(self, request: Any) -> Any:
        """Sign, send and mend one request."""
        flow = self._auth.async_auth_flow(request)
        try:
            sending = await anext(flow)
            while True:
                response = await self._transport.handle_async_request(sending)
                response.request = sending
                again = await _anext(flow, response)
                if again is None:
                    return _told(request, response)
                await response.aclose()
                sending = again
        finally:
            await flow.aclose()

    async def aclose(self) -> None:
        """Close the transport below."""
        await self._transport.aclose()


def _next(flow: Any, response: Any) -> Any:
    try:
        return flow.send(response)
    except StopIteration:
        return None


async def _anext(flow: Any, response: Any) -> Any:
    try:
        return await flow.asend(response)
    except StopAsyncIteration:
        return None


def _told(request: Any, response: Any) -> Any:
    """Have the client's own request tell which token was answered: it stands in `response.request`."""
    sent = response.request.headers.get("Authorization")
    if sent is not None:
        request.headers["Authorization"] = sent
    return response
