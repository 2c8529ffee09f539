"""niquests takes the object wherever it takes an auth; its asynchronous sessions have their own."""

from __future__ import annotations

import niquests
import niquests.auth

import partner_auth.niquests
from partner_auth import PartnerAuth

ORIGIN = "https://api.partner.example"


def sync() -> niquests.Response:
    """Use a session and the module's own functions."""
    niquests.get(ORIGIN, auth=PartnerAuth())
    niquests.post(ORIGIN, auth=partner_auth.niquests.PartnerAuth())
    with niquests.Session() as session:
        session.auth = PartnerAuth("env://", origins=ORIGIN)
        session.auth = partner_auth.niquests.PartnerAuth("env://", origins=ORIGIN)
        return session.get(f"{ORIGIN}/portfolio")


async def asynchronous() -> niquests.Response:
    """Use an asynchronous session."""
    auth = partner_auth.niquests.AsyncPartnerAuth("env://", origins=ORIGIN)
    async with niquests.AsyncSession(auth=auth) as session:
        await session.get(ORIGIN, auth=partner_auth.niquests.AsyncPartnerAuth())
        return await session.get(f"{ORIGIN}/portfolio")


base: niquests.auth.AuthBase = partner_auth.niquests.PartnerAuth()
async_base: niquests.auth.AsyncAuthBase = partner_auth.niquests.AsyncPartnerAuth()
common: PartnerAuth = partner_auth.niquests.PartnerAuth()
