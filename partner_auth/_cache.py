"""What is held, credential and token: fresh, stale or gone; and when the store is read. The only lock of a request.

A credential is *fresh* until the earlier of its `refresh_at` and `fresh_for` (by the larger of both
clocks' ages), then *stale* for `max_stale` (by the monotonic clock alone, so that no step of the
wall clock ends it), then *gone*.

    what a request gets     no read under way        a read under way     in a pause after a failure
    fresh                   what is held             what is held         what is held
    stale                   what is held; a read     what is held         what is held
                            starts behind it
    empty or gone           a read starts, it waits  it waits             the last failure, at once

A read belongs to nobody: a thread of its own makes it, everybody else only waits and then asks
again. One that is overdue is given up and counted; its late answer replaces nothing newer, its late
failure nothing at all.

Under the lock: compare, choose, swap. Never: I/O, the start of a thread, a callback, an event, the
end of a flight. But the garbage collector may run there, and close a recovery that nobody holds any
more: what that has still to do under the lock it leaves to whoever holds it (`leave`), and whoever
held it does that at once (`catch_up`).
"""

from __future__ import annotations

import contextvars
import itertools
import os
import threading
import weakref
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

from partner_auth._clock import Clock, moment
from partner_auth._credentials import Credential, epoch
from partner_auth._flight import Flight, Job, Steps, Wait, in_event_loop, launch, wait
from partner_auth._origins import Origin
from partner_auth._places import Lease, Place
from partner_auth._policy import RefreshPolicy
from partner_auth._reader import Reader
from partner_auth._report import Reporter
from partner_auth._tokens import Signed, Signer
from partner_auth.events import (
    CredentialFetched,
    CredentialRotated,
    Event,
    ServedStale,
    SourceFailed,
    TokenSigned,
)
from partner_auth.exceptions import (
    ConfigurationError,
    Failure,
    PartnerAuthError,
    SourceRejected,
    SourceUnavailable,
)

EMPTY, FRESH, STALE, GONE = "empty", "fresh", "stale", "gone"
MOST_ORPHANS = 4
MOST_ALTERNATES = 2
MOST_PLACES = 1024
_LOOK_AGAIN = 1.0  # seconds between two fingerprints
_FOREVER = float("inf")
_ABSENT = ("not_found", "not_configured")

_reading: contextvars.ContextVar[frozenset[int]] = contextvars.ContextVar("partner_auth_reading")


class Held(NamedTuple):
    """One landed credential; `fresh_until` and `gone_at` are monotonic, `…_wall` seconds since the epoch."""

    credential: Credential
    landed: float
    fetched_at: float
    fresh_until: float
    fresh_wall: float
    gone_at: float
    expires_wall: float


class Read(Job):
    """One question to the source under way: `fetch`, `fetch_fresh` or `alternates`."""

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

    def is_overdue(self, now: float, wall: float) -> bool:
        """Whether its time is up by either clock: a suspended machine stops only one of them."""
        return now >= self.deadline or wall >= self.deadline_wall


class Cache:
    """One source's credential and the tokens signed with it, shared by all who sign."""

    def __init__(
        self, source: Any, policy: RefreshPolicy, signer: Signer, clock: Clock, reporter: Reporter
    ) -> None:
        """Begin empty: nothing is read before the first request."""
        self.reader = Reader(source, signer, clock)
        self.name = self.reader.name
        self.policy = policy
        self.signer = signer
        self.clock = clock
        self.reporter = reporter
        self.lock = threading.Lock()  # guards all below, and every Place
        self.places: dict[Origin | None, Place] = {}
        self.held: Held | None = None
        self.alternates: tuple[Credential, ...] = ()  # of what is held, as last read
        self._proof: Read | None = None  # the last read that proves "nothing new"
        self._alternates_proof: Read | None = None
        self.failure: Failure | None = None
        self.last_signed: Signed | None = None
        self._read: Read | None = None
        self._orphans = 0
        self._failures = 0
        self._failed_at = 0.0
        self._pauses = (0.0, 0.0)  # after a failure: while something is held, while nothing is
        self._order = itertools.count(1)
        self._newest = 0  # the order of the newest read that landed, or revoked
        self._first = True  # the first read of a process
        self._soon = False  # a thread is about to begin a read
        self._print: object = None
        self._next_print = -_FOREVER
        self._stale_told = True
        self._left: deque[Callable[[], list[Flight]]] = deque()  # needs no lock
        _caches.add(self)

    @property
    def has_alternates(self) -> bool:
        """Whether the source knows what may be valid around a rotation."""
        return self.reader.has("alternates")

    def order(self) -> int:
        """Return a number greater than all before: clocks are too coarse to tell what came first."""
        return next(self._order)

    @property
    def proven(self) -> int:
        """The order of the last read that proves that nothing is new."""
        return self._proof.order if self._proof is not None else 0

    @property
    def alternates_proven(self) -> int:
        """The order of the last read of what is known as its alternates."""
        return self._alternates_proof.order if self._alternates_proof is not None else 0

    # -- asked by requests

    def place(self, origin: Origin | None, *, named: bool) -> Place:
        """Return what is remembered of an origin."""
        with self.lock:
            known = self.places.get(origin)
            if known is None:
                if len(self.places) >= MOST_PLACES:
                    self.places.pop(next(iter(self.places))).lease = None
                known = self.places[origin] = Place(origin, named=named)
        self.catch_up()
        return known

    def take(self, place: Place, *, patient: bool = False) -> Steps[Lease]:
        """Return a lease for this origin, waiting only where nothing is held.

        `patient` is for a request that can't be sent again: it waits for reads that are due or
        under way, at most to the deadline of the first.

        Raises:
            CredentialError, ConfigurationError: nothing is held, and the read failed.
        """
        patience = _FOREVER if patient else -_FOREVER
        failed: Failure | None = None  # as all fail who waited for the same read
        while True:
            self.check_fingerprint()
            now, wall = self.clock.monotonic(), self.clock.now()
            starts = None
            with self.lock:
                ended = self._give_up_overdue(now, wall)
                state = self._state(now, wall)
                must_wait = state in (EMPTY, GONE)
                may_wait = not self._is_reading() and not (must_wait and failed)
                if (
                    state is not FRESH
                    and self._read is None
                    and may_wait
                    and self._may_read(state, now)
                ):
                    starts = self._begin("fetch", now, wall)
                read, failure = self._read, failed or self.failure
                waits = read is not None and may_wait and (must_wait or now < patience)
                held = self.held
            self._end(ended)
            if starts is not None:
                self._launch(starts, waited=waits)
            if waits and read is not None:
                patience = min(patience, read.deadline)
                yield Wait(read, max(0.0, read.deadline - now))
                self.give_up(read)
                failed = read.failure
                continue
            if must_wait or held is None:
                raise self._nothing_held(failure)
            lease = self._lease(place, held, now, wall)
            if state is STALE and self.failure is not None:
                self._tell_stale(held)
            return lease

    def refresh(self) -> Steps[None]:
        """Read the store now, past any cache in between and any pause.

        Raises:
            CredentialError, ConfigurationError: the read failed.
        """
        self.forget_rejections()
        asked = self.order()
        if self._is_reading():
            raise _own_source(self.name)
        read = yield from self._begun_after(asked)
        if read is None:
            raise _overdue(self.name).error()
        yield self._wait_for(read)
        self.give_up(read)
        if read.failure is not None:
            raise read.failure.error()

    def refresh_soon(self) -> None:
        """Have a thread begin a read later than now, and forget rejections. Takes no lock: for signal handlers."""
        if self._soon:  # one is about to: what it begins is later than now
            return
        import _thread  # threading.Thread takes a lock that the signal may have interrupted

        self._soon = True
        try:
            _thread.start_new_thread(self._begin_later, ())
        except RuntimeError:  # a thread limit: the next request reads
            self._soon = False

    def _begin_later(self) -> None:
        self.forget_rejections()
        self._soon = False
        for step in self._begun_after(self.order()):
            self._soon = True
            wait(step, self.clock)
            self._soon = False

    def _begun_after(self, asked: int) -> Steps[Read | None]:
        """Wait for the reads in the way, and return one that began after `asked`; None when none can be."""
        while True:
            read = self.fresh_read(asked)
            if read is None or (
                read.proves and read.order > asked and read.question != "alternates"
            ):
                return read
            yield self._wait_for(read)
            self.give_up(read)

    def _wait_for(self, read: Read) -> Wait:
        return Wait(read, max(0.0, read.deadline - self.clock.monotonic()))

    # -- asked by looks, without the lock

    def fresh_read(self, since: int) -> Read | None:
        """Return the read to wait for, which goes past any cache in between; None when none can be waited for.

        It is the one under way, one that has ended but began after `since`, or one that begins now.
        """
        return self._join("fetch_fresh", since)

    def alternates_read(self, since: int) -> Read | None:
        """Return the read of the alternates to wait for, like `fresh_read`."""
        return self._join("alternates", since)

    def give_up(self, read: Read) -> None:
        """Give up a read whose waiter's time was up, if it is still under way and overdue."""
        if read.over:
            return
        with self.lock:
            ended = self._abandon(read) if read is self._read else []
        self._end(ended)

    def forget_rejections(self) -> None:
        """Forget what was refused where, false alarms included."""
        ended: list[Flight] = []
        with self.lock:
            for place in self.places.values():
                ended += place.clear()
                place.alarms = 0
        self._end(ended)

    def leave(self, last: Callable[[], list[Flight]]) -> None:
        """Have something done under the lock, now or by its holder, and the flights ended that it returns.

        Waits for nothing: the collector may call it in a thread that holds the lock.
        """
        self._left.append(last)
        self.catch_up()

    def catch_up(self) -> None:
        """Do what was left to whoever held the lock. Called by all who have."""
        while self._left and not self.lock.locked():
            with self.lock:
                ended = self._left.popleft()() if self._left else []
            for flight in ended:
                flight.end()

    def report(self, event: Event, *, loud: bool = False) -> None:
        """Tell of an event."""
        self.catch_up()
        self.reporter.report(event, loud=loud)

    def next_read(self) -> float | None:
        """Return when the store is read next, in seconds since the epoch; None: with the next request."""
        now, wall = self.clock.monotonic(), self.clock.now()
        with self.lock:
            state = self._state(now, wall)
            if state is FRESH and self.held is not None:
                return min(wall + self.held.fresh_until - now, self.held.fresh_wall)
            pause = self._paused_until(state)
        return wall + pause - now if pause > now else None

    def state(self) -> str:
        """Return `empty`, `fresh` or `stale`."""
        with self.lock:
            state = self._state(self.clock.monotonic(), self.clock.now())
        return EMPTY if state is GONE else state

    # -- under the lock

    def _state(self, now: float, wall: float) -> str:
        held = self.held
        if held is None:
            return EMPTY
        if now >= held.gone_at or wall >= held.expires_wall:
            return GONE
        return FRESH if now < held.fresh_until and wall < held.fresh_wall else STALE

    def _may_read(self, state: str, now: float) -> bool:
        return now >= self._paused_until(state) and self._orphans < MOST_ORPHANS

    def _paused_until(self, state: str) -> float:
        if self.failure is None:
            return -_FOREVER
        served, unserved = self._pauses
        return self._failed_at + (unserved if state in (EMPTY, GONE) else served)

    def _begin(self, question: str, now: float, wall: float) -> Read:
        marks = _reading.get(frozenset()) | {id(self)}
        read = Read(
            question,
            self.order(),
            now,
            wall,
            self.policy.timeout,
            lambda read: self._ask(read, marks),
        )
        read.proves = question != "fetch" or not self.reader.has("fetch_fresh")
        self._read = read
        return read

    def _adopt(self, credential: Credential, now: float, wall: float) -> list[Flight]:
        old, same = self.held, credential.same_as(self.held.credential if self.held else None)
        ended: list[Flight] = []
        if not same:
            self.alternates = ()
            self._alternates_proof = None
        for place in self.places.values():
            place.lease = None
            if not same:
                ended += _supplanted(place, credential, old.credential if old else None)
            elif old is not None and old.credential != credential:
                place.signed = None
        span = self._span(credential, wall)
        expires = epoch(credential.expires_at)
        self.held = Held(
            credential=credential,
            landed=now,
            fetched_at=wall,
            fresh_until=now + span,
            fresh_wall=wall + span,
            gone_at=now + span + self.policy.max_stale,
            expires_wall=_FOREVER if expires is None else expires,
        )
        self.failure, self._failures = None, 0
        return ended

    def _span(self, credential: Credential, wall: float) -> float:
        span = self.policy.fresh_for
        refresh_at = epoch(credential.refresh_at)
        if refresh_at is not None:
            # one in the past must not make every request read the store
            span = min(span, max(refresh_at - wall, self.policy.backoff))
        if self.policy.jitter:
            span *= _random() if self._first else 1 - self.policy.jitter * _random()
        self._first = False
        return span

    def _fail(self, failure: Failure, now: float, wall: float) -> None:
        policy, served = self.policy, self._state(now, wall) in (FRESH, STALE)
        grown, share = policy.backoff * 2 ** min(self._failures, 30), 1 - policy.jitter * _random()
        self.failure, self._failed_at = failure, now
        self._failures += 1
        self._stale_told = False
        if failure.kind is SourceRejected and not (served and self._is_absence(failure)):
            self._revoke()
            self._pauses = (share * min(grown, policy.cooldown),) * 2
        else:
            self._pauses = (
                share * min(grown, policy.backoff_max),
                share * min(grown, policy.backoff),
            )
        for place in self.places.values():
            place.lease = None

    def _is_absence(self, failure: Failure) -> bool:
        return failure.reason in _ABSENT and self.reader.absence_is_transient

    def _revoke(self) -> None:
        self.held, self.alternates = None, ()
        for place in self.places.values():
            place.use(None, place.offset)

    def _give_up_overdue(self, now: float, wall: float) -> list[Flight]:
        read = self._read
        return self._abandon(read) if read is not None and read.is_overdue(now, wall) else []

    def _abandon(self, read: Read) -> list[Flight]:
        self._read = None
        if read.begun:
            read.counted = True
            self._orphans += 1
        read.failure = _overdue(self.name)
        now = self.clock.monotonic()
        if read.question == "alternates":
            self._alternates_proof = read
        else:
            self._fail(read.failure, now, self.clock.now())
            self._prove(read)
        return [read]

    def _prove(self, read: Read) -> None:
        if read.proves and read.order > self.proven:
            self._proof = read

    # -- without the lock

    def _is_reading(self) -> bool:
        return id(self) in _reading.get(frozenset())

    def _nothing_held(self, failure: Failure | None) -> PartnerAuthError:
        if (
            self._is_reading() and self._read is not None
        ):  # not in a callback, told of the read's end
            return _own_source(self.name)
        return (failure or _overdue(self.name)).error()

    def _join(self, question: str, since: int) -> Read | None:
        if self._is_reading():  # its own end is what it would wait for
            return None
        now, wall = self.clock.monotonic(), self.clock.now()
        starts = None
        with self.lock:
            ended = self._give_up_overdue(now, wall)
            proof = self._alternates_proof if question == "alternates" else self._proof
            read = self._read
            if proof is not None and proof.order > since:  # it has ended since this was wanted
                read = proof
            elif read is None and self._orphans < MOST_ORPHANS:
                read = starts = self._begin(question, now, wall)
        self._end(ended)
        if starts is not None:
            self._launch(starts, waited=True)
        return read

    def _launch(self, read: Read, *, waited: bool) -> None:
        try:
            launch(read)
        except RuntimeError:  # a thread limit, or the interpreter is on its way out
            if waited and not in_event_loop():
                read.begin()
            else:
                text = f"{self.name}: no thread can be started to read the store"
                self._land(read, Failure.of(SourceUnavailable, text, reason="unreachable"))

    def _ask(self, read: Read, marks: frozenset[int]) -> None:
        _reading.set(marks)
        outcome: Credential | tuple[Credential, ...] | Failure
        outcome = Failure.of(
            SourceUnavailable, f"{self.name}: the read was broken off", reason="unreachable"
        )
        try:
            if read.question == "alternates":
                outcome = self.reader.alternates()
            else:
                self._take_fingerprint()
                outcome = self.reader.credential(read.question)
        finally:
            self._land(read, outcome)

    def _land(self, read: Read, outcome: Credential | tuple[Credential, ...] | Failure) -> None:
        now, wall = self.clock.monotonic(), self.clock.now()
        with self.lock:
            late = read is not self._read
            if read.counted:
                self._orphans -= 1
            if not late:
                self._read = None
            old = self.held
            ended = self._settle(read, outcome, now, wall, late=late)
            new = self.held
        read.end()
        self._end(ended)
        if isinstance(outcome, Failure) and not late:
            self._tell_failure(outcome)
        elif isinstance(outcome, Credential) and new is not None and new is not old:
            self._tell_landing(new, old, now - read.began)

    def _settle(
        self,
        read: Read,
        outcome: Credential | tuple[Credential, ...] | Failure,
        now: float,
        wall: float,
        *,
        late: bool,
    ) -> list[Flight]:
        if isinstance(outcome, Credential):
            if late and read.order < self._newest:
                return []
            self._newest = read.order
            ended = self._adopt(outcome, now, wall)
            self._prove(read)
            return ended
        if late:
            return []
        if isinstance(outcome, Failure):
            read.failure = outcome
            self._fail(outcome, now, wall)
            if outcome.kind is SourceRejected and self.held is None:
                self._newest = read.order
            self._prove(read)
        else:
            self.alternates = self._others(outcome)
            self._alternates_proof = read
        return []

    def _others(self, found: tuple[Credential, ...]) -> tuple[Credential, ...]:
        chosen: list[Credential] = []
        for credential in found:
            known = [*chosen, *([self.held.credential] if self.held else [])]
            if len(chosen) < MOST_ALTERNATES and not any(
                credential.same_as(other) for other in known
            ):
                chosen.append(credential)
        return tuple(chosen)

    def check_fingerprint(self) -> None:
        """Ask the source, at most once a second, whether it has changed; if so the credential is stale."""
        now = self.clock.monotonic()
        if now < self._next_print or not self.reader.has("fingerprint"):
            return
        with self.lock:
            if now < self._next_print or self.held is None or self._read is not None:
                return
            self._next_print = now + _LOOK_AGAIN
            seen = self._print
        told = self.reader.fingerprint()
        if told is not None and not _equal(told, seen):
            self._note_change(seen, told)

    def _note_change(self, seen: object, told: object) -> None:
        with self.lock:
            if seen is None and self._print is None:  # an error at the read: compare from now on
                self._print = told
            elif self.held is not None and self._print is seen:
                self.held = self.held._replace(fresh_until=-_FOREVER)
                self._failed_at = -_FOREVER  # what failed was another content
                for place in self.places.values():
                    place.lease = None

    def _take_fingerprint(self) -> None:
        told = self.reader.fingerprint()
        now = self.clock.monotonic()
        with self.lock:
            self._print, self._next_print = told, now + _LOOK_AGAIN

    def _lease(self, place: Place, held: Held, now: float, wall: float) -> Lease:
        with self.lock:
            held = self.held or held  # a read may have landed since, and have ended an alternate
            credential, offset = wanted = self._wanted(place, held)
            signed, fresh = place.signed, None
        if signed is None or not _is_good(signed, credential, offset, now, wall):
            signed = fresh = self._signed(credential, offset)
        with self.lock:
            state = self._state(now, wall)
            until = min(held.gone_at, signed.until)
            wall_until = min(signed.replace_at, held.expires_wall)
            if state is FRESH:
                until, wall_until = min(until, held.fresh_until), min(wall_until, held.fresh_wall)
            elif self._read is not None:
                until = min(until, self._read.deadline)
            else:  # in a pause, or too many reads hang
                pause = self._paused_until(state)
                until = min(until, pause if pause > now else now + _LOOK_AGAIN)
            if self._read is None and self.reader.has("fingerprint"):
                until = min(until, max(self._next_print, now))
            lease = Lease(signed, until, wall_until)
            if self.held is held and self._wanted(place, held) == wanted:
                place.signed = signed
                # a door may still know one that was dropped, and no revocation would reach that
                place.lease = lease if self.places.get(place.origin) is place else None
        self.catch_up()
        if fresh is not None:  # now that it is there for a callback that wants one
            self._tell_signed(fresh, place)
        return lease

    def _wanted(self, place: Place, held: Held) -> tuple[Credential, float]:
        """Return what a request to this origin is to be signed with, and the clock's offset there."""
        return place.probe or (place.in_use(held.credential) or held.credential, place.offset)

    def sign(self, credential: Credential, offset: float, place: Place) -> Signed:
        """Sign a token to try at this origin."""
        signed = self._signed(credential, offset)
        self._tell_signed(signed, place)
        return signed

    def _signed(self, credential: Credential, offset: float) -> Signed:
        """Sign outside of the lock: it runs the caller's claims."""
        now, wall = self.clock.monotonic(), self.clock.now()
        signed = self.signer.sign(credential, wall, offset)
        signed.until = now + signed.replace_at - wall
        self.last_signed = signed
        return signed

    def _end(self, flights: list[Flight]) -> None:
        self.catch_up()
        for flight in flights:
            flight.end()
        for flight in flights:
            if (
                isinstance(flight, Read)
                and flight.failure is not None
                and flight.question != "alternates"
            ):
                self._tell_failure(flight.failure)

    # -- telling

    def _tell_landing(self, new: Held, old: Held | None, took: float) -> None:
        credential = new.credential
        changed = not credential.same_as(old.credential if old else None)
        due = moment(min(new.fresh_wall, new.fetched_at + new.fresh_until - new.landed))
        self.report(
            CredentialFetched(
                self.name, credential.client_id, credential.version, changed, took, due
            )
        )
        if old is not None and changed:
            age = new.landed - old.landed
            previous = old.credential.version
            self.report(
                CredentialRotated(
                    self.name, credential.client_id, credential.version, previous, age
                )
            )

    def _tell_failure(self, failure: Failure) -> None:
        held = self.held if self.state() is not EMPTY else None
        age = None if held is None else self.clock.monotonic() - held.landed
        kind, due = failure.kind.__name__, moment(self.next_read())
        self.report(
            SourceFailed(self.name, kind, failure.reason, failure.text, held is not None, age, due)
        )

    def _tell_signed(self, signed: Signed, place: Place) -> None:
        credential, expires = signed.credential, moment(signed.expires_at)
        if expires is not None:
            client_id, version = credential.client_id, credential.version
            self.report(
                TokenSigned(self.name, place.name, client_id, version, expires, signed.offset)
            )

    def _tell_stale(self, held: Held) -> None:
        with self.lock:
            loud, self._stale_told = not self._stale_told, True
            text = self.failure.text if self.failure else ""
        age = self.clock.monotonic() - held.landed
        self.report(
            ServedStale(self.name, held.credential.version, age, text, moment(self.next_read())),
            loud=loud,
        )

    def after_fork(self) -> None:
        """Owe nothing to the parent's reads, keep what is held, and draw the jitter anew."""
        self.lock = threading.Lock()
        self._read, self._orphans, self._first, self._soon = None, 0, True, False
        self._proof = self._alternates_proof = None
        self._left = deque()
        for place in self.places.values():
            place.look = place.pause = None
            place.lease = None
        held = self.held
        if held is not None and self.policy.jitter:
            left = held.fresh_until - self.clock.monotonic()
            if 0 < left < _FOREVER:
                self.held = held._replace(fresh_until=held.fresh_until - left * _random())


def _supplanted(place: Place, current: Credential, before: Credential | None) -> list[Flight]:
    """Bring the store's new current credential into use at an origin. Return what is to be ended then.

    An alternate in use there that has become the current one stays as rejected as it was.
    """
    used, look = place.in_use(before), place.look
    place.use(None, place.offset)
    if current.same_as(used):
        return []
    ended = place.clear()
    if look is not None:  # it was about another one: whoever comes now needs one that begins now
        look.verdict, place.look = "undecided", None
        ended.append(look.news)
    return ended


def _is_good(
    signed: Signed, credential: Credential, offset: float, now: float, wall: float
) -> bool:
    in_time = signed.issued_at <= wall < signed.replace_at and now < signed.until
    return in_time and signed.offset == offset and signed.credential.same_as(credential)


def _own_source(name: str) -> ConfigurationError:
    return ConfigurationError(
        f"{name}: it signs its own request with the PartnerAuth that it feeds: give it another"
    )


def _overdue(name: str) -> Failure:
    return Failure.of(SourceUnavailable, f"{name}: the read was not done in time", reason="timeout")


def _equal(one: object, other: object) -> bool:
    try:
        return bool(one == other)
    except Exception:  # noqa: BLE001  an error means unchanged
        return True


def _random() -> float:
    """Return a fraction from the system's entropy: a restored snapshot shares the state of `random`."""
    return int.from_bytes(os.urandom(6), "big") / 2**48


_caches: weakref.WeakSet[Cache] = weakref.WeakSet()


def _after_fork() -> None:
    for cache in list(_caches):
        cache.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
