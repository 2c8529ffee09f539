"""The two clocks that the library goes by, and what a partner's `Date` says about ours."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Protocol, runtime_checkable

from partner_auth.exceptions import ConfigurationError

LEAST_SKEW, MOST_SKEW = 2.0, 86_400.0
_LONGEST_DATE = 64  # RFC 9110 §5.6.7: the longest form has 33 characters


@runtime_checkable
class Clock(Protocol):
    """What `clock=` takes: wall time and a clock that no one steps, both in seconds.

    It may also have `wait(seconds, wake, *, busy) -> cancel`, which arranges that `wake()` is
    called once `seconds` have passed on this clock; `busy` tells whether something is under way
    that may end the wait before.
    """

    def now(self) -> float:
        """Return seconds since the epoch, UTC."""
        ...

    def monotonic(self) -> float:
        """Return seconds since any moment, never stepped back."""
        ...


class SystemClock:
    """The machine's own clocks."""

    now = staticmethod(time.time)
    monotonic = staticmethod(time.monotonic)


SYSTEM = SystemClock()  # without state: one for all
Wait = Callable[..., Callable[[], None]]


def checked(clock: object) -> Clock:
    """Return `clock`, or the machine's for None. Raise `ConfigurationError` when it is no clock."""
    if clock is None:
        return SYSTEM
    if isinstance(clock, Clock) and callable(clock.now) and callable(clock.monotonic):
        return clock
    raise ConfigurationError(
        "clock: an object with now() and monotonic(), both in seconds, is wanted"
    )


def moment(seconds: float | None) -> datetime | None:
    """Return seconds since the epoch as an aware datetime, or None where there is none to speak of."""
    if seconds is None:
        return None
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError):
        return None


def skew(date: str | None, now: float) -> float:
    """Return by how many seconds the sender of this `Date` header is ahead of `now`; 0.0 when it teaches nothing.

    Between 2 seconds and 24 hours are believed: less is the header's own grain (whole seconds,
    rounded down; RFC 9110 §5.6.7), more is no honest clock.
    """
    if not date or len(date) > _LONGEST_DATE:
        return 0.0
    from email.utils import parsedate_to_datetime

    try:
        told = parsedate_to_datetime(date)
        # a missing zone is UTC, never the local time that .timestamp() would take it for
        offset = (told if told.tzinfo else told.replace(tzinfo=UTC)).timestamp() - now
    except (ValueError, TypeError, IndexError, OverflowError):
        return 0.0
    return offset if LEAST_SKEW <= abs(offset) <= MOST_SKEW else 0.0
