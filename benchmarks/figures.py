"""The figures of the 401 rule, shown on virtual time: `python -m benchmarks.figures`.

Each scenario returns rows of (what, measured, at most). Run by the tests too, so that a limit that
is passed fails.
"""

from __future__ import annotations

import asyncio
import logging
import math
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.virtual import URL, World, run

if TYPE_CHECKING:
    import httpx

RATES = (0.1, 5.0, 100.0)


class Row(NamedTuple):
    """One figure and its limit."""

    scenario: str
    what: str
    measured: float
    limit: float

    @property
    def holds(self) -> bool:
        return self.measured <= self.limit + 1e-9


def all_rejected_at_once() -> Iterator[Row]:
    """4,000 requests in 64 tasks, all rejected."""
    for n in range(3):

        async def play(world: World) -> None:
            world.partner.nodes = [set()]

            async def worker(count: int) -> None:
                for _ in range(count):
                    await world.request()

            await asyncio.gather(*(worker(4000 // 64 + (k < 4000 % 64)) for k in range(64)))

        world = run(play, others=[f"alt{k}" for k in range(n)])
        name = f"4,000 rejected, 64 at once, {n} alternates"
        yield Row(name, "extra sends", world.extra_sends, 50 * (n + 1))
        yield Row(name, "reads", world.store.reads, 25)
        yield Row(name, "longest request", world.longest, 2.0)


def wrong_for_ten_minutes() -> Iterator[Row]:
    """All rejected for 10 minutes at 5/s, then the store is corrected."""
    for n in range(3):

        async def play(world: World) -> None:
            world.partner.nodes = [{"new"}]
            world.at(600, lambda: setattr(world.store, "current", "new"))
            await world.traffic(5, 660)

        world = run(play, others=[f"alt{k}" for k in range(n)])
        name = f"wrong for 10 min at 5/s, {n} alternates"
        yield Row(name, "extra sends", world.extra_sends, 60 * (n + 1))
        yield Row(name, "reads", world.store.reads, 60)
        yield Row(name, "right after", world.right_after(world.outcomes[0].at + 600), 31)


def partner_first() -> Iterator[Row]:
    """The partner changes first, the store d later; no alternates."""
    for rate in RATES:
        for d in (0.05, 0.3, 1, 3, 10, 60, 300):

            async def play(world: World) -> None:
                start = world.loop.time()
                world.partner.nodes = [{"new"}]
                world.at(d, lambda: setattr(world.store, "current", "new"))
                await world.traffic(rate, max(d * 1.5 + 40, 3 / rate))
                world.start = start  # type: ignore[attr-defined]

            world = run(play)
            name = f"partner first, store {d:g} s later, {rate:g}/s"
            late = world.right_after(world.start + d)  # type: ignore[attr-defined]
            yield Row(
                name,
                "right after",
                late,
                min(31, max(0.5, 0.3 * d + 0.3)) + (0 if rate > 1 else 10),
            )
            yield Row(name, "reads", world.store.reads, 12 + 4 * math.log2(1 + d) + d / 25)


def forbidden_path() -> Iterator[Row]:
    """10 % of requests to a path that always says 401, and a rotation of any order."""
    orders = {
        "store first": ("store", "partner"),
        "partner first, pending known": ("partner", "store"),
    }
    for name, order in orders.items():

        async def play(world: World) -> None:
            for step, at in zip(order, (300.0, 305.0), strict=True):
                if step == "store":

                    def change() -> None:
                        world.store.current, world.store.others = "new", ("old",)

                    world.at(at, change)
                else:
                    world.at(at, lambda: setattr(world.partner, "nodes", [{"new"}]))
            await world.traffic(
                5, 600, lambda k: world.request("/forbidden" if k % 10 == 3 else "/portfolio")
            )

        world = run(play, others=["new"])
        forbidden = sum(o.path == "/forbidden" for o in world.outcomes)
        title = f"10 % forbidden, {name}"
        yield Row(title, "failures besides", len(world.failures), 3)
        yield Row(title, "reads a forbidden request", world.store.reads / forbidden, 0.3)
        yield Row(title, "extra sends, %", 100 * world.extra_sends / len(world.outcomes), 6)


def node_by_node() -> Iterator[Row]:
    """The partner's nodes switch one by one over 4 s."""
    for nodes, limit in ((2, 15.0), (8, 10.0)):
        for rate in (5.0, 100.0):

            async def play(world: World) -> None:
                world.partner.nodes = [{"old"} for _ in range(nodes)]
                world.start = world.loop.time()  # type: ignore[attr-defined]
                for k in range(nodes):

                    def switch(k: int = k) -> None:
                        world.partner.nodes[k] = {"new"}

                    world.at(5 + 4 * k / max(nodes - 1, 1), switch)

                def moved() -> None:
                    world.store.current, world.store.others = "new", ("old",)

                world.at(7, moved)
                await world.traffic(rate, 30)

            world = run(play, others=["new"])
            start = world.start  # type: ignore[attr-defined]
            during = [o for o in world.outcomes if start + 5 <= o.at <= start + 9]
            failed = [o for o in world.failures if start + 5 <= o.at <= start + 9]
            after = [o for o in world.failures if o.at > start + 9]
            name = f"{nodes} nodes one by one over 4 s, {rate:g}/s"
            yield Row(name, "failed during, %", 100 * len(failed) / len(during), limit)
            yield Row(name, "failed after", len(after), 0)
            yield Row(name, "sends a request", world.partner.sends / len(world.outcomes), 2.5)


def served_orders() -> Iterator[Row]:
    """Store first; partner first with pending known; a process that starts in the gap."""
    for rate in RATES:
        for name in ("store first", "partner first, pending known", "a start in the gap"):

            async def play(world: World) -> None:
                def store_moves() -> None:
                    world.store.current, world.store.others = "new", ("old",)

                def partner_moves() -> None:
                    world.partner.nodes = [{"new"}]

                if name == "store first":
                    world.at(2, store_moves)
                    world.at(20, partner_moves)
                elif name == "partner first, pending known":
                    world.at(2, partner_moves)
                    world.at(20, store_moves)
                else:
                    store_moves()
                    world.at(20, partner_moves)
                    await world.auth.arefresh()
                    world.store.reads = 0
                await world.traffic(rate, max(60, 8 / rate))

            world = run(play, others=["new"])
            title = f"{name}, {rate:g}/s"
            yield Row(title, "failures", len(world.failures), 0)
            yield Row(title, "reads", world.store.reads, 6)
            if rate < 20:
                yield Row(title, "extra sends", world.extra_sends, 8)


def thirty_two_together() -> Iterator[Row]:
    """The same, 32 rejected together."""
    for name, n in (("store moved", 0), ("pending known", 1), ("pending and another", 2)):

        async def play(world: World) -> None:
            world.partner.nodes = [{"new"}]
            if not n:
                world.store.current = "new"
            await asyncio.gather(*(world.request() for _ in range(32)))

        world = run(play, others=["new", "older"][:n])
        title = f"32 rejected together, {name}"
        yield Row(title, "failures", len(world.failures), 0)
        yield Row(title, "reads", world.store.reads, 4)
        yield Row(title, "extra sends", world.extra_sends, 32 * (2.5 + n))
        yield Row(title, "longest request", world.longest, 1 + 3 * 0.02 + 0.1)


def two_origins() -> Iterator[Row]:
    """One origin rejects everything, the other rotates."""
    other = "https://other.partner.example"

    async def play(world: World) -> None:
        world.partner.by_host = {"other.partner.example": [set()]}

        def store_moves() -> None:
            world.store.current, world.store.others = "new", ("old",)

        world.at(100, store_moves)
        world.at(110, lambda: setattr(world.partner, "nodes", [{"new"}]))
        await world.traffic(10, 200, lambda k: world.request(host=URL if k % 2 else other))

    world = run(play, others=["new"])
    at_other = [
        o
        for k, o in enumerate(sorted(world.outcomes, key=lambda o: o.at))
        if k % 2 and o.status != 200
    ]
    yield Row("two origins, one rejects", "failures at the other", len(at_other), 0)
    yield Row("two origins, one rejects", "reads in 200 s", world.store.reads, 60)


def one_shot_bodies() -> Iterator[Row]:
    """Only bodies that can't be sent again."""
    for rate in RATES:
        for name, limit in (("partner first, pending known", 6), ("store first", 10)):

            async def play(world: World) -> None:
                def store_moves() -> None:
                    world.store.current, world.store.others = "new", ("old",)

                def partner_moves() -> None:
                    world.partner.nodes = [{"new"}]

                first, second = (
                    (partner_moves, store_moves)
                    if name.startswith("partner")
                    else (store_moves, partner_moves)
                )
                world.at(2, first)
                world.at(40, second)
                await world.traffic(
                    rate, max(90, 20 / rate), lambda _k: world.request(one_shot=True)
                )

            world = run(play, others=["new"])
            yield Row(
                f"one-shot bodies, {name}, {rate:g}/s", "failures", len(world.failures), limit
            )


def slow_or_broken_trier() -> Iterator[Row]:
    """The one that tries is slow (4 s), or its connection breaks."""
    for name in ("slow", "breaks"):
        for rate in (5.0, 100.0):

            async def play(world: World) -> None:
                first: list[float] = []

                def takes(request: httpx.Request, version: str) -> float:
                    if request.url.path == "/slow" and version == "new":
                        return 4.0
                    return 0.05

                world.partner.slow = takes
                world.partner.nodes = [{"new"}]

                async def one(k: int) -> int:
                    if k:
                        return await world.request()
                    task = asyncio.ensure_future(world.request("/slow"))
                    if name == "breaks":
                        await asyncio.sleep(0.15)
                        task.cancel()
                        return 0
                    return await task

                del first
                await world.traffic(rate, 10, one)

            world = run(play, others=["new"])
            others = [o for o in world.outcomes if o.path != "/slow"]
            title = f"the one that tries {'is slow' if name == 'slow' else 'breaks'}, {rate:g}/s"
            yield Row(title, "longest other", max(o.took for o in others), 1.6)
            yield Row(title, "failures", len([o for o in world.failures if o.path != "/slow"]), 0)


def read_under_way() -> Iterator[Row]:
    """A read is under way when both store and partner change."""

    async def play(world: World) -> None:
        world.store.takes = 0.2
        reading = asyncio.ensure_future(world.auth.arefresh())
        await asyncio.sleep(0.15)
        world.store.current, world.partner.nodes = "new", [{"new"}]
        await world.traffic(20, 5)
        await reading

    world = run(play)
    yield Row("a read under way when both change", "failures", len(world.failures), 0)
    yield Row("a read under way when both change", "reads", world.store.reads, 3)


SCENARIOS: tuple[Callable[[], Iterator[Row]], ...] = (
    all_rejected_at_once,
    wrong_for_ten_minutes,
    partner_first,
    forbidden_path,
    node_by_node,
    served_orders,
    thirty_two_together,
    two_origins,
    one_shot_bodies,
    slow_or_broken_trier,
    read_under_way,
)


def main(names: list[str]) -> int:
    """Print every figure; exit with 1 when one is passed."""
    passed = 0
    logging.disable(logging.WARNING)
    for scenario in SCENARIOS:
        if names and scenario.__name__ not in names:
            continue
        for row in scenario():
            passed += not row.holds
            print(
                f"{'ok  ' if row.holds else 'OVER'} {row.scenario:52} {row.what:26}"
                f" {row.measured:9.2f}  ≤ {row.limit:.2f}"
            )
    return 1 if passed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
