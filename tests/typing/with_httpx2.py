"""httpx2 takes the object wherever it takes an auth, sync and async."""

from __future__ import annotations

import httpx2

import partner_auth.httpx2
from partner_auth import PartnerAuth
from partner_auth.httpx2 import AsyncSigningTransport, SigningTransport

ORIGIN = "https://api.partner.example"


def sync() -> httpx2.Response:
    """Use a client, a client's module and a transport."""
    with httpx2.Client(auth=PartnerAuth("env://", origins=ORIGIN)) as client:
        client.get(ORIGIN, auth=partner_auth.httpx2.PartnerAuth())
    transport = SigningTransport(PartnerAuth(origins=ORIGIN), httpx2.HTTPTransport(retries=1))
    with httpx2.Client(transport=transport) as client:
        return client.get(ORIGIN)


async def asynchronous() -> httpx2.Response:
    """Use the same in an event loop."""
    async with httpx2.AsyncClient(auth=PartnerAuth("env://", origins=ORIGIN)) as client:
        await client.get(ORIGIN, auth=partner_auth.httpx2.PartnerAuth())
    transport = AsyncSigningTransport(PartnerAuth(origins=ORIGIN))
    async with httpx2.AsyncClient(transport=transport) as client:
        return await client.get(ORIGIN)


base: httpx2.Auth = partner_auth.httpx2.PartnerAuth()
common: PartnerAuth = partner_auth.httpx2.PartnerAuth()
