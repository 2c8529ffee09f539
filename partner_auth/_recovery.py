"""The 401 rule: from a refused answer to the one that goes back. A generator of steps without client, clock or I/O.

    1  ours is a 401 to a token of ours, or to an unsigned request at a named origin: that one is
       signed and sent once
    2  another credential is in use there by now: resend with it; no store is asked
    3  else a look, shared by all: read the store, then its alternates
    4  the store holds another credential: resend with it
    5  the same one: some of those who wait try it, signed afresh, and the alternates; what is
       accepted comes into use
    6  nothing accepted: the 401s go back, and the next look waits for a quarter of the time that
       this has lasted
    7  looks that proved to be false alarms make the next one wait for the third 401 in a row
    8  a body that can't be sent again: look, but leave the try to the next request

A request is sent four times at most. The door (the client's side) answers each `Send` with an
`Answer`, each `Wait` with whether its flight ended, and closes the generator when the client breaks
off: a broken try decides nothing.
"""

from __future__ import annotations

import re
from collections.abc import Container, Generator
from typing import NamedTuple, TypeVar, cast

from partner_auth._clock import skew
from partner_auth._credentials import Credential
from partner_auth._flight import Steps, Wait
from partner_auth._looks import AGAIN, FOUND, NOTHING, WATCHED, Looks, Try
from partner_auth._places import Look, Member, Place
from partner_auth._reads import Read
from partner_auth._tokens import Signed
from partner_auth.exceptions import PartnerAuthError

T = TypeVar("T")
MOST_SENDS = 4
ACCEPTED, REFUSED, RIGHTS, UNDECIDED = "accepted", "refused", "rights", "undecided"
_UNDECIDED = frozenset({407, 408, 425, 429, *range(500, 1000)})
_LONGEST_CHALLENGE = 4096


class Answer(NamedTuple):
    """What the partner said: the status, and the headers `Date` and `WWW-Authenticate`."""

    status: int
    date: str | None = None
    challenge: str | None = None


class Send(NamedTuple):
    """A step: send the refused request once more with this token."""

    signed: Signed


Step = Wait | Send
Recovering = Generator[Step, "bool | Answer", None]


def judged(answer: Answer, rejects: Container[int]) -> str:
    """Return what an answer says of its token."""
    if answer.status in rejects:
        return RIGHTS if lacks_scope(answer.challenge) else REFUSED
    return UNDECIDED if answer.status in _UNDECIDED else ACCEPTED


# One without an end takes all: else each quotation mark in it would be tried as a beginning.
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*+(?:"|\\?$)', re.DOTALL)
_SCHEME = re.compile(r"(?:^|,)\s*([A-Za-z][A-Za-z0-9_-]*)(?=\s+[A-Za-z])")
_SCOPE = re.compile(r"\berror\s*=\s*insufficient_scope(?![A-Za-z0-9_-])")


def lacks_scope(challenge: str | None) -> bool:
    """Whether a challenge is `Bearer error="insufficient_scope"` (RFC 6750 §3.1): about rights, not the token."""
    if not challenge or "insufficient_scope" not in challenge:
        return False
    plain = _QUOTED.sub(_unquoted, challenge[:_LONGEST_CHALLENGE])
    parts = _SCHEME.split(plain)
    return any(
        scheme.lower() == "bearer" and _SCOPE.search(rest)
        for scheme, rest in zip(parts[1::2], parts[2::2], strict=True)
    )


def _unquoted(text: re.Match[str]) -> str:
    """Keep of a quoted text only what is looked for: names and commas in it mean nothing."""
    return "insufficient_scope" if text[0] == '"insufficient_scope"' else "x"


class Recovery:
    """One refused request on its way to an accepted answer."""

    def __init__(
        self, looks: Looks, place: Place, rejects: Container[int], *, replayable: bool
    ) -> None:
        """Hold what stays the same: where, what counts as refused, and whether the body can be sent again."""
        self._looks = looks
        self._place = place
        self._rejects = rejects
        self._replayable = replayable
        self._sends = 1
        self._tried: list[str | None] = []
        self._answer = Answer(0)
        self._signed: Signed | None = None

    def steps(self, signed: Signed | None, answer: Answer) -> Recovering:
        """Begin at a refused answer to `signed` (None: it arrived unsigned at a named origin)."""
        self._signed, self._answer = signed, answer
        if signed is not None:
            self._tried.append(signed.credential.version)
        try:
            why = yield from self._mended()
        except PartnerAuthError as error:  # the 401 goes back, never our error in its place
            why = f"the store failed: {type(error).__name__}"
        if why:
            self._tell(why)

    def _mended(self) -> Generator[Step, bool | Answer, str]:
        """Go on until an answer is to go back; return why, or nothing when it was not refused."""
        if judged(self._answer, self._rejects) is RIGHTS:
            return "insufficient_scope is about rights"
        if self._signed is None:
            if not self._replayable:
                return "arrived unsigned with a body that can't be sent again"
            verdict = yield from self._resent("unsigned")
            if verdict is not REFUSED:
                return _told(verdict)
        while True:
            signed = cast("Signed", self._signed)  # since every send sets it
            offset = skew(self._answer.date, self._looks.cache.clock.now())
            arrived = self._looks.refused(self._place, signed, offset, single=not self._replayable)
            why = yield from self._judged_anew(signed, arrived, offset)
            if why is not None:
                return why

    def _judged_anew(
        self, signed: Signed, arrived: int, offset: float
    ) -> Generator[Step, bool | Answer, str | None]:
        """Judge one 401 until it goes back (why), or its request was resent and refused again (None)."""
        waited = False
        while True:
            if self._looks.is_supplanted(self._place, signed):
                return (yield from self._resent_or_why("rotated"))
            entry = self._looks.enter(
                self._place, arrived, may_wait=self._replayable, waited=waited
            )
            if entry is None:
                if not self._replayable:
                    self._looks.hand_on(self._place, signed, offset)
                return "in the pause between two looks, or one of few 401s after false alarms"
            if isinstance(entry, Wait):
                waited = not (yield entry)
                continue
            outcome = yield from self._looked(entry, signed, arrived, offset)
            if outcome is FOUND:
                return (yield from self._resent_or_why("found"))
            if outcome is not AGAIN:
                return outcome

    def _looked(
        self, look: Look, signed: Signed, arrived: int, offset: float
    ) -> Generator[Step, bool | Answer, str | None]:
        """Take part in one look. Return FOUND, AGAIN, or why the answer at hand goes back."""
        looks, place, impatient = self._looks, self._place, False
        may_try = self._replayable and self._sends < MOST_SENDS
        with looks.member(place, look, arrived, may_try=may_try) as me:
            while True:
                move = looks.next_move(place, look, me, signed, impatient=impatient)
                if isinstance(move, Wait):
                    impatient = yield from self._waited(move, impatient=impatient)
                elif isinstance(move, Try):
                    outcome = yield from self._trial(look, me, move.candidates, offset)
                    if outcome is not None:
                        return outcome
                elif move is WATCHED:
                    looks.hand_on(place, signed, offset)
                    return "sent four times" if self._replayable else "its body can't be sent again"
                elif move is NOTHING:
                    return "nothing that the store knows was accepted"
                else:
                    return move

    def _waited(self, step: Wait, *, impatient: bool) -> Generator[Step, bool | Answer, bool]:
        """Wait; return whether a wait for the others' verdict has been in vain."""
        ended = yield step
        if not isinstance(step.flight, Read):
            return not ended
        if not ended:
            self._looks.cache.give_up(step.flight)
        return impatient

    def _trial(
        self, look: Look, me: Member, candidates: tuple[Credential, ...], offset: float
    ) -> Generator[Step, bool | Answer, str | None]:
        """Send with each candidate in turn. Return why the answer goes back, or None when all were refused."""
        for credential in candidates:
            if self._sends >= MOST_SENDS:  # leaves the rest to whoever takes over
                return "sent four times"
            signed = self._looks.cache.sign(credential, offset, self._place)
            verdict = yield from self._sent(signed, "trial")
            if verdict is ACCEPTED:
                self._looks.found(self._place, look, signed)
            if verdict is not REFUSED:
                return _told(verdict)
        self._looks.tried(self._place, look, me)
        return None

    def _resent_or_why(self, why: str) -> Generator[Step, bool | Answer, str | None]:
        if not self._replayable:
            return "its body can't be sent again"
        if self._sends >= MOST_SENDS:
            return "sent four times"
        verdict = yield from self._resent(why)
        return None if verdict is REFUSED else _told(verdict)

    def _resent(self, why: str) -> Generator[Step, bool | Answer, str]:
        """Resend with the credential in use."""
        lease = yield from _waiting(self._looks.cache.take(self._place))
        verdict = yield from self._sent(lease.signed, why)
        if verdict is ACCEPTED:
            self._looks.accepted(self._place, lease.signed)
        return verdict

    def _sent(self, signed: Signed, why: str) -> Generator[Step, bool | Answer, str]:
        self._sends += 1
        self._tried.append(signed.credential.version)
        self._looks.tell_resent(self._place, signed, self._sends, why)
        answer = yield Send(signed)
        if not isinstance(answer, Answer):
            raise TypeError("a Send is answered by an Answer")
        self._signed, self._answer = signed, answer
        return judged(answer, self._rejects)

    def _tell(self, why: str) -> None:
        challenge, status = self._answer.challenge or "", self._answer.status
        self._looks.tell_rejected(
            self._place, self._signed, status, tuple(self._tried), challenge, why
        )


def _waiting(steps: Steps[T]) -> Generator[Step, bool | Answer, T]:
    """Pass on the waits of steps that send nothing."""
    try:
        step = next(steps)
        while True:
            step = steps.send((yield step) is True)
    except StopIteration as stop:
        result: T = stop.value
        return result
    finally:
        steps.close()


def _told(verdict: str) -> str:
    return "insufficient_scope is about rights" if verdict is RIGHTS else ""
