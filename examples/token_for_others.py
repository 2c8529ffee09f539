"""The token alone: for curl, a WebSocket, gRPC, or an SDK that takes a token provider."""

import urllib.error
import urllib.request

from partner_auth import ConfigurationError, PartnerAuth
from partner_auth.testing import PartnerServer

with PartnerServer() as partner:
    auth = PartnerAuth(partner.store, origins=partner.url)  # yours: a source URL

    def get(path: str) -> int:
        """Send a request by hand; here a 401 is yours to mend."""
        url = f"{partner.url}{path}"
        headers = {"Authorization": f"Bearer {auth.token(url)}"}
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers)) as answer:
            return answer.status

    print("signed by hand:", get("/portfolio"))

    partner.rotate()
    try:
        get("/portfolio")
    except urllib.error.HTTPError as error:
        print("after the rotation:", error.code)
        error.close()
        auth.refresh()
    print("refreshed:", get("/portfolio"))

    try:
        auth.token("https://elsewhere.example/")
    except ConfigurationError as error:
        print("elsewhere:", error)
