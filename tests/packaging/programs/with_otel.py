"""A user of OpenTelemetry, who has the API without an SDK."""

from partner_auth import Credential, PartnerAuth
from partner_auth.opentelemetry import Observer

secret = "a secret of the partner's that is long enough"
auth = PartnerAuth(Credential("acme", secret), on_event=Observer())
assert auth.token().count(".") == 2
