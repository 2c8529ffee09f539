"""The pytest fixture `partner_server`. Every test run loads this: it imports pytest alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from partner_auth.testing import PartnerServer

__all__ = ["partner_server"]


@pytest.fixture
def partner_server() -> Iterator[PartnerServer]:
    """Run a partner API on a free loopback port for one test: `testing.PartnerServer`.

    Each test has its own, so tests may run side by side (pytest-xdist). A test that needs other
    settings, such as a clock, makes its own: `with PartnerServer(clock=clock) as server`.
    """
    from partner_auth.testing import PartnerServer

    with PartnerServer() as server:
        yield server
