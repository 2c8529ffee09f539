"""What is remembered of one origin: the credential in use, the rejection, the look under way, the clock's offset.

Plain state without a lock or a clock: the cache changes it, under its lock. The numbers are those
of the 401 rule (docs/design/recovery.md), where they are derived from a simulation.
"""

from __future__ import annotations

from partner_auth._credentials import Credential
from partner_auth._flight import Flight
from partner_auth._origins import Origin
from partner_auth._tokens import Signed

FIRST_SECOND = 1.0  # of a rejection: requests wait for the next look, and several try in each
VERDICT_WITHIN = 1.0  # after that a waiter no longer trusts in the one that tries
TRIERS = 5
LEAST_PAUSE = 0.1
FALSE_ALARMS = 3
STREAK = 3
FORGOTTEN_AFTER = 3600.0


class Lease:
    """A signed token, and until when it may be used without another thought. Immutable, published whole."""

    __slots__ = ("attachment", "header", "signed", "until", "wall_from", "wall_until")

    def __init__(self, signed: Signed, until: float, wall_until: float) -> None:
        """Hold the token; `until` is monotonic, `wall_until` seconds since the epoch."""
        self.signed = signed
        self.header = signed.header
        self.until = until
        self.wall_from = signed.issued_at
        self.wall_until = wall_until
        self.attachment: object = None  # what a client's door makes of it, once

    def __repr__(self) -> str:
        """Show whose it is."""
        return f"Lease({self.signed!r})"


class Member:
    """One refused request that takes part in a look."""

    __slots__ = ("arrived", "may_try", "state")

    def __init__(self, arrived: int, *, may_try: bool) -> None:
        """Hold when its 401 arrived (in the cache's order) and whether it can be sent again."""
        self.arrived = arrived
        self.may_try = may_try
        self.state = "waits"  # then: tries, refused


class Look:
    """A look at the store and, if that brings nothing, at who is still accepted: one at a time an origin."""

    __slots__ = (
        "candidates",
        "known_since",
        "members",
        "news",
        "proof",
        "quota",
        "read_from",
        "refused",
        "trying_since",
        "verdict",
        "watched",
    )

    def __init__(self, arrived: int, quota: int) -> None:
        """Begin for a 401 that arrived at `arrived` (in the cache's order); `quota` requests may try."""
        self.read_from = arrived  # a read counts that began after this
        self.proof = 0  # the order of the one that did
        self.quota = quota
        self.members: set[Member] = set()
        self.candidates: tuple[Credential, ...] | None = None
        self.known_since = self.trying_since = 0.0
        self.refused = 0
        self.watched = False  # by a request that can't be sent again
        self.verdict = ""  # then: found, nothing, undecided
        self.news = Flight()

    def count(self, state: str) -> int:
        """How many members are in this state."""
        return sum(member.state == state for member in self.members)

    def untried(self) -> int:
        """How many members could try and have not."""
        return sum(member.state == "waits" and member.may_try for member in self.members)

    def has_room(self) -> bool:
        """Whether one more may try."""
        return self.count("tries") + self.refused < self.quota

    def is_exhausted(self) -> bool:
        """Whether all who are to try were refused."""
        return not self.count("tries") and (not self.has_room() or not self.untried())


class Place:
    """One origin. `lease` is read without the lock; all else belongs to the cache."""

    __slots__ = (
        "alarm_at",
        "alarms",
        "alternate",
        "barren",
        "lease",
        "look",
        "name",
        "named",
        "next_look",
        "offset",
        "origin",
        "pause",
        "probe",
        "rejected_since",
        "rejected_wall",
        "signed",
        "singles",
        "streak",
        "told",
        "troubled",
    )

    def __init__(self, origin: Origin | None, *, named: bool) -> None:
        """Begin with the store's current credential and no rejection."""
        self.origin = origin
        self.name = str(origin) if origin else ""
        self.named = named
        self.lease: Lease | None = None
        self.signed: Signed | None = None
        self.alternate: Credential | None = None  # in use here in place of the store's current one
        self.probe: tuple[Credential, float] | None = None  # the next request's, unproven
        self.offset = 0.0
        self.rejected_since: float | None = None
        self.rejected_wall: float | None = None
        self.streak = 0
        self.singles = 0  # 401s in a row to requests that can't be sent again
        self.next_look = 0.0
        self.look: Look | None = None
        self.pause: Flight | None = None
        self.barren = False  # a look of this rejection was refused whatever it tried
        self.alarms = 0
        self.alarm_at = 0.0
        self.told = -1.0  # the `next_look` that a WARNING named
        self.troubled = False  # an accepted answer has something to clear

    def in_use(self, current: Credential | None) -> Credential | None:
        """Return the credential in use here, given the store's current one."""
        return self.alternate if self.alternate is not None and current is not None else current

    def forget_tokens(self) -> None:
        """Have the next request signed anew."""
        self.lease = self.signed = None

    def use(self, alternate: Credential | None, offset: float) -> None:
        """Bring a credential into use; None stands for the store's current one."""
        self.alternate, self.offset, self.probe = alternate, offset, None
        self.forget_tokens()

    def reject(self, now: float, wall: float) -> None:
        """Count a 401 to the credential in use."""
        if self.rejected_since is None:
            self.rejected_since, self.rejected_wall = now, wall
        if self.alarms and now - self.alarm_at > FORGOTTEN_AFTER:
            self.alarms = 0
        self.streak += 1
        self.troubled = True

    def accept(self, now: float) -> list[Flight]:
        """End the rejection by an accepted answer: whoever looked in vain raised a false alarm."""
        if self.barren:
            self.alarms += 1
            self.alarm_at = now
        return self.clear()

    def clear(self) -> list[Flight]:
        """End the rejection. Return what is to be ended once the lock is released."""
        self.rejected_since = self.rejected_wall = None
        self.streak = self.singles = 0
        self.next_look = 0.0
        self.barren = self.troubled = False
        if self.probe is not None:
            self.probe = None
            self.forget_tokens()
        ended = [self.pause] if self.pause else []
        self.pause = None
        return ended

    def waits_for_third(self) -> bool:
        """Whether, after false alarms, this 401 is still too few to look."""
        return self.alarms >= FALSE_ALARMS and self.streak < STREAK

    def is_young(self, now: float) -> bool:
        """Whether the rejection is in its first second."""
        return self.rejected_since is None or now - self.rejected_since < FIRST_SECOND

    def conclude(self, look: Look, verdict: str, now: float, cooldown: float) -> list[Flight]:
        """End a look; without a find the next one begins after a pause that grows with the rejection."""
        look.verdict = verdict
        if self.look is look:
            self.look = None
        ended = [look.news]
        if verdict == "found":
            return ended
        self.barren = self.barren or verdict == "nothing"
        since = now if self.rejected_since is None else self.rejected_since
        self.next_look = now + min(max((now - since) / 4, LEAST_PAUSE), cooldown)
        if self.pause:
            ended.append(self.pause)
        self.pause = Flight()
        return ended
