"""httpx takes the object wherever it takes an auth, sync and async."""

from __future__ import annotations

import httpx

import partner_auth.httpx
from partner_auth import PartnerAuth
from partner_auth.httpx import AsyncSigningTransport, SigningTransport

ORIGIN = "https://api.partner.example"


def sync() -> httpx.Response:
    """Use a client, a client's module and a transport."""
    with httpx.Client(auth=PartnerAuth("env://", origins=ORIGIN)) as client:
        client.get(ORIGIN, auth=partner_auth.httpx.PartnerAuth())
    transport = SigningTransport(PartnerAuth(origins=ORIGIN), httpx.HTTPTransport(retries=1))
    with httpx.Client(transport=transport) as client:
        return client.get(ORIGIN)


async def asynchronous() -> httpx.Response:
    """Use the same in an event loop."""
    async with httpx.AsyncClient(auth=PartnerAuth("env://", origins=ORIGIN)) as client:
        await client.get(ORIGIN, auth=partner_auth.httpx.PartnerAuth())
    transport = AsyncSigningTransport(PartnerAuth(origins=ORIGIN))
    async with httpx.AsyncClient(transport=transport) as client:
        return await client.get(ORIGIN)


base: httpx.Auth = partner_auth.httpx.PartnerAuth()
common: PartnerAuth = partner_auth.httpx.PartnerAuth()
