"""PartnerAuth for httpx: a true `httpx.Auth`, importing that client alone."""

from __future__ import annotations

from httpx import Auth

from partner_auth import _partner_auth

__all__ = ["PartnerAuth"]


class PartnerAuth(_partner_auth.PartnerAuth, Auth):
    """The same as `partner_auth.PartnerAuth`, as a subclass of httpx's own base class."""
