"""httpx2, synchronous and on trio: the same object serves both at once."""

import httpx2
import trio

from partner_auth import PartnerAuth
from partner_auth.testing import PartnerServer


async def on_trio(auth: PartnerAuth, url: str) -> None:
    """Send one request from trio."""
    async with httpx2.AsyncClient(auth=auth) as client:
        print("trio:", (await client.get(url)).status_code)


with PartnerServer() as partner:
    auth = PartnerAuth(partner.store, origins=partner.url)  # yours: a source URL
    url = f"{partner.url}/portfolio"
    with httpx2.Client(auth=auth) as client:
        print("sync:", client.get(url).status_code)
    partner.rotate()
    trio.run(on_trio, auth, url)
    print("store reads:", partner.store.reads)
