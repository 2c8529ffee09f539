"""PartnerAuth for httpx2: a true `httpx2.Auth`, importing that client alone."""

from __future__ import annotations

from httpx2 import Auth

from partner_auth import _partner_auth

__all__ = ["PartnerAuth"]


class PartnerAuth(_partner_auth.PartnerAuth, Auth):
    """The same as `partner_auth.PartnerAuth`, as a subclass of httpx2's own base class."""
