"""A blocking call that is given up at a moment, whatever it hangs in.

A client's own time-outs are no bound: each byte of a dripping answer starts the read time-out anew,
looking up a name has none, and every address of a name has its own. So the call runs in a daemon
thread; the caller waits for it, or for the moment. Names of `threading` are looked up at use.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")
_GIVEN_UP = 4
_BEGINS_WITHIN = 1.0  # a thread that has not begun by then never will


class InTime(Generic[T]):
    """Calls to one server; after four that were given up and still hang nothing more is begun."""

    def __init__(self) -> None:
        self._given_up: list[threading.Event] = []

    def call(self, work: Callable[[], T], deadline: float) -> T | None:
        """Return what `work` returns, or None at the deadline (`time.monotonic()`)."""
        self._given_up[:] = [over for over in self._given_up if not over.is_set()]
        if _left(deadline) <= 0 or len(self._given_up) >= _GIVEN_UP:
            return None
        job = _Job(work)
        try:
            threading.Thread(target=job.begin, daemon=True, name="partner_auth-vault").start()
        except RuntimeError:  # the interpreter is about to exit, or there are too many threads
            job.begin()
        if not job.over.wait(min(_BEGINS_WITHIN, _left(deadline))):
            job.begin()  # no thread begins in a uWSGI without threads; if it has, this does nothing
        if not job.over.wait(_left(deadline)):
            self._given_up.append(job.over)
            return None
        return job.outcome


class _Job(Generic[T]):
    def __init__(self, work: Callable[[], T]) -> None:
        self.outcome: T | None = None
        self.over = threading.Event()
        self._work = work
        self._begun = threading.Lock()  # taken once, by whoever does the work

    def begin(self) -> None:
        if not self._begun.acquire(blocking=False):
            return
        try:
            self.outcome = self._work()
        finally:
            self.over.set()


def _left(deadline: float) -> float:
    return max(0.0, deadline - time.monotonic())
