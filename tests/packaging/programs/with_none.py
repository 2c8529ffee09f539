"""A user who signs by `token()` and sends with the standard library."""

import urllib.request

from partner_auth.testing import PartnerServer

with PartnerServer() as server:
    auth = server.auth()
    headers = {"Authorization": f"Bearer {auth.token(server.url)}"}
    request = urllib.request.Request(f"{server.url}/portfolio", headers=headers)
    with urllib.request.urlopen(request) as response:
        assert response.status == 200
