"""A user of AWS's stores who signs by `token()` alone; no AWS is there."""

from partner_auth import PartnerAuth, SourceUnavailable

endpoint = "http://127.0.0.1:1"
auth = PartnerAuth(f"aws-secretsmanager://prod/partner?region=eu-west-1&endpoint_url={endpoint}")
message = ""
try:
    auth.token()
except SourceUnavailable as error:
    message = str(error)
assert "prod/partner" in message
