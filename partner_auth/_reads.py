"""The reads of one source: the one under way, those given up that still hang, and what the ended ones prove.

A read belongs to nobody: a thread of its own makes it, everybody else only waits and then asks
again. One that is overdue is given up and counted; its late answer replaces nothing newer, its late
failure nothing at all.

Plain state without a lock or a clock: the cache changes it, under its lock.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

from partner_auth._flight import Job, Wait
from partner_auth.exceptions import Failure

FETCH, FETCH_FRESH, ALTERNATES = "fetch", "fetch_fresh", "alternates"
MOST_HANGING = 4


class Read(Job):
    """One question to the source: `fetch`, `fetch_fresh` or `alternates`."""

    __slots__ = (
        "began",
        "counted",
        "deadline",
        "deadline_wall",
        "failure",
        "order",
        "proves",
        "question",
    )

    def __init__(
        self,
        question: str,
        order: int,
        began: float,
        wall: float,
        timeout: float,
        work: Callable[[Read], None],
    ) -> None:
        """Hold the times; the work is done by whoever begins it. `order` tells what was before it and what after."""
        super().__init__(lambda: work(self))
        self.question = question
        self.began = began
        self.order = order
        self.counted = False  # among those that hang
        self.deadline, self.deadline_wall = began + timeout, wall + timeout
        self.proves = True  # that nothing is new, if it brings nothing new: past any cache between
        self.failure: Failure | None = None

    @property
    def is_of_alternates(self) -> bool:
        """Whether it asks for the alternates."""
        return self.question == ALTERNATES

    def is_overdue(self, now: float, wall: float) -> bool:
        """Whether its time is up by either clock: a suspended machine stops only one of them."""
        return now >= self.deadline or wall >= self.deadline_wall

    def wait(self, now: float) -> Wait:
        """Return the step that waits for its end, at most to its deadline."""
        return Wait(self, max(0.0, self.deadline - now))


class Reads:
    """What is known of one source's reads."""

    __slots__ = ("_alternates_proof", "_hanging", "_newest", "_order", "_proof", "under_way")

    def __init__(self) -> None:
        """Begin with none."""
        self.under_way: Read | None = None
        self._hanging = 0
        self._newest = 0  # the order of the newest read that landed, or revoked
        self._order = itertools.count(1)
        self._proof: Read | None = None  # the last read that proves "nothing new"
        self._alternates_proof: Read | None = None

    def order(self) -> int:
        """Return a number greater than all before: clocks are too coarse to tell what came first. Needs no lock."""
        return next(self._order)

    def proof(self, question: str) -> Read | None:
        """Return the last read that proves what this question would bring."""
        return self._alternates_proof if question == ALTERNATES else self._proof

    def proven(self, question: str) -> int:
        """Return the order of that read; 0: there is none."""
        proof = self.proof(question)
        return proof.order if proof is not None else 0

    @property
    def may_begin(self) -> bool:
        """Whether none is under way, and not too many hang."""
        return self.under_way is None and self._hanging < MOST_HANGING

    def give_up(self, read: Read, failure: Failure) -> None:
        """Give up the read under way, which then has failed. What it finds later may still come."""
        self.under_way = None
        if read.begun:
            read.counted = True
            self._hanging += 1
        read.failure = failure
        self.prove(read)

    def end(self, read: Read) -> bool:
        """Take a read off that has come to its end. Return whether it comes late: it was given up."""
        if read.counted:
            self._hanging -= 1
        if read is not self.under_way:
            return True
        self.under_way = None
        return False

    def is_outdated(self, read: Read) -> bool:
        """Whether one that began later has said what the store holds."""
        return read.order < self._newest

    def prove(self, read: Read, *, newest: bool = False) -> None:
        """Take note of what a read proves; `newest`: it has said what the store holds."""
        if newest:
            self._newest = read.order
        if read.is_of_alternates:
            self._alternates_proof = read
        elif read.proves and read.order > self.proven(read.question):
            self._proof = read

    def forget_alternates(self) -> None:
        """Have them read again: they were those of another credential."""
        self._alternates_proof = None

    def after_fork(self) -> None:
        """Owe nothing to the parent's reads."""
        self.under_way, self._hanging = None, 0
        self._proof = self._alternates_proof = None
