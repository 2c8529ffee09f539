"""What is held and until when: fresh, stale, gone; and how long a failed read keeps the next one away.

A credential is *fresh* until the earlier of its `refresh_at` and `fresh_for` (by the larger of both
clocks' ages), then *stale* for `max_stale` (by the monotonic clock alone, so that no step of the
wall clock ends it), then *gone*.

Plain state without a lock or a clock: the cache changes it, under its lock.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import NamedTuple

from partner_auth._credentials import Credential, epoch
from partner_auth._policy import RefreshPolicy
from partner_auth.exceptions import Failure, SourceRejected

EMPTY, FRESH, STALE, GONE = "empty", "fresh", "stale", "gone"
MOST_ALTERNATES = 2
FOREVER = float("inf")


class Held(NamedTuple):
    """One landed credential; `fresh_until` and `gone_at` are monotonic, `…_wall` seconds since the epoch."""

    credential: Credential
    landed: float
    fetched_at: float
    fresh_until: float
    fresh_wall: float
    gone_at: float
    expires_wall: float


class Holding:
    """What the reads of one source have brought: a credential, its alternates, the last failure."""

    __slots__ = (
        "_failed_at",
        "_failures",
        "_first",
        "_pauses",
        "_policy",
        "alternates",
        "failure",
        "held",
    )

    def __init__(self, policy: RefreshPolicy) -> None:
        """Begin empty."""
        self._policy = policy
        self.held: Held | None = None
        self.alternates: tuple[Credential, ...] = ()  # of what is held, as last read
        self.failure: Failure | None = None
        self._failures = 0
        self._failed_at = 0.0
        self._pauses = (0.0, 0.0)  # after a failure: while something is held, while nothing is
        self._first = True  # the first read of a process

    @property
    def credential(self) -> Credential | None:
        """The store's current credential, as far as it is known."""
        return self.held.credential if self.held else None

    @property
    def candidates(self) -> tuple[Credential, ...]:
        """All that may be valid now, likeliest first: the current one, then its alternates."""
        return (self.held.credential, *self.alternates) if self.held else ()

    def state(self, now: float, wall: float) -> str:
        """Return `empty`, `fresh`, `stale` or `gone`."""
        held = self.held
        if held is None:
            return EMPTY
        if now >= held.gone_at or wall >= held.expires_wall:
            return GONE
        return FRESH if now < held.fresh_until and wall < held.fresh_wall else STALE

    def paused_until(self, state: str) -> float:
        """Return the monotonic time from which a read may begin after a failure."""
        if self.failure is None:
            return -FOREVER
        served, unserved = self._pauses
        return self._failed_at + (unserved if state in (EMPTY, GONE) else served)

    def next_read(self, now: float, wall: float) -> float | None:
        """Return when the store is read next, in seconds since the epoch; None: with the next request."""
        state = self.state(now, wall)
        if state is FRESH and self.held is not None:
            return min(wall + self.held.fresh_until - now, self.held.fresh_wall)
        pause = self.paused_until(state)
        return wall + pause - now if pause > now else None

    # -- what a read brought

    def hold(self, credential: Credential, now: float, wall: float) -> None:
        """Hold what a read brought; the alternates of another credential are none of its."""
        if not credential.same_as(self.credential):
            self.alternates = ()
        span = self._span(credential, wall)
        expires = epoch(credential.expires_at)
        self.held = Held(
            credential=credential,
            landed=now,
            fetched_at=wall,
            fresh_until=now + span,
            fresh_wall=wall + span,
            gone_at=now + span + self._policy.max_stale,
            expires_wall=FOREVER if expires is None else expires,
        )
        self.failure, self._failures = None, 0

    def _span(self, credential: Credential, wall: float) -> float:
        span = self._policy.fresh_for
        refresh_at = epoch(credential.refresh_at)
        if refresh_at is not None:
            # one in the past must not make every request read the store
            span = min(span, max(refresh_at - wall, self._policy.backoff))
        if self._policy.jitter:
            span *= _random() if self._first else 1 - self._policy.jitter * _random()
        self._first = False
        return span

    def fail(self, failure: Failure, now: float, wall: float) -> bool:
        """Take note of a failed read. Return whether it was a revocation: nothing is held then."""
        policy, served = self._policy, self.state(now, wall) in (FRESH, STALE)
        grown, share = policy.backoff * 2 ** min(self._failures, 30), 1 - policy.jitter * _random()
        self.failure, self._failed_at = failure, now
        self._failures += 1
        if failure.kind is SourceRejected and not (served and failure.is_passing):
            self.held, self.alternates = None, ()
            self._pauses = (share * min(grown, policy.cooldown),) * 2
            return True
        self._pauses = (share * min(grown, policy.backoff_max), share * min(grown, policy.backoff))
        return False

    def hold_alternates(self, found: Iterable[Credential]) -> None:
        """Hold those that are equal neither to what is held nor to each other, at most two."""
        chosen: list[Credential] = []
        for credential in found:
            known = [*chosen, *([self.held.credential] if self.held else [])]
            if len(chosen) < MOST_ALTERNATES and not any(
                credential.same_as(other) for other in known
            ):
                chosen.append(credential)
        self.alternates = tuple(chosen)

    def make_stale(self) -> None:
        """Have the store read with the next request, pause or none: it is another one by now."""
        if self.held is not None:
            self.held = self.held._replace(fresh_until=-FOREVER)
            self._failed_at = -FOREVER  # what failed was another content

    def after_fork(self, now: float) -> None:
        """Keep what is held, and draw the jitter anew."""
        self._first = True
        held = self.held
        if held is not None and self._policy.jitter:
            left = held.fresh_until - now
            if 0 < left < FOREVER:
                self.held = held._replace(fresh_until=held.fresh_until - left * _random())


def _random() -> float:
    """Return a fraction from the system's entropy: a restored snapshot shares the state of `random`."""
    return int.from_bytes(os.urandom(6), "big") / 2**48
