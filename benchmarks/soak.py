"""Everything at once, for a while: `python -m benchmarks.soak --seconds 120`.

Threads, two asyncio loops and one of trio send through one `PartnerAuth`, over loopback, while a
busy hand rotates the secret in every order, breaks store, partner, connections and clocks, cancels
tasks, kills threads and forks. Each request must end with an answer, an error of the library's
hierarchy, or the client's own; when all has stopped, no thread, descriptor or memory may be left.
"""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import faulthandler
import gc
import logging
import os
import random
import signal
import sys
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import httpx
import requests
import trio

from partner_auth import (
    PartnerAuth,
    PartnerAuthError,
    RefreshPolicy,
    SourceRejected,
    SourceUnavailable,
)
from partner_auth.testing import PartnerServer

POLICY = RefreshPolicy(
    fresh_for=1.0, max_stale=3.0, timeout=2.0, backoff=0.05, backoff_max=0.5, cooldown=1.0
)
LIFETIME, TIMEOUT = 20.0, 3.0  # seconds: of a token, of a client
HANGS = 20.0  # seconds: what takes longer is said to hang
HOSTILE = ["endless", "drip", "silent", "cut", "bad-gzip", "huge", "gzip", "empty"]
THREADS, TASKS = 4, 6
PAGE = os.sysconf("SC_PAGE_SIZE")


class Killed(BaseException):
    """What a thread is killed with, wherever it is."""


class SteppedClock:
    """The machine's clocks; an operator sets the wall clock at will."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def now(self) -> float:
        return time.time() + self.ahead

    def monotonic(self) -> float:
        return time.monotonic()


class World:
    """The partner, the object that signs for it, and what came of all requests."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.partner = PartnerServer().start()
        self.clock = SteppedClock()
        self.auth: PartnerAuth = self.partner.auth(
            refresh=POLICY, lifetime=LIFETIME, clock=self.clock, on_event=self._told
        )
        self.outcomes: Counter[str] = Counter()
        self.done: Counter[str] = Counter()
        self.events: Counter[str] = Counter()
        self.unexpected: list[str] = []
        self.longest = 0.0
        self.is_over = threading.Event()
        self.workers: list[threading.Thread] = []
        self.doomed = threading.local()
        self._lock = threading.Lock()

    def _told(self, event: object) -> None:
        self.events[type(event).__name__] += 1

    @property
    def url(self) -> str:
        return f"{self.partner.url}/portfolio"

    def ended(self, outcome: str, took: float) -> None:
        """Count one request."""
        with self._lock:
            self.outcomes[outcome] += 1
            self.longest = max(self.longest, took)

    def failed(self, error: BaseException, own: type[BaseException], took: float) -> None:
        """Count one that raised; `own` is the client's base error."""
        kind = type(error).__name__
        if isinstance(error, PartnerAuthError):
            self.ended(f"ours: {kind}", took)
        elif isinstance(error, own):
            self.ended(f"the client's: {kind}", took)
        else:
            self.ended(f"unexpected: {kind}", took)
            self.unexpected.append(repr(error))


# -- who sends


def with_requests(world: World) -> None:
    """Send from a thread; a session lives for a while."""
    with requests.Session() as session:
        session.auth = world.auth
        for _ in range(world.dice.randrange(5, 200)):
            if world.is_over.is_set():
                return
            began = time.monotonic()
            try:
                with session.get(world.url, stream=True, timeout=TIMEOUT) as answer:
                    if answer.ok:
                        answer.content  # noqa: B018  the rest of a refusal may never end
                    world.ended(str(answer.status_code), time.monotonic() - began)
            except Exception as error:
                own = requests.RequestException
                world.failed(error, own, time.monotonic() - began)


def with_httpx(world: World) -> None:
    """Send from a thread."""
    with httpx.Client(auth=world.auth, timeout=TIMEOUT) as client:
        for _ in range(world.dice.randrange(5, 200)):
            if world.is_over.is_set():
                return
            began = time.monotonic()
            try:
                with client.stream("GET", world.url) as answer:
                    if answer.is_success:
                        answer.read()
                    world.ended(str(answer.status_code), time.monotonic() - began)
            except Exception as error:
                world.failed(error, httpx.HTTPError, time.monotonic() - began)


def with_tokens(world: World) -> None:
    """Ask for the token alone, and for a read now and then."""
    for _ in range(world.dice.randrange(5, 200)):
        if world.is_over.wait(0.005):
            return
        began = time.monotonic()
        try:
            world.auth.refresh() if world.dice.random() < 0.05 else world.auth.token(world.url)
            world.auth.status()
        except Exception as error:
            world.failed(error, PartnerAuthError, time.monotonic() - began)
        else:
            world.ended("token", time.monotonic() - began)


async def _send(world: World, client: httpx.AsyncClient) -> None:
    began = time.monotonic()
    try:
        async with client.stream("GET", world.url) as answer:
            if answer.is_success:
                await answer.aread()
            world.ended(str(answer.status_code), time.monotonic() - began)
    except Exception as error:
        world.failed(error, httpx.HTTPError, time.monotonic() - began)


def with_asyncio(world: World) -> None:
    """Send from tasks, some of which are cancelled."""

    async def work(client: httpx.AsyncClient) -> None:
        for _ in range(world.dice.randrange(5, 100)):
            if world.is_over.is_set():
                return
            limit = world.dice.choice([None, None, None, 0.001, 0.01, 0.1])
            try:
                await asyncio.wait_for(_send(world, client), limit)
            except TimeoutError:
                world.ended("cancelled", limit or 0)

    async def main() -> None:
        async with httpx.AsyncClient(auth=world.auth, timeout=TIMEOUT) as client:
            await asyncio.gather(*(work(client) for _ in range(TASKS)))

    asyncio.run(main())


def with_trio(world: World) -> None:
    """Send from tasks, some of which are cancelled."""

    async def work(client: httpx.AsyncClient) -> None:
        for _ in range(world.dice.randrange(5, 100)):
            if world.is_over.is_set():
                return
            limit = world.dice.choice([TIMEOUT * 4, TIMEOUT * 4, 0.001, 0.01, 0.1])
            with trio.move_on_after(limit) as scope:
                await _send(world, client)
            if scope.cancelled_caught:
                world.ended("cancelled", limit)

    async def main() -> None:
        async with (
            httpx.AsyncClient(auth=world.auth, timeout=TIMEOUT) as client,
            trio.open_nursery() as nursery,
        ):
            for _ in range(TASKS):
                nursery.start_soon(work, client)

    trio.run(main)


KILLED_AT_TIMES = (with_requests, with_httpx, with_tokens)
WORKERS = [*(KILLED_AT_TIMES * (THREADS // 2)), with_asyncio, with_asyncio, with_trio]


def _work(world: World, work: Callable[[World], None]) -> None:
    """Do one kind of work over and over, and again after having been killed."""
    while not world.is_over.is_set():
        try:
            work(world)
        except Killed:
            world.done["threads killed"] += 1
        except BaseException as error:
            world.unexpected.append(f"{work.__name__}: {error!r}")


# -- the busy hand


def rotate(world: World) -> None:
    """In one of the orders, with or without a gap or an overlap."""
    partner, dice = world.partner, world.dice
    order = dice.choice(["at once", "partner first", "store first", "overlap", "pending"])
    world.done[f"rotations, {order}"] += 1
    if order == "at once":
        partner.rotate()
    elif order == "partner first":
        new = partner.rotate(store=False)
        world.is_over.wait(dice.uniform(0, 0.3))
        partner.store.set(new)
    elif order == "store first":
        new = f"store first, {dice.getrandbits(256):064x}"
        partner.store.set(new)
        world.is_over.wait(dice.uniform(0, 0.3))
        partner.rotate(new)
    elif order == "overlap":
        partner.rotate(overlap=dice.uniform(0.1, 0.5))
    else:
        new = f"pending, {dice.getrandbits(256):064x}"
        partner.store.pending = new
        partner.rotate(new, store=False)
        world.is_over.wait(dice.uniform(0, 0.3))
        partner.store.set(new)
        partner.store.pending = None


def store_fails(world: World) -> None:
    """For a while: not there, slow, refusing, or raising something odd."""
    store, dice = world.partner.store, world.dice
    errors = [SourceUnavailable("down"), SourceRejected("gone", reason="denied"), ValueError("odd")]
    how = dice.choice(["fails", "fails", "is slow", "hangs"])
    world.done[f"store {how}"] += 1
    if how == "fails":
        store.fail(dice.choice(errors))
    else:
        store.delay(0.3 if how == "is slow" else 60.0)
    world.is_over.wait(dice.uniform(0.05, 0.6))
    store.release()
    store.fail(None)


def partner_restarts(world: World) -> None:
    """Refuses connections, or takes and drops them, for a moment."""
    world.done["partner restarts"] += 1
    world.partner.down(drop=world.dice.random() < 0.5)
    world.is_over.wait(world.dice.uniform(0.01, 0.2))
    world.partner.up()


def partner_misbehaves(world: World) -> None:
    """Drops, fails, refuses, answers late, sends bodies that never end, or has another time."""
    partner, dice = world.partner, world.dice
    what: Callable[[], object] = dice.choice(
        [
            lambda: partner.drop(dice.randrange(1, 10)),
            lambda: partner.fail(503, dice.randrange(1, 10)),
            lambda: partner.fail(401, dice.randrange(1, 10)),
            lambda: partner.delay(0.05, dice.randrange(1, 20)),
            lambda: partner.hostile(dice.choice(HOSTILE)),
            partner.reject,
            lambda: partner.skew(dice.choice([-300, 300, 40_000])),
            lambda: partner.challenge('Bearer error="invalid_token"'),
        ]
    )
    world.done["partner misbehaves"] += 1
    what()
    world.is_over.wait(dice.uniform(0.05, 0.5))
    partner.restore()
    partner.reset()
    partner.skew(0)


def step_clock(world: World) -> None:
    """Set our wall clock forward or back, and right again later."""
    world.done["clock steps"] += 2
    world.clock.ahead = world.dice.choice([-7200.0, -30.0, 30.0, 600.0, 7200.0])
    world.is_over.wait(world.dice.uniform(0.05, 0.5))
    world.clock.ahead = 0.0


def cancel_threads(world: World) -> None:
    """Kill one that is at work, wherever it is in our code or a client's."""
    victim = world.dice.choice([one for one in world.workers if one.name.startswith("kill")])
    if victim.ident is not None and not _holds_what_all_need(victim.ident):
        ctypes.pythonapi.PyThreadState_SetAsyncExc(
            ctypes.c_ulong(victim.ident), ctypes.py_object(Killed)
        )


def _holds_what_all_need(ident: int) -> bool:
    """Whether a thread is in an import, or in an event that all share: a kill there loses its lock for good."""
    frame = sys._current_frames().get(ident)
    while frame is not None:
        if frame.f_code.co_filename.startswith(("<frozen importlib", threading.__file__)):
            return frame.f_code.co_name not in {"run", "_bootstrap", "_bootstrap_inner"}
        frame = frame.f_back
    return False


def fork(world: World) -> None:
    """Send some requests from a child; it must end by itself."""
    world.done["forks"] += 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # which 3.12 gives: there are threads
        child = os.fork()
    if not child:
        signal.alarm(int(HANGS))
        os._exit(_in_child(world))
    until = time.monotonic() + HANGS + 2
    while time.monotonic() < until:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            if status:
                world.unexpected.append(f"a forked child ended with {status}")
            return
        time.sleep(0.02)
    world.unexpected.append("a forked child hangs")


def _in_child(world: World) -> int:
    try:
        with requests.Session() as session:
            session.auth = world.auth
            for _ in range(3):
                with suppress(requests.RequestException, PartnerAuthError):
                    session.get(world.url, timeout=TIMEOUT, stream=True).close()
    except BaseException:
        return 1
    return 0


ACTIONS = [
    *(rotate, rotate, rotate, store_fails, store_fails, partner_restarts, partner_misbehaves),
    *(partner_misbehaves, step_clock, cancel_threads, cancel_threads),
]


def _meddle(world: World, until: float) -> None:
    next_fork = time.monotonic() + 1
    while time.monotonic() < until:
        if time.monotonic() > next_fork:
            fork(world)
            next_fork = time.monotonic() + 2
        world.dice.choice(ACTIONS)(world)
        world.partner.clear()  # what it remembers is no leak of ours
        time.sleep(world.dice.uniform(0, 0.05))


# -- what is left


def _memory() -> float:
    """Return the resident memory in MiB."""
    gc.collect()
    with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123  its pathlib way allocates
        return int(file.read().split()[1]) * PAGE / 2**20


def _descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208  likewise


@contextmanager
def _quiet() -> Iterator[None]:
    """Log nothing: a thread that is killed in a handler would keep its lock."""
    log = logging.getLogger("partner_auth")
    log.propagate = False
    log.addHandler(logging.NullHandler())
    log.setLevel(logging.CRITICAL)
    yield


def soak(seconds: float, seed: int) -> tuple[World, dict[str, float]]:
    """Run for about so many seconds. Return the world and what was left of it."""
    with _quiet():
        threads, descriptors = threading.active_count(), _descriptors()
        world = World(seed)
        world.workers += [
            threading.Thread(
                target=_work,
                args=(world, work),
                name=("kill " if work in KILLED_AT_TIMES else "") + work.__name__,
                daemon=True,
            )
            for work in WORKERS
        ]
        for worker in world.workers:
            worker.start()
        began = time.monotonic()
        _meddle(world, began + seconds / 4)
        early = _memory()
        _meddle(world, began + seconds)
        late = _memory()
        world.is_over.set()
        hang = _joined(world.workers)
        if hang:
            faulthandler.dump_traceback(all_threads=True)
        right = _right_again(world)
        world.partner.close()
        _wait_until(lambda: threading.active_count() <= threads)
        gc.collect()
        return world, {
            "hanging workers": hang,
            "refused at the end": right,
            "threads left": threading.active_count() - threads,
            "descriptors left": _descriptors() - descriptors,
            "MiB more": late - early,
            "seconds": time.monotonic() - began,
        }


def _joined(workers: list[threading.Thread]) -> int:
    until = time.monotonic() + HANGS
    for worker in workers:
        worker.join(max(0.0, until - time.monotonic()))
    return sum(worker.is_alive() for worker in workers)


def _right_again(world: World) -> int:
    """Return how many of ten requests fail once all is well: none may."""
    world.clock.ahead = 0.0
    world.partner.store.set(world.partner.secret)
    time.sleep(2 * POLICY.cooldown)
    with requests.Session() as session:
        session.auth = world.auth
        answers = [session.get(world.url, timeout=TIMEOUT).status_code for _ in range(10)]
    return sum(status != 200 for status in answers)


def _wait_until(condition: Callable[[], bool], within: float = 5.0) -> None:
    until = time.monotonic() + within
    while not condition() and time.monotonic() < until:
        time.sleep(0.02)


def told(world: World, left: dict[str, float], seed: int) -> str:
    """Return the report."""
    total = sum(world.outcomes.values())
    rows: list[tuple[str, Any]] = [("seed", seed), ("requests", total)]
    rows += [("  a second", round(total / left["seconds"]))]
    rows += [(f"  {name}", count) for name, count in sorted(world.outcomes.items())]
    rows += [("longest, s", round(world.longest, 2))]
    rows += sorted(world.done.items())
    rows += [(f"events: {name}", count) for name, count in sorted(world.events.items())]
    rows += [(name, round(value, 1)) for name, value in left.items()]
    rows += [("unexpected", len(world.unexpected))]
    return "\n".join(f"{name:<36} {value:>10,}" for name, value in rows)


def faults(world: World, left: dict[str, float]) -> list[str]:
    """Return what may not be."""
    found = list(world.unexpected)
    names = ("hanging workers", "refused at the end", "threads left", "descriptors left")
    found += [f"{name}: {left[name]:g}" for name in names if left[name] > 0]
    if world.longest > HANGS:
        found.append(f"a request took {world.longest:.1f} s")
    return found


def main(argv: list[str] | None = None) -> int:
    """Run, report, and return 1 if something was wrong."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    arguments = parser.parse_args(argv)
    world, left = soak(arguments.seconds, arguments.seed)
    print(told(world, left, arguments.seed))
    wrong = faults(world, left)
    print(*wrong, sep="\n", file=sys.stderr)
    return int(bool(wrong))


if __name__ == "__main__":
    raise SystemExit(main())
