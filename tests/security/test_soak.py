"""Everything at once, for five seconds; `python -m benchmarks.soak` takes its time."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

SOAK = Path(__file__).parents[2] / "benchmarks" / "soak.py"


@pytest.mark.parametrize("seed", [1, 2])
def test_nothing_hangs_leaks_or_gets_lost_in_a_storm_of_faults(seed):
    """In a process of its own, since it forks and kills threads; what is wrong is printed."""
    done = subprocess.run(
        [sys.executable, "-P", str(SOAK), "--seconds", "5", "--seed", str(seed)],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    counts = dict(line.rsplit(None, 1) for line in done.stdout.splitlines())
    assert int(counts["requests"].replace(",", "")) > 300
    assert int(counts["forks"]) > 0


def test_a_soak_tells_of_what_is_wrong():
    """A hang, a leak, a child that dies."""
    spec = importlib.util.spec_from_file_location("soak", SOAK)
    soak = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(soak)
    world = soak.World(1)
    world.partner.close()
    left = dict.fromkeys(
        ["hanging workers", "refused at the end", "threads left", "descriptors left"], 0
    )
    assert soak.faults(world, left) == []
    world.failed(KeyError("x"), OSError, 0.1)
    world.ended("200", 21.0)
    assert soak.faults(world, left | {"threads left": 2}) == [
        "KeyError('x')",
        "threads left: 2",
        "a request took 21.0 s",
    ]
