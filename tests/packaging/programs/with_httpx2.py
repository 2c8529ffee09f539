"""A user of httpx2, who has nothing else."""

import asyncio

import httpx2

import partner_auth.httpx2
from partner_auth.testing import PartnerServer

assert issubclass(partner_auth.httpx2.PartnerAuth, httpx2.Auth)


async def portfolio(server: PartnerServer) -> int:
    """Use the asynchronous client."""
    async with httpx2.AsyncClient(auth=server.auth()) as client:
        return (await client.get(f"{server.url}/portfolio")).status_code


with PartnerServer() as server, httpx2.Client(auth=server.auth()) as client:
    assert isinstance(client.auth, httpx2.Auth)
    assert client.get(f"{server.url}/portfolio").status_code == 200
    server.rotate()
    assert client.get(f"{server.url}/portfolio").status_code == 200
    assert [request.status for request in server.requests] == [200, 401, 200]
    assert asyncio.run(portfolio(server)) == 200
