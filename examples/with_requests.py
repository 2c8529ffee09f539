"""requests: one line on the session, and a rotation goes unnoticed.

In your program the three variables are set by whoever deploys it.
"""

import os

import requests

from partner_auth import PartnerAuth
from partner_auth.testing import PartnerServer

with PartnerServer() as partner, requests.Session() as session:
    os.environ["PARTNER_BASE_URL"] = partner.url
    os.environ["PARTNER_CLIENT_ID"] = partner.client_id
    os.environ["PARTNER_SECRET_KEY"] = partner.secret

    session.auth = PartnerAuth()

    response = session.get(f"{partner.url}/portfolio")
    print("signed:", response.status_code)

    os.environ["PARTNER_SECRET_KEY"] = partner.rotate()
    response = session.get(f"{partner.url}/portfolio")
    print("after the rotation:", response.status_code, "refused before:", len(response.history))
