"""A clock that a test moves by hand: both times, and the waits that hang on them."""

from __future__ import annotations

import contextlib
import heapq
import math
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

NEW_YEAR_2026 = 1_767_225_600.0


class Clock:
    """Stand still until told to move: a test's `clock=` of `PartnerAuth` and `PartnerServer`.

    `now()` is the wall clock, in seconds since the epoch (UTC); `monotonic()` counts seconds from
    an arbitrary start. They move together by `advance`, and apart by `step_wall` (an operator or
    NTP sets the time) and `suspend` (a closed laptop, a frozen function, a snapshot). Every method
    may be called from any thread.

    A server that is given the same clock follows each of these moves, `step_wall` included. To let
    the two disagree, use `PartnerServer.skew`, or give each a clock of its own.

    Args:
        wall: where the wall clock starts: seconds since the epoch, or an aware datetime.
        monotonic: where the monotonic clock starts, in seconds.
    """

    def __init__(self, wall: float | datetime = NEW_YEAR_2026, monotonic: float = 1000.0) -> None:
        """Start at `wall` and `monotonic`, with nobody waiting."""
        if isinstance(wall, datetime) and wall.tzinfo is None:
            raise ValueError("Clock(wall=): a datetime without a time zone, make it aware, in UTC")
        self._lock = threading.Lock()  # guards the four below
        self._wall = wall.timestamp() if isinstance(wall, datetime) else _number("wall", wall)
        self._monotonic = _number("monotonic", monotonic)
        self._timers: list[_Timer] = []
        self._registered = 0

    def now(self) -> float:
        """Return the wall clock's time, in seconds since the epoch (UTC)."""
        return self._wall

    def monotonic(self) -> float:
        """Return the seconds that have passed since an arbitrary start; a suspend stops them."""
        return self._monotonic

    @property
    def waiting(self) -> int:
        """How many waits are registered and have not ended.

        Poll it before you `advance` for a thread that is about to wait.
        """
        return len(self._timers)

    def advance(self, seconds: float | timedelta) -> None:
        """Let time pass: both clocks move by `seconds`, then the waits that are due end, in order.

        `advance(900)` makes a default token expire; `advance(0)` moves nothing.
        """
        step = _forward("advance", seconds)
        with self._lock:
            self._move_to(self._monotonic + step)
        self._fire()

    def step_wall(self, seconds: float | timedelta) -> None:
        """Set the wall clock forward, or back (negative), as NTP does; waits stand still."""
        step = _number("step_wall", seconds)
        with self._lock:
            self._wall += step

    def suspend(self, seconds: float | timedelta) -> None:
        """Sleep for `seconds`: the wall clock moves, monotonic and the waits stand still."""
        self.step_wall(_forward("suspend", seconds))

    def wait(self, seconds: float, wake: Callable[[], object], *, busy: bool) -> Callable[[], None]:
        """Arrange that `wake` is called once `seconds` have passed here; return what cancels that.

        Only `advance` passes time, so a test with one thread would wait for ever. Hence `busy`: is
        anything under way, such as a read in another thread, that could end this wait from outside?
        If not, the clock moves itself to the wait's end, ends the waits that are due before it, and
        calls `wake` before this returns.

        `wake` runs without the clock's lock, in the thread that moved the clock, and may use the
        clock. If one raises, the others that are due are called all the same, and its error is
        raised after that.

        Args:
            seconds: finite; zero or less is due at once, whatever `busy` says.
            wake: called once at most.
            busy: whether to only register the wait, and leave time alone.
        """
        pause = max(0.0, _number("wait", seconds))
        with self._lock:
            self._registered += 1
            timer = _Timer((self._monotonic + pause, self._registered), wake)
            heapq.heappush(self._timers, timer)
            if not busy:
                self._move_to(timer.due[0])
        self._fire()
        return lambda: self._cancel(timer)

    def __repr__(self) -> str:
        """Show both times."""
        return (
            f"Clock({datetime.fromtimestamp(self._wall, UTC).isoformat()!r}, {self._monotonic!r})"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the two times; who waits stays behind."""
        with self._lock:
            return Clock, (self._wall, self._monotonic)

    def _move_to(self, monotonic: float) -> None:
        self._wall += monotonic - self._monotonic
        self._monotonic = monotonic

    def _fire(self) -> None:
        with contextlib.ExitStack() as waiters:  # calls each, though another one raises
            for timer in reversed(self._pop_due()):
                waiters.callback(timer.wake)

    def _pop_due(self) -> list[_Timer]:
        due = []
        with self._lock:
            while self._timers and self._timers[0].due[0] <= self._monotonic:
                due.append(heapq.heappop(self._timers))
        return due

    def _cancel(self, timer: _Timer) -> None:
        with self._lock:
            if timer in self._timers:
                self._timers.remove(timer)
                heapq.heapify(self._timers)


class _Timer:
    """One wait: ordered by when it is due, then by when it was registered."""

    __slots__ = ("due", "wake")

    def __init__(self, due: tuple[float, int], wake: Callable[[], object]) -> None:
        self.due = due
        self.wake = wake

    def __lt__(self, other: _Timer) -> bool:
        return self.due < other.due


def _number(what: str, value: object) -> float:
    number = value.total_seconds() if isinstance(value, timedelta) else value
    if (
        isinstance(number, bool)
        or not isinstance(number, (int, float))
        or not math.isfinite(number)
    ):
        raise ValueError(f"Clock: {what} takes a finite number of seconds, not {value!r}")
    return float(number)


def _forward(what: str, value: object) -> float:
    number = _number(what, value)
    if number < 0:
        raise ValueError(f"Clock: {what} takes no negative number; step_wall sets the time back")
    return number
