"""Every order of a rotation, as one table: the tests are made from it and docs/rotation.md shows it.

Three things happen once each: the partner accepts the new secret (N), it stops accepting the old
one (O), and the store's current secret becomes the new one (S). `python -m benchmarks.orders` plays
all of them on virtual time and prints the table.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import sys
from typing import NamedTuple

from benchmarks.virtual import Outcome, World, run

GAPS = {"at once": 0.0, "0.35 s apart": 0.35, "5 s apart": 5.0}
BEGINS = 3.0
# What the store tells besides its current secret, before S and after it.
STORES = {
    "pending and previous": (("new",), ("old",)),
    "previous only": ((), ("old",)),
    "current only": ((), ()),
}


class Order(NamedTuple):
    """One order of the three steps."""

    steps: str

    @property
    def title(self) -> str:
        """Say it in words."""
        words = {"N": "partner accepts new", "O": "partner drops old", "S": "store moves"}
        return ", ".join(words[step] for step in self.steps)

    def accepted(self, done: int) -> set[str]:
        """Return what the partner accepts after so many steps."""
        before = self.steps[:done]
        return ({"new"} if "N" in before else set()) | (set() if "O" in before else {"old"})

    def known(self, done: int, store: str) -> set[str]:
        """Return what the store tells after so many steps."""
        moved = "S" in self.steps[:done]
        return {"new" if moved else "old", *STORES[store][moved]}

    def dark(self, store: str) -> str:
        """Say between which steps no secret that the store knows is accepted."""
        dark = [done for done in range(4) if not self.is_served(done, store)]
        if not dark:
            return "none"
        return f"between {self.steps[dark[0] - 1]} and {self.steps[dark[-1]]}"

    def is_served(self, done: int, store: str) -> bool:
        """Whether a secret that the store knows is accepted then."""
        return bool(self.accepted(done) & self.known(done, store))


ORDERS = tuple(Order("".join(steps)) for steps in itertools.permutations("NOS"))


def table() -> str:
    """Return all orders as the table that docs/rotation.md shows."""
    head = ("order", *(f"the store knows {store}" for store in STORES))
    rows = [(f"{o.steps}: {o.title}", *(o.dark(store) for store in STORES)) for o in ORDERS]
    lines = [head, ("---",) * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


class Played(NamedTuple):
    """What came of one order."""

    order: Order
    gap: str
    store: str
    requests: int
    failures: int
    avoidable: list[Outcome]
    late: float  # seconds that failures went on after the last step


def play(order: Order, gap: str, store: str, *, rate: float = 20.0) -> Played:
    """Play one order under traffic, with processes that start throughout."""
    pause, (before, after) = GAPS[gap], STORES[store]
    began = 0.0

    def take(world: World, done: int) -> None:
        world.partner.nodes = [order.accepted(done)]
        moved = "S" in order.steps[:done]
        world.store.current = "new" if moved else "old"
        world.store.others = after if moved else before

    async def scenario(world: World) -> None:
        nonlocal began
        began = world.loop.time()
        for done in range(1, 4) if pause else [3]:
            world.at(BEGINS + pause * (done - 1), lambda done=done: take(world, done))
        seconds = BEGINS + 2 * pause + 12
        starts = [started(world, at) for at in (1.0, 2.9, 3.0, 3.1, 3.5, 5.0, 8.5, 12.0)]
        await asyncio.gather(world.traffic(rate, seconds), *starts)

    world = run(scenario, others=before)
    moments = [began + BEGINS + pause * k for k in range(3)]
    avoidable = [o for o in world.failures if _is_avoidable(order, store, moments, o)]
    return Played(
        order,
        gap,
        store,
        len(world.outcomes),
        len(world.failures),
        avoidable,
        world.right_after(moments[-1]),
    )


async def started(world: World, at: float) -> None:
    """Start a process of its own then, and have it send ten requests."""
    await asyncio.sleep(at)
    world_of_its_own = World(world.loop, world.store, world.partner, *world.another_client())
    async with world_of_its_own.client:
        await world_of_its_own.traffic(10, 1)
    world.outcomes += world_of_its_own.outcomes


def _is_avoidable(order: Order, store: str, moments: list[float], failed: Outcome) -> bool:
    """Whether one and the same secret was known and accepted while the request ran, and long enough.

    An outage in which no known secret is accepted may be prolonged by a quarter (rule 6).
    """

    def done(at: float) -> int:
        return sum(moment <= at for moment in moments)

    ends = failed.at + failed.took
    served = [
        order.accepted(k) & order.known(k, store)
        for k in range(done(failed.at - 0.05), done(ends) + 1)
    ]
    if not set.intersection(*served):
        return False
    dark = [k for k in range(done(failed.at)) if not order.is_served(k, store)]
    if not dark:
        return True
    outage = moments[dark[-1]] - moments[dark[0] - 1]
    return ends > moments[dark[-1]] + max(0.5, 0.3 * outage + 0.3)


def main() -> int:
    """Print the table; exit with 1 if an avoidable request failed."""
    logging.disable(logging.WARNING)
    bad = 0
    for order, gap, store in itertools.product(ORDERS, GAPS, STORES):
        played = play(order, gap, store)
        served = all(order.is_served(done, store) for done in range(4))
        bad += len(played.avoidable)
        print(
            f"{order.steps}  {gap:13} {store:21} {'served' if served else 'outage':7}"
            f"{played.failures:5} of {played.requests:5} failed, {len(played.avoidable)} avoidable,"
            f" {max(played.late, 0):.2f} s after the last step"
        )
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
