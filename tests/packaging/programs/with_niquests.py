"""A user of niquests, who has nothing else."""

import asyncio

import niquests

import partner_auth.niquests
from partner_auth.testing import PartnerServer

assert issubclass(partner_auth.niquests.PartnerAuth, niquests.auth.AuthBase)


async def portfolio(server: PartnerServer) -> int:
    """Use the asynchronous session."""
    auth = partner_auth.niquests.AsyncPartnerAuth(server.store, origins=server.url)
    async with niquests.AsyncSession(auth=auth) as session:
        return (await session.get(f"{server.url}/portfolio")).status_code


with PartnerServer() as server, niquests.Session() as session:
    session.auth = server.auth()
    assert isinstance(session.auth, niquests.auth.AuthBase)
    assert session.get(f"{server.url}/portfolio").ok
    server.rotate()
    assert session.get(f"{server.url}/portfolio").ok
    assert [request.status for request in server.requests] == [200, 401, 200]
    assert asyncio.run(portfolio(server)) == 200
