"""A fleet that was deployed together, for a day: `python -m benchmarks.fleet [processes] [fresh_for]`.

How often does it read the store, how many reads fall into one second, and what does that cost?
"""

from __future__ import annotations

import heapq
import sys
import time
from collections import Counter

from partner_auth import Credential, PartnerAuth, RefreshPolicy

DAY = 86_400.0
DOLLARS_A_READ = (
    0.05 / 10_000
)  # AWS Secrets Manager's price for calls; check it before you quote it


class Fleet:
    """Many processes on one clock, each of them busy: it asks for a token whenever one is due."""

    def __init__(self, processes: int, policy: RefreshPolicy) -> None:
        self.time = 1_800_000_000.0
        self.reads: Counter[int] = Counter()
        self.auths = [PartnerAuth(self.fetch, refresh=policy, clock=self) for _ in range(processes)]

    def now(self) -> float:
        return self.time

    monotonic = now

    def fetch(self) -> Credential:
        self.reads[int(self.time)] += 1
        return Credential("acme", "k" * 32)

    def live(self, seconds: float) -> None:
        """Let time pass, from one due read to the next."""
        until = self.time + seconds
        due = [(self.time, number) for number in range(len(self.auths))]
        while due and due[0][0] < until:
            self.time, number = heapq.heappop(due)
            heapq.heappush(due, (self._next_read(self.auths[number]), number))

    def _next_read(self, auth: PartnerAuth) -> float:
        auth.token()
        while auth.status().state != "fresh":  # the read runs behind the request
            time.sleep(0)
        next_read = auth.status().next_read
        return self.time if next_read is None else next_read.timestamp() + 1e-3


def main(processes: int = 1_000, fresh_for: float = 900.0) -> int:
    """Print the figures with and without the first draw over the whole of `fresh_for`."""
    for jitter in (0.1, 0.0):
        fleet = Fleet(processes, RefreshPolicy(fresh_for=fresh_for, jitter=jitter))
        began = int(fleet.time)
        fleet.live(DAY)
        total = sum(fleet.reads.values())
        peak = max(count for second, count in fleet.reads.items() if second > began + 1)
        print(
            f"{processes} processes, fresh_for {fresh_for:g} s, jitter {jitter:g}:"
            f" {total / 24:.0f} reads an hour, {peak} in the busiest second after the start,"
            f" ${total * 30 * DOLLARS_A_READ:.2f} a month"
        )
    return 0


if __name__ == "__main__":
    arguments = sys.argv[1:]
    sys.exit(main(*(int(a) for a in arguments[:1]), *(float(a) for a in arguments[1:2])))
