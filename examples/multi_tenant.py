"""One object a tenant: 5,000 of them are small, and each reads its own secret when it is used."""

import os
import time

import requests

from partner_auth import PartnerAuth
from partner_auth.testing import PartnerServer

TENANTS = 5_000

with PartnerServer() as partner, requests.Session() as session:
    began = time.perf_counter()
    auth = {
        number: PartnerAuth(f"env://TENANT_{number}_", origins=partner.url)
        for number in range(TENANTS)
    }
    took = time.perf_counter() - began
    print(f"{len(auth):,} objects, and nothing read")
    assert took < 30, "each takes well below a millisecond on a quiet machine"

    for number in (7, 4711):
        os.environ[f"TENANT_{number}_CLIENT_ID"] = partner.client_id
        os.environ[f"TENANT_{number}_SECRET_KEY"] = partner.secret
        answer = session.get(f"{partner.url}/portfolio?tenant={number}", auth=auth[number])
        print(f"tenant {number}:", answer.status_code)

    print("tenant 8:", auth[8].status().state)
