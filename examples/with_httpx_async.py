"""httpx: one object for an AsyncClient, many requests at once, one read of the store."""

import asyncio

import httpx

from partner_auth import PartnerAuth
from partner_auth.testing import PartnerServer


async def main(partner: PartnerServer) -> None:
    """Send 50 requests at once, before and after a rotation."""
    auth = PartnerAuth(partner.store, origins=partner.url)  # yours: a source URL
    async with httpx.AsyncClient(auth=auth, base_url=partner.url) as client:
        await send(client, 50)
        partner.rotate()
        await send(client, 50)
    print("store reads:", partner.store.reads)


async def send(client: httpx.AsyncClient, count: int) -> None:
    """Send so many at once."""
    answers = await asyncio.gather(*(client.get("/portfolio") for _ in range(count)))
    refused = sum(len(answer.history) for answer in answers)
    print("accepted:", sum(answer.is_success for answer in answers), "refused before:", refused)


with PartnerServer() as server:
    asyncio.run(main(server))
