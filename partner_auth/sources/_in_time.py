"""A blocking call that is given up at a moment, whatever it hangs in.

A client's own time-outs are no bound: each byte of a dripping answer starts the read time-out anew,
looking up a name has none, and every address of a name has its own. So the call runs in a daemon
thread; the caller waits for it, or for the moment. Names of `threading` are looked up at use.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")
_GIVEN_UP = 4
_BEGINS_WITHIN = 1.0  # a thread that has not begun by then never will


class InTime(Generic[T]):
    """Calls to one server; while four that were given up still hang, nothing more is begun."""

    def __init__(self) -> None:
        self._given_up: dict[int, list[threading.Event]] = {}  # by process: a fork has no threads
        self._threads_begin = True

    def call(self, work: Callable[[], T], deadline: float) -> T | None:
        """Return what `work` returns, or None at the deadline (`time.monotonic()`)."""
        given_up = self._given_up.setdefault(os.getpid(), [])
        given_up[:] = [over for over in given_up if not over.is_set()]
        if _left(deadline) <= 0 or len(given_up) >= _GIVEN_UP:
            return None
        job = _Job(work)
        self._begin(job, deadline)
        if job.over.wait(_left(deadline)):
            return job.outcome
        if not job.is_mine():
            given_up.append(job.over)
        return None

    def _begin(self, job: _Job[T], deadline: float) -> None:
        if not self._threads_begin:
            job.begin()
            return
        try:
            threading.Thread(target=job.begin, daemon=True, name="partner_auth-store").start()
        except RuntimeError:  # the interpreter is about to exit, or there are too many threads
            job.begin()
        if job.begun.wait(min(_BEGINS_WITHIN, _left(deadline))) or not _left(deadline):
            return
        if job.begin():
            self._threads_begin = False  # a uWSGI without threads: do not wait for one again


class _Job(Generic[T]):
    def __init__(self, work: Callable[[], T]) -> None:
        self.outcome: T | None = None
        self.begun, self.over = threading.Event(), threading.Event()
        self._work = work
        self._turn = threading.Lock()  # taken once, by whoever does the work

    def is_mine(self) -> bool:
        """Whether the caller is the one who may do the work; nobody else may after it."""
        return self._turn.acquire(blocking=False)

    def begin(self) -> bool:
        """Do the work here; False when it was begun before."""
        if not self.is_mine():
            return False
        self.begun.set()
        try:
            self.outcome = self._work()
        finally:
            self.over.set()
        return True


def _left(deadline: float) -> float:
    return max(0.0, deadline - time.monotonic())
