"""One refused request after another, moved by hand: any number of them in one thread, in any order.

A `Refused` asks what the rule asks of a door: to wait, or to send. Waits for a read of the store
are done at once; whatever else it wants is the test's to answer.
"""

from __future__ import annotations

from partner_auth._authenticator import reply
from partner_auth._flight import Wait, wait
from partner_auth._origins import Origin
from partner_auth._reads import Read
from partner_auth._recovery import Answer
from partner_auth._tokens import Signed
from tests.rule.rule_world import World

HERE = Origin("https", "api.partner.example", 443)
ELSEWHERE = Origin("https", "other.partner.example", 443)
CURRENT = "current"


def place(world: World, origin: Origin = HERE):
    """Return what is remembered of an origin."""
    return world.auth._cache.place(origin, named=True)


def sign(world: World, origin: Origin = HERE) -> Signed:
    """Return the token that a request would carry now."""
    return world.auth._lease(place(world, origin)).signed


class Refused:
    """A request that was answered 401."""

    def __init__(
        self,
        world: World,
        signed: Signed | str | None = CURRENT,
        *,
        replayable: bool = True,
        answer: Answer = Answer(401),  # noqa: B008  immutable
        origin: Origin = HERE,
        reads: bool = True,
    ) -> None:
        """Be refused. `reads`: whether waits for a read are done at once."""
        self._world = world
        self._reads = reads
        token = sign(world, origin) if signed == CURRENT else signed
        recovering = world.auth._recovering
        self._steps = recovering(place(world, origin), token, answer, replayable=replayable)
        self._step = next(self._steps, None)
        self._read_on()

    @property
    def wants(self) -> str:
        """What it does now: "send VERSION", "wait", or "back": its answer goes back."""
        if self._step is None:
            return "back"
        if isinstance(self._step, Wait):
            return "wait"
        return f"send {self._step.signed.credential.version}"

    @property
    def sending(self) -> Signed:
        """The token that it sends."""
        return self._step.signed

    @property
    def seconds(self) -> float:
        """How long it would wait."""
        return self._step.seconds

    def answered_oddly(self, answer: object) -> None:
        """Answer what it sent with something else than an answer."""
        self._steps.send(answer)

    def answered(self, status: int, date: str | None = None) -> Refused:
        """Answer what it sent."""
        self._step = reply(self._steps, Answer(status, date))
        self._read_on()
        return self

    def woken(self) -> Refused:
        """Tell it that what it waited for has ended."""
        assert self._step.flight.over
        return self._replied(ended=True)

    def in_vain(self) -> Refused:
        """Tell it that its time is up."""
        return self._replied(ended=False)

    def broken_off(self) -> None:
        """End it, as a client does that is cancelled or whose connection breaks."""
        self._steps.close()
        self._step = None

    @property
    def is_reading(self) -> bool:
        """Whether it waits for a read of the store."""
        return isinstance(self._step, Wait) and isinstance(self._step.flight, Read)

    @property
    def is_woken(self) -> bool:
        """Whether what it waits for has ended."""
        return self._step.flight.over

    def _replied(self, *, ended: bool) -> Refused:
        self._step = reply(self._steps, ended)
        self._read_on()
        return self

    def _read_on(self) -> None:
        while self._reads and self.is_reading:
            self._step = reply(self._steps, wait(self._step, self._world.clock))
