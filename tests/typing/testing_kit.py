"""A user's own tests."""

from __future__ import annotations

from partner_auth import PartnerAuth
from partner_auth.testing import Clock, PartnerServer


def test_portfolio(partner_server: PartnerServer) -> None:
    """Use the fixture of the pytest plug-in."""
    auth: PartnerAuth = partner_server.auth(lifetime=60)
    partner_server.rotate(overlap=True)
    partner_server.skew(30)
    url: str = partner_server.url
    token: str = auth.token(url)
    assert token


def test_time_passes() -> None:
    """Pass a clock that the test moves."""
    clock = Clock()
    with PartnerServer(clock=clock) as server:
        server.auth(clock=clock)
        clock.advance(900)
        clock.step_wall(-60)
        clock.suspend(3600)
