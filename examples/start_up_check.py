"""Fail at start-up, with a reason, instead of at the first request."""

import os
import sys

from partner_auth import CredentialError, PartnerAuth
from partner_auth.testing import PartnerServer


def check(auth: PartnerAuth) -> bool:
    """Ask for a token: the store is read and the key is used, but the partner isn't called."""
    try:
        auth.token()
    except CredentialError as error:
        print(f"not ready: {error}", file=sys.stderr)
        return False
    return True


with PartnerServer() as partner:
    for name in ("PARTNER_CLIENT_ID", "PARTNER_SECRET_KEY", "PARTNER_AUTH_SOURCE"):
        os.environ.pop(name, None)
    print("without variables:", check(PartnerAuth()))

    os.environ["PARTNER_CLIENT_ID"] = partner.client_id
    os.environ["PARTNER_SECRET_KEY"] = partner.secret
    print("with them:", check(PartnerAuth()))
