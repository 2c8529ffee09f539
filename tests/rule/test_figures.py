"""The figures of the 401 rule hold: the same scenarios as `benchmarks/figures.py`, on virtual time."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
figures = pytest.importorskip("figures")


@pytest.mark.parametrize("scenario", figures.SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_every_figure_of_the_401_rule_holds(scenario):
    """Each row names what is counted and its limit."""
    over = [row for row in scenario() if not row.holds]
    assert not over
