"""The figures of the 401 rule hold: the scenarios of `python -m benchmarks.figures`, on virtual time."""

from __future__ import annotations

import pytest

from benchmarks import figures


@pytest.mark.long
@pytest.mark.parametrize("scenario", figures.SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_every_figure_of_the_401_rule_holds(scenario):
    """Each row names what is counted and its limit."""
    over = [row for row in scenario() if not row.holds]
    assert not over
