"""A partner to practise on, whose secret is in OpenBao: what compose.yaml runs.

`python practice_partner.py FILE` writes the partner's URL to FILE. SIGHUP rotates the secret: the
store has it first, as an operator should do it, and so no request fails.
"""

import os
import secrets
import signal
import sys
from pathlib import Path

import hvac

from partner_auth.testing import PartnerServer

SIGNALS = {signal.SIGHUP, signal.SIGINT, signal.SIGTERM}


def store(secret: str) -> None:
    """Write a new version; the library finds the one before as well."""
    document = {"client_id": "acme", "secret_key": secret}
    vault.secrets.kv.v2.create_or_update_secret("partner/acme", document, mount_point="secret")


signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # before there are threads, for sigwait
where = Path(sys.argv[1])
where.unlink(missing_ok=True)
vault = hvac.Client(url=os.environ["BAO_ADDR"], token=os.environ["BAO_TOKEN"])
with PartnerServer() as partner:
    store(str(partner.secret))
    where.write_text(partner.url, encoding="utf-8")
    while signal.sigwait(SIGNALS) == signal.SIGHUP:
        store(new := secrets.token_hex(32))
        partner.rotate(new)
        print("rotated", flush=True)
where.unlink()
