"""Looks: when refused requests may ask the store, who of them tries, and what their tries found.

All of it is per origin and under the cache's lock; nothing waits here. `_recovery` asks for the
next move, makes it, and comes back; any number of requests do so at once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from partner_auth._cache import Cache
from partner_auth._clock import moment
from partner_auth._credentials import Credential
from partner_auth._flight import Flight, Wait
from partner_auth._places import LEAST_PAUSE, TRIERS, VERDICT_WITHIN, Look, Member, Place
from partner_auth._reads import ALTERNATES, FETCH_FRESH, Read
from partner_auth._tokens import Signed
from partner_auth.events import (
    ClockSkewLearned,
    CredentialRotated,
    Event,
    RequestRejected,
    RequestResent,
)

NOTHING = "nothing"  # the 401 goes back
AGAIN = "again"  # it is judged anew: something changed, or what was found out says nothing about it
FOUND = "found"  # resend with what is in use now
WATCHED = "watched"  # the store was asked; a request that can't be sent again has no more to do

_LONG_WORD = re.compile(r"[A-Za-z0-9_-]{40,}")  # such as the token that a careless partner quotes


class Try(NamedTuple):
    """A move: send with each of these in turn, until one is accepted."""

    candidates: tuple[Credential, ...]


Move = Wait | Try | str
Ask = Callable[[], Read | None]


class Looks:
    """The rejections and looks at one cache's origins."""

    def __init__(self, cache: Cache) -> None:
        """Work on the cache's places, under its lock."""
        self.cache = cache

    # -- answers

    def accepted(self, place: Place, signed: Signed) -> None:
        """Take note of an accepted answer to `signed`: it ends the rejection of what is in use."""
        cache = self.cache
        events: list[Event] = []
        with cache.lock:
            current = cache.holding.credential
            if current is None:
                return
            ended: list[Flight] = []
            if place.probe is not None and _is_of(place.probe, signed):
                events, ended = self._bring_into_use(place, signed)
            elif signed.credential.same_as(place.in_use(current)):
                ended = place.accept(cache.clock.monotonic())
        self._afterwards(ended, events)

    def refused(self, place: Place, signed: Signed, offset: float, *, single: bool) -> int:
        """Count a 401 and return its place in the cache's order; `single`: its request can't be sent again."""
        cache = self.cache
        with cache.lock:
            current = cache.holding.credential
            signing = place.probe[0] if place.probe else place.in_use(current)
            if signed.credential.same_as(signing):
                place.reject(cache.clock.monotonic(), cache.clock.now())
                place.singles += single
                if place.probe is not None:
                    self._hand_on(place, signed, offset)
            return cache.reads.order()

    def hand_on(self, place: Place, signed: Signed, offset: float) -> None:
        """At the second 401 in a row that can't be mended, have the next request try what else there is."""
        with self.cache.lock:
            if place.singles > 1 and place.probe is None:
                self._hand_on(place, signed, offset)

    def _hand_on(self, place: Place, signed: Signed, offset: float) -> None:
        """Have the next request sign with the next of current, pending, previous; a new offset comes first."""
        order = self.cache.holding.candidates
        if not order:
            return
        at = next((i for i, one in enumerate(order) if one.same_as(signed.credential)), -1)
        if offset != 0.0 and abs(offset - signed.offset) > 1:
            place.probe = (order[max(at, 0)], offset)
        elif len(order) > 1:
            place.probe = (order[(at + 1) % len(order)], offset)
        else:
            place.probe = None
        place.forget_tokens()

    # -- moves

    def is_supplanted(self, place: Place, signed: Signed) -> bool:
        """Whether another credential is in use here than the one that `signed` was signed with."""
        with self.cache.lock:
            return self._supplanted(place, signed)

    def enter(
        self, place: Place, arrived: int, *, may_wait: bool, waited: bool
    ) -> Look | Wait | None:
        """Return the look to take part in, the pause to wait for, or None: the 401 goes back."""
        cache = self.cache
        cache.catch_up()
        with cache.lock:
            now = cache.clock.monotonic()
            if place.look is not None:
                return place.look
            if place.waits_for_third():
                return None
            if now < place.next_look and not waited:
                if may_wait and place.pause is not None and place.is_young(now):
                    return Wait(place.pause, place.next_look - now, busy=False)
                return None
            if place.rejected_since is None:
                place.reject(now, cache.clock.now())
            place.look = Look(arrived, TRIERS if place.is_young(now) else 1)
            return place.look

    @contextmanager
    def member(self, place: Place, look: Look, arrived: int, *, may_try: bool) -> Iterator[Member]:
        """Take part in a look, and leave it whatever happens: the next one takes over."""
        me = Member(arrived, may_try=may_try)
        with self.cache.lock:
            look.members.add(me)
        try:
            yield me
        finally:
            self.cache.leave(lambda: self._without(place, look, me))

    def _without(self, place: Place, look: Look, me: Member) -> list[Flight]:
        look.members.discard(me)
        return [] if look.verdict else self._settle(place, look)

    def next_move(
        self, place: Place, look: Look, me: Member, signed: Signed, *, impatient: bool
    ) -> Move:
        """Return what this request is to do: wait, try, resend with what was found, or give its 401 back.

        `impatient`: a wait for the others' verdict took its whole second.
        """
        while True:
            with self.cache.lock:
                move, ended = self._move(place, look, me, signed, impatient=impatient)
            self._afterwards(ended)
            if not callable(move):
                return move
            read = move()
            if read is not None:
                return Wait(read, max(0.0, read.deadline - self.cache.clock.monotonic()))
            with self.cache.lock:  # too many reads hang: what is known must do
                self._gather(look, me.arrived)

    def _move(
        self, place: Place, look: Look, me: Member, signed: Signed, *, impatient: bool
    ) -> tuple[Move | Ask, list[Flight]]:
        if look.verdict == FOUND:
            return FOUND, []
        if self._supplanted(place, signed):
            return AGAIN, []
        if look.verdict:
            return (NOTHING if me.state == "refused" or me.arrived < look.proof else AGAIN), []
        if self.cache.holding.held is None:
            return NOTHING, self._conclude(place, look, NOTHING)
        if look.candidates is None:
            ask = self._question(look.read_from)
            if ask is not None:
                return ask, []
            self._gather(look, look.read_from)
        if not me.may_try:
            look.watched = True
            return WATCHED, []
        return self._turn(look, me, impatient=impatient), []

    def _turn(self, look: Look, me: Member, *, impatient: bool) -> Move | Ask:
        """Return whether this member waits for the others, tries, or has the store asked once more before."""
        now = self.cache.clock.monotonic()
        left = look.trying_since + VERDICT_WITHIN - now
        if me.state == "refused":
            return NOTHING if impatient or left <= 0 else Wait(look.news, left)
        if not (impatient or left <= 0 or look.has_room()):
            return Wait(look.news, left)
        if me.arrived >= look.proof and now >= look.known_since + LEAST_PAUSE:
            ask = self._question(me.arrived)
            if ask is not None:
                return ask
            self._gather(look, me.arrived)
        me.state = "tries"
        return Try(look.candidates or ())

    def _question(self, since: int) -> Ask | None:
        """Return what the store is still to be asked about a 401 that arrived at `since`."""
        cache = self.cache
        if cache.reads.proven(FETCH_FRESH) <= since:
            return lambda: cache.join(FETCH_FRESH, since)
        may_ask = cache.holding.failure is None and cache.reader.has(ALTERNATES)
        if may_ask and cache.reads.proven(ALTERNATES) <= since:
            return lambda: cache.join(ALTERNATES, since)
        return None

    def _gather(self, look: Look, since: int) -> None:
        """Take what is known now as the answer to all 401s that arrived until `since`, or until it was read."""
        cache = self.cache
        look.known_since = cache.clock.monotonic()
        if look.candidates is None:
            look.trying_since = look.known_since
        look.candidates = cache.holding.candidates
        look.proof = max(look.proof, cache.reads.proven(FETCH_FRESH), since + 1)

    # -- tries

    def found(self, place: Place, look: Look, signed: Signed) -> None:
        """Bring into use what a try was accepted with."""
        events: list[Event] = []
        ended: list[Flight] = []
        with self.cache.lock:
            if look.verdict != FOUND and self._is_known(signed.credential):
                events, ended = self._bring_into_use(place, signed)
                ended += self._conclude(place, look, FOUND)
        self._afterwards(ended, events)

    def tried(self, place: Place, look: Look, me: Member) -> None:
        """Note that all tries of this member were refused; past the second that ends the look."""
        with self.cache.lock:
            me.state = "refused"
            look.refused += 1
            slow = self.cache.clock.monotonic() >= look.trying_since + VERDICT_WITHIN
            ended: list[Flight] = []
            if not look.verdict:
                ended = self._conclude(place, look, NOTHING) if slow else self._settle(place, look)
        self._afterwards(ended)

    # -- under the lock

    def _supplanted(self, place: Place, signed: Signed) -> bool:
        current = self.cache.holding.credential
        return current is not None and not signed.credential.same_as(place.in_use(current))

    def _is_known(self, credential: Credential) -> bool:
        return any(credential.same_as(one) for one in self.cache.holding.candidates)

    def _settle(self, place: Place, look: Look) -> list[Flight]:
        """End the look if nobody is left to decide it, else let those who wait ask again."""
        if look.refused and look.is_exhausted():
            return self._conclude(place, look, NOTHING)
        if not look.members:
            return self._conclude(
                place, look, NOTHING if look.refused or look.watched else "undecided"
            )
        news, look.news = look.news, Flight()
        return [news]

    def _conclude(self, place: Place, look: Look, verdict: str) -> list[Flight]:
        return place.conclude(
            look, verdict, self.cache.clock.monotonic(), self.cache.policy.cooldown
        )

    def _bring_into_use(self, place: Place, signed: Signed) -> tuple[list[Event], list[Flight]]:
        cache, held = self.cache, self.cache.holding.held
        if held is None:
            return [], []
        events: list[Event] = []
        before, offset = place.in_use(held.credential), place.offset
        is_current = signed.credential.same_as(held.credential)
        place.use(None if is_current else signed.credential, signed.offset)
        place.signed = signed
        place.alarms = 0
        if before is not None and not signed.credential.same_as(before):
            one, age = signed.credential, cache.clock.monotonic() - held.landed
            events.append(
                CredentialRotated(
                    cache.name, one.client_id, one.version, before.version, age, place.name
                )
            )
        if signed.offset != offset:
            events.append(ClockSkewLearned(cache.name, place.name, signed.offset))
        return events, place.clear()

    # -- telling

    def tell_resent(self, place: Place, signed: Signed, sends: int, why: str) -> None:
        """Tell that a refused request goes out again."""
        self.cache.report(
            RequestResent(self.cache.name, place.name, signed.credential.version, sends, why)
        )

    def tell_rejected(
        self,
        place: Place,
        signed: Signed | None,
        status: int,
        tried: tuple[str | None, ...],
        challenge: str,
        why: str,
    ) -> None:
        """Tell that a refused answer goes back to its caller; a WARNING once a look."""
        cache = self.cache
        with cache.lock:
            now, wall = cache.clock.monotonic(), cache.clock.now()
            loud, place.told = place.told != place.next_look, place.next_look
            age = now - held.landed if (held := cache.holding.held) else 0.0
            since, due = place.rejected_wall, wall + place.next_look - now
        version = signed.credential.version if signed else None
        next_look = moment(due) if due > wall else None
        shown = "".join(c if c.isprintable() else "?" for c in _LONG_WORD.sub("…", challenge)[:200])
        event = RequestRejected(
            cache.name,
            place.name,
            version,
            age,
            status,
            tried,
            shown,
            why,
            moment(since),
            next_look,
        )
        cache.report(event, loud=loud)

    def _afterwards(self, ended: Iterable[Flight], events: Iterable[Event] = ()) -> None:
        self.cache.catch_up()
        for flight in ended:
            flight.end()
        for event in events:
            self.cache.report(event)


def _is_of(probe: tuple[Credential, float], signed: Signed) -> bool:
    return probe[0].same_as(signed.credential) and probe[1] == signed.offset
