"""What a request is signed with, and when the store is read for it. The only lock that a request takes.

    what a request gets     no read under way        a read under way     in a pause after a failure
    fresh                   what is held             what is held         what is held
    stale                   what is held; a read     what is held         what is held
                            starts behind it
    empty or gone           a read starts, it waits  it waits             the last failure, at once

Under the lock: compare, choose, swap. Never: I/O, the start of a thread, a callback, an event, the
end of a flight. But the garbage collector may run there, and close a recovery that nobody holds any
more: what that has still to do under the lock it leaves to whoever holds it (`leave`), and whoever
held it does that at once (`catch_up`).
"""

from __future__ import annotations

import contextvars
import os
import threading
import weakref
from collections.abc import Callable
from typing import Any

from partner_auth._clock import Clock, moment
from partner_auth._credentials import Credential
from partner_auth._flight import Flight, Steps, in_event_loop, launch, wait
from partner_auth._held import EMPTY, FOREVER, FRESH, GONE, STALE, Held, Holding
from partner_auth._origins import Origin
from partner_auth._places import Lease, Place
from partner_auth._policy import RefreshPolicy
from partner_auth._reader import Reader
from partner_auth._reads import FETCH, FETCH_FRESH, Read, Reads
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
    SourceUnavailable,
)

MOST_PLACES = 1024
_LOOK_AGAIN = 1.0  # seconds between two fingerprints

Outcome = Credential | tuple[Credential, ...] | Failure

_reading: contextvars.ContextVar[frozenset[int]] = contextvars.ContextVar("partner_auth_reading")


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
        self.holding = Holding(policy)
        self.reads = Reads()
        self.last_signed: Signed | None = None
        self._soon = False  # a thread is about to begin a read
        self._print: object = None
        self._next_print = -FOREVER
        self._stale_told = True
        self._left: list[Callable[[], list[Flight]]] = []  # needs no lock
        _caches.add(self)

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
        patience = FOREVER if patient else -FOREVER
        failed: Failure | None = None  # as all fail who waited for the same read
        while True:
            self.check_fingerprint()
            now, wall = self.clock.monotonic(), self.clock.now()
            starts = None
            with self.lock:
                ended = self._give_up_overdue(now, wall)
                state = self.holding.state(now, wall)
                must_wait = state in (EMPTY, GONE)
                may_wait = not self._is_reading() and not (must_wait and failed)
                is_due = state is not FRESH and now >= self.holding.paused_until(state)
                if is_due and may_wait and self.reads.may_begin:
                    starts = self._begin(FETCH, now, wall)
                read, failure = self.reads.under_way, failed or self.holding.failure
                waits = read is not None and may_wait and (must_wait or now < patience)
                held = self.holding.held
            self._end(ended)
            if starts is not None:
                self._launch(starts, waited=waits)
            if waits and read is not None:
                patience = min(patience, read.deadline)
                yield read.wait(now)
                self.give_up(read)
                failed = read.failure
                continue
            if must_wait or held is None:
                raise self._nothing_held(failure)
            lease = self._lease(place, held, now, wall)
            if state is STALE and self.holding.failure is not None:
                self._tell_stale(held)
            return lease

    def refresh(self) -> Steps[None]:
        """Read the store now, past any cache in between and any pause.

        Raises:
            CredentialError, ConfigurationError: the read failed.
        """
        self.forget_rejections()
        asked = self.reads.order()
        if self._is_reading():
            raise _own_source(self.name)
        read = yield from self._begun_after(asked)
        if read is None:
            raise _overdue(self.name).error()
        yield read.wait(self.clock.monotonic())
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
        for step in self._begun_after(self.reads.order()):
            self._soon = True
            wait(step, self.clock)
            self._soon = False

    def _begun_after(self, asked: int) -> Steps[Read | None]:
        """Wait for the reads in the way, and return one that began after `asked`; None when none can be."""
        while True:
            read = self.join(FETCH_FRESH, asked)
            if read is None or (read.proves and read.order > asked and not read.is_of_alternates):
                return read
            yield read.wait(self.clock.monotonic())
            self.give_up(read)

    # -- asked by looks, without the lock

    def join(self, question: str, since: int) -> Read | None:
        """Return the read to wait for; None when none can be waited for.

        It is the one under way, one that has ended but began after `since`, or one that begins now.
        """
        if self._is_reading():  # its own end is what it would wait for
            return None
        now, wall = self.clock.monotonic(), self.clock.now()
        starts = None
        with self.lock:
            ended = self._give_up_overdue(now, wall)
            proof, read = self.reads.proof(question), self.reads.under_way
            if proof is not None and proof.order > since:  # it has ended since this was wanted
                read = proof
            elif self.reads.may_begin:
                read = starts = self._begin(question, now, wall)
        self._end(ended)
        if starts is not None:
            self._launch(starts, waited=True)
        return read

    def give_up(self, read: Read) -> None:
        """Give up a read whose waiter's time was up, if it is still under way and overdue."""
        if read.over:
            return
        with self.lock:
            ended = self._abandon(read) if read is self.reads.under_way else []
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
                ended = self._left.pop(0)() if self._left else []
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
            return self.holding.next_read(now, wall)

    def state(self) -> str:
        """Return `empty`, `fresh` or `stale`."""
        with self.lock:
            state = self.holding.state(self.clock.monotonic(), self.clock.now())
        return EMPTY if state is GONE else state

    # -- under the lock

    def _begin(self, question: str, now: float, wall: float) -> Read:
        marks = _reading.get(frozenset()) | {id(self)}
        read = Read(
            question,
            self.reads.order(),
            now,
            wall,
            self.policy.timeout,
            lambda read: self._ask(read, marks),
        )
        read.proves = question != FETCH or not self.reader.has(FETCH_FRESH)
        self.reads.under_way = read
        return read

    def _adopt(self, credential: Credential, now: float, wall: float) -> list[Flight]:
        ended: list[Flight] = []
        old = self.holding.credential
        changed = not credential.same_as(old)
        if changed:
            self.reads.forget_alternates()
        for place in self.places.values():
            place.lease = None
            if changed:
                ended += _supplanted(place, credential, old)
            elif old != credential:  # in what a token says all the same
                place.signed = None
        self.holding.hold(credential, now, wall)
        return ended

    def _fail(self, failure: Failure, now: float, wall: float) -> bool:
        """Take note of a failed read. Return whether it was a revocation."""
        revoked = self.holding.fail(failure, now, wall)
        self._stale_told = False
        for place in self.places.values():
            place.lease = None
            if revoked:
                place.use(None, place.offset)
        return revoked

    def _give_up_overdue(self, now: float, wall: float) -> list[Flight]:
        read = self.reads.under_way
        return self._abandon(read) if read is not None and read.is_overdue(now, wall) else []

    def _abandon(self, read: Read) -> list[Flight]:
        failure = _overdue(self.name)
        if not read.is_of_alternates:
            self._fail(failure, self.clock.monotonic(), self.clock.now())
        self.reads.give_up(read, failure)
        return [read]

    # -- without the lock

    def _is_reading(self) -> bool:
        return id(self) in _reading.get(frozenset())

    def _nothing_held(self, failure: Failure | None) -> PartnerAuthError:
        # not in a callback, told of the read's end
        if self._is_reading() and self.reads.under_way is not None:
            return _own_source(self.name)
        return (failure or _overdue(self.name)).error()

    def _launch(self, read: Read, *, waited: bool) -> None:
        try:
            launch(read)
        except RuntimeError:  # a thread limit, or the interpreter is on its way out
            if waited and not in_event_loop():
                read.begin()
            else:
                self._land(read, self._without(read, "no thread can be started to read the store"))

    def _ask(self, read: Read, marks: frozenset[int]) -> None:
        _reading.set(marks)
        outcome = self._without(read, "the read was broken off")
        try:
            if read.is_of_alternates:
                outcome = self.reader.alternates()
            else:
                self._take_fingerprint()
                outcome = self.reader.credential(read.question)
        finally:
            self._land(read, outcome)

    def _without(self, read: Read, why: str) -> Outcome:
        """Return what a read that could not be made brings: an error of the alternates means none."""
        if read.is_of_alternates:
            return ()
        return Failure.of(SourceUnavailable, f"{self.name}: {why}", reason="unreachable")

    def _land(self, read: Read, outcome: Outcome) -> None:
        now, wall = self.clock.monotonic(), self.clock.now()
        with self.lock:
            is_late = self.reads.end(read)
            old = self.holding.held
            ended = self._settle(read, outcome, now, wall, is_late=is_late)
            new = self.holding.held
        read.end()
        self._end(ended)
        if isinstance(outcome, Failure) and not is_late:
            self._tell_failure(outcome)
        elif isinstance(outcome, Credential) and new is not None and new is not old:
            self._tell_landing(new, old, now - read.began)

    def _settle(
        self, read: Read, outcome: Outcome, now: float, wall: float, *, is_late: bool
    ) -> list[Flight]:
        if isinstance(outcome, Credential):
            if is_late and self.reads.is_outdated(read):
                return []
            ended = self._adopt(outcome, now, wall)
            self.reads.prove(read, newest=True)
            return ended
        if is_late:
            return []
        if isinstance(outcome, Failure):
            read.failure = outcome
            revoked = self._fail(outcome, now, wall)
            self.reads.prove(read, newest=revoked)
        else:
            self.holding.hold_alternates(outcome)
            self.reads.prove(read)
        return []

    def check_fingerprint(self) -> None:
        """Ask the source, at most once a second, whether it has changed; if so the credential is stale."""
        now = self.clock.monotonic()
        if now < self._next_print or not self.reader.has("fingerprint"):
            return
        with self.lock:
            if now < self._next_print or not self.holding.held or self.reads.under_way:
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
            elif self._print is seen:
                self.holding.make_stale()
                for place in self.places.values():
                    place.lease = None

    def _take_fingerprint(self) -> None:
        told = self.reader.fingerprint()
        now = self.clock.monotonic()
        with self.lock:
            self._print, self._next_print = told, now + _LOOK_AGAIN

    def _lease(self, place: Place, held: Held, now: float, wall: float) -> Lease:
        with self.lock:
            # a read may have landed since, and have ended an alternate
            held = self.holding.held or held
            credential, offset = wanted = self._wanted(place, held)
            signed, fresh = place.signed, None
        if signed is None or not _is_good(signed, credential, offset, now, wall):
            signed = fresh = self._signed(credential, offset)
        with self.lock:
            state, read = self.holding.state(now, wall), self.reads.under_way
            until = min(held.gone_at, signed.until)
            wall_until = min(signed.replace_at, held.expires_wall)
            if state is FRESH:
                until, wall_until = min(until, held.fresh_until), min(wall_until, held.fresh_wall)
            elif read is not None:
                until = min(until, read.deadline)
            else:  # in a pause, or too many reads hang
                pause = self.holding.paused_until(state)
                until = min(until, pause if pause > now else now + _LOOK_AGAIN)
            if read is None and self.reader.has("fingerprint"):
                until = min(until, max(self._next_print, now))
            lease = Lease(signed, until, wall_until)
            if self.holding.held is held and self._wanted(place, held) == wanted:
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
                and not flight.is_of_alternates
            ):
                self._tell_failure(flight.failure)

    # -- telling

    def _tell_landing(self, new: Held, old: Held | None, took: float) -> None:
        credential = new.credential
        changed = not credential.same_as(old.credential if old else None)
        due = moment(new.fresh_wall)
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
        held = self.holding.held if self.state() is not EMPTY else None
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
            text = self.holding.failure.text if self.holding.failure else ""
        age = self.clock.monotonic() - held.landed
        self.report(
            ServedStale(self.name, held.credential.version, age, text, moment(self.next_read())),
            loud=loud,
        )

    def after_fork(self) -> None:
        """Owe nothing to the parent's reads, keep what is held, and draw the jitter anew."""
        self.lock = threading.Lock()
        self._soon = False
        self._left = []
        self.reads.after_fork()
        self.holding.after_fork(self.clock.monotonic())
        for place in self.places.values():
            place.look = place.pause = None
            place.lease = None


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


_caches: weakref.WeakSet[Cache] = weakref.WeakSet()


def _after_fork() -> None:
    for cache in list(_caches):
        cache.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
