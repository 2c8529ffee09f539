"""httpx with a hook that raises: sign in the transport, below hooks and redirects."""

import httpx

from partner_auth import PartnerAuth
from partner_auth.httpx import SigningTransport
from partner_auth.testing import PartnerServer


def raise_for_status(response: httpx.Response) -> None:
    """Raise for whatever comes from the transport: it would see the 401 if the client signed."""
    response.raise_for_status()


with PartnerServer() as partner:
    auth = PartnerAuth(partner.store, origins=partner.url)  # yours: a source URL
    transport = SigningTransport(auth, httpx.HTTPTransport(retries=1))
    hooks = {"response": [raise_for_status]}
    with httpx.Client(transport=transport, event_hooks=hooks) as client:
        print("signed:", client.get(f"{partner.url}/portfolio").status_code)
        partner.rotate()
        print("after the rotation:", client.get(f"{partner.url}/portfolio").status_code)
    print("refused in all:", sum(request.status == 401 for request in partner.requests))
