"""A thousand coroutines that are refused at one moment: `python -m benchmarks.storms [coroutines]`.

How long until all are answered, how late the loop comes back to a timer meanwhile, and what is read
and sent. Beside it the same crowd with a header that never changes and is accepted: what remains
is the client's own. Medians of interleaved rounds.
"""

from __future__ import annotations

import asyncio
import logging
import statistics
import sys
import threading
import time
from collections import defaultdict
from typing import Any, NamedTuple

import httpx2

from partner_auth import PartnerAuth
from partner_auth.testing import MemoryStore
from tests.storms.kit import Partner, clients, one

OLD, NEW = "old" * 20, "new" * 20
ROUNDS = 3
TICK = 0.002
STORE_TAKES = 0.02
CASES = ("static header", "the store has moved", "pending known", "nothing helps")


class Came(NamedTuple):
    """What came of one storm; seconds, and counts."""

    took: float
    lag: float
    reads: int
    sends: int


class Static(httpx2.Auth):
    """A header that never changes."""

    def __init__(self, token: str) -> None:
        self.header = f"Bearer {token}"

    def auth_flow(self, request: Any) -> Any:
        request.headers["Authorization"] = self.header
        yield request


async def crowd(partner: Partner, count: int, auth: Any) -> tuple[float, float]:
    """Send so many at once; return the seconds from the answers to the end, and the longest lag."""
    urls = [f"{partner.url}/portfolio?n={number}" for number in range(count)]
    lag = answered = 0.0

    def let_go() -> None:
        nonlocal answered
        partner.ask("let_go", count)
        answered = time.monotonic()

    async def tick() -> None:
        nonlocal lag
        while True:
            due = time.monotonic() + TICK
            await asyncio.sleep(TICK)
            lag = max(lag, time.monotonic() - due) if answered else 0.0

    partner.ask("gather")
    gate = threading.Thread(target=let_go)
    gate.start()
    async with clients(auth, urls) as sending:
        ticking = asyncio.create_task(tick())
        await asyncio.gather(*(one(client, url, []) for client, url in sending))
        ended = time.monotonic()
        ticking.cancel()
    gate.join()
    return ended - answered, lag


def play(partner: Partner, case: str, count: int) -> Came:
    """Play one case."""
    partner.ask("accept", OLD)
    store = MemoryStore("acme", OLD)
    auth: Any = PartnerAuth(store, origins=partner.url)
    token = auth.token()
    store.delay(STORE_TAKES)
    if case == "static header":
        auth = Static(token)
    else:
        partner.ask("accept", NEW)
    if case == "the store has moved":
        store.set(NEW)
    if case == "pending known":
        store.pending = NEW
    took, lag = asyncio.run(crowd(partner, count, auth))
    return Came(took, lag, store.reads - 1, sum(partner.ask("sends").values()))


def main(count: int = 1_000) -> int:
    """Print the figures."""
    logging.disable(logging.WARNING)
    partner = Partner()
    came: dict[str, list[Came]] = defaultdict(list)
    for _ in range(ROUNDS):
        for case in CASES:
            came[case].append(play(partner, case, count))
    partner.close()
    for case, runs in came.items():
        took, lag, reads, sends = (
            statistics.median(figures) for figures in zip(*runs, strict=True)
        )
        print(
            f"{count:,} coroutines, {case:20} {took:5.2f} s, longest lag {lag:5.3f} s,"
            f" {reads:.0f} reads, {sends:,.0f} sends"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:2])))
