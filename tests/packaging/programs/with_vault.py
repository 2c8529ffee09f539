"""A user of Vault who signs by `token()` alone; no Vault is there."""

import os

from partner_auth import PartnerAuth, SourceUnavailable

os.environ |= {"VAULT_ADDR": "http://127.0.0.1:1", "VAULT_TOKEN": "made up"}
auth = PartnerAuth("vault://secret/partner/acme")
message = ""
try:
    auth.token()
except SourceUnavailable as error:
    message = str(error)
assert "partner/acme" in message
