"""Count what happens inside: events go to your metrics, and the log has a line for each."""

import logging
import sys
from collections import Counter

import requests

from partner_auth import PartnerAuth
from partner_auth.events import CredentialRotated, Event
from partner_auth.testing import PartnerServer

counts: Counter[str] = Counter()


def count(event: Event) -> None:
    """Count it: called in the thread where it happened, so don't block here."""
    counts[type(event).__name__] += 1
    if isinstance(event, CredentialRotated):
        counts["rotations noticed"] += 1


logging.basicConfig(stream=sys.stdout, format="%(levelname)s %(name)s: %(message).40s")
logging.getLogger("partner_auth").setLevel(logging.INFO)

with PartnerServer() as partner, requests.Session() as session:
    session.auth = PartnerAuth(partner.store, origins=partner.url, on_event=count)
    for count in range(200):
        if count == 100:
            partner.rotate()
        session.get(f"{partner.url}/portfolio")

for name, times in sorted(counts.items()):
    print(f"{name}: {times}")
