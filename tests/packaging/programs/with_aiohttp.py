"""A user of aiohttp, who has nothing else."""

import asyncio

import aiohttp

import partner_auth.aiohttp
from partner_auth.testing import PartnerServer


async def portfolio(server: PartnerServer) -> None:
    """Call it before and after a rotation."""
    auth = partner_auth.aiohttp.PartnerAuth(server.store, origins=server.url)
    async with aiohttp.ClientSession(middlewares=(auth,), raise_for_status=True) as session:
        await session.get(f"{server.url}/portfolio")
        server.rotate()
        await session.get(f"{server.url}/portfolio")


with PartnerServer() as server:
    asyncio.run(portfolio(server))
    assert [request.status for request in server.requests] == [200, 401, 200]
