"""Read the store again on SIGHUP, as a daemon's operators expect: `kill -HUP` after a rotation.

`refresh(wait=False)` returns at once and touches no lock, so a signal handler may call it.
"""

import os
import signal
import time

import requests

from partner_auth import PartnerAuth
from partner_auth.testing import PartnerServer

with PartnerServer() as partner, requests.Session() as session:
    auth = session.auth = PartnerAuth(partner.store, origins=partner.url)  # yours: a source URL
    signal.signal(signal.SIGHUP, lambda *_: auth.refresh(wait=False))
    answer = session.get(f"{partner.url}/portfolio")
    print("version", auth.status().version, answer.status_code)

    partner.rotate(overlap=True)  # both are accepted for a while, and the store has the new one
    os.kill(os.getpid(), signal.SIGHUP)
    while auth.status().version != "2":
        time.sleep(0.01)

    partner.retire()
    answer = session.get(f"{partner.url}/portfolio")
    print("version", auth.status().version, answer.status_code)
    print("refused in all:", sum(request.status == 401 for request in partner.requests))
