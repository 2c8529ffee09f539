"""A user of httpx, who has nothing else."""

import asyncio

import httpx

import partner_auth.httpx
from partner_auth.testing import PartnerServer

assert issubclass(partner_auth.httpx.PartnerAuth, httpx.Auth)


async def portfolio(server: PartnerServer) -> int:
    """Use the asynchronous client."""
    async with httpx.AsyncClient(auth=server.auth()) as client:
        return (await client.get(f"{server.url}/portfolio")).status_code


with PartnerServer() as server, httpx.Client(auth=server.auth()) as client:
    assert isinstance(client.auth, httpx.Auth)
    assert client.get(f"{server.url}/portfolio").status_code == 200
    server.rotate()
    assert client.get(f"{server.url}/portfolio").status_code == 200
    assert [request.status for request in server.requests] == [200, 401, 200]
    assert asyncio.run(portfolio(server)) == 200
