"""The partner and the strangers of tests/conformance, for the clients that stand here."""

from __future__ import annotations

import pytest

from tests.conformance.conftest import certificate, client, other, partner, secure

__all__ = ["certificate", "client", "connect", "other", "partner", "secure"]


@pytest.fixture
def connect(request):
    """Make a client of the module's kind that signs: `connect(auth, redirects=False)`."""
    opened = []

    def connect(auth, **options):
        made = request.module.Client(auth, **options)
        opened.append(made)
        return made

    yield connect
    for one in opened:
        one.close()
