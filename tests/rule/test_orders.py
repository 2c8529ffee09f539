"""Every order of a rotation, from the table that the docs show."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.orders import GAPS, ORDERS, STORES, play, table


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("gap", GAPS)
@pytest.mark.parametrize("order", ORDERS, ids=lambda order: order.steps)
def test_no_request_fails_wherever_a_known_secret_is_accepted(order, gap, store):
    """With requests in flight and processes that start throughout, in every order and gap."""
    played = play(order, gap, store)
    assert not played.avoidable
    if all(order.is_served(done, store) for done in range(4)):
        assert not played.failures


def test_the_docs_show_the_table():
    """docs/rotation.md shows the orders as they are tested."""
    page = Path(__file__).parents[2] / "docs" / "rotation.md"
    assert table() in page.read_text(encoding="utf-8")
