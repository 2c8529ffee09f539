"""aiohttp takes the object as a client middleware."""

from __future__ import annotations

import aiohttp

import partner_auth.aiohttp
from partner_auth import EnvSource, RefreshPolicy

ORIGIN = "https://api.partner.example"


async def portfolio() -> int:
    """Use a session that signs, and one request that does."""
    auth = partner_auth.aiohttp.PartnerAuth("env://", origins=ORIGIN)
    async with aiohttp.ClientSession(middlewares=(auth,)) as session:
        answer = await session.get(f"{ORIGIN}/portfolio")
        again = await session.get(f"{ORIGIN}/portfolio", middlewares=[auth])
        return answer.status + again.status


middleware: aiohttp.ClientMiddlewareType = partner_auth.aiohttp.PartnerAuth(
    EnvSource(), origins=[ORIGIN], lifetime=60, refresh=RefreshPolicy(fresh_for=60)
)


async def token() -> str:
    """Use what is common to all clients."""
    auth = partner_auth.aiohttp.PartnerAuth(origins=ORIGIN)
    await auth.arefresh()
    return await auth.atoken(ORIGIN)
