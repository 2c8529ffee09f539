"""PartnerAuth for requests: a true `requests.auth.AuthBase`, importing that client alone."""

from __future__ import annotations

from partner_auth import _partner_auth
from partner_auth._extras import extra

with extra("requests", "requests"):
    from requests.auth import AuthBase

__all__ = ["PartnerAuth"]


class PartnerAuth(_partner_auth.PartnerAuth, AuthBase):
    """The same as `partner_auth.PartnerAuth`, as a subclass of requests' own base class."""
