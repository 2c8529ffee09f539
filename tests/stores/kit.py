"""Traffic that flows while a test does things to the store, and what its callers saw."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple, Self

import httpx
import requests

from partner_auth import PartnerAuth, RefreshPolicy
from partner_auth.events import Event, RequestResent
from partner_auth.testing import PartnerServer

THREADS = TASKS = 3
PAUSE = (
    0.004  # seconds between two requests of a worker, so that eight of them leave time for all else
)
PATIENCE = 15.0


class Outcome(NamedTuple):
    """One request as its caller saw it: a status or the name of an error; `took` is seconds."""

    what: int | str
    took: float


class Traffic:
    """Threads with requests and an event loop with httpx, on one object, while a block runs."""

    def __init__(self, partner: PartnerServer, source: Any, policy: RefreshPolicy) -> None:
        self.url = f"{partner.url}/portfolio"
        self.events: list[Event] = []
        self.auth = partner.auth(source=source, refresh=policy, on_event=self.events.append)
        self.outcomes: list[Outcome] = []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._in_thread) for _ in range(THREADS)]
        self._threads.append(threading.Thread(target=lambda: asyncio.run(self._in_loop())))

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(PATIENCE)
        assert not any(thread.is_alive() for thread in self._threads), "a caller hangs"

    def flow(self, count: int = 30) -> list[Outcome]:
        """Let the traffic go on for a while; return what came of the requests that ended in it."""
        before = len(self.outcomes)
        eventually(lambda: len(self.outcomes) >= before + count)
        return self.outcomes[before:]

    @property
    def failures(self) -> Counter[int | str]:
        """What else than a 200 came, and how often."""
        return failures(self.outcomes)

    @property
    def most_sends(self) -> int:
        """How many times a request was sent at most."""
        resent = [event.sends for event in self.events if isinstance(event, RequestResent)]
        return max(resent, default=1)

    def _in_thread(self) -> None:
        with requests.Session() as session:
            session.auth = self.auth
            while not self._stop.wait(PAUSE):
                began = time.monotonic()
                try:
                    what: int | str = session.get(self.url, timeout=10).status_code
                except Exception as error:
                    what = type(error).__name__
                self.outcomes.append(Outcome(what, time.monotonic() - began))

    async def _in_loop(self) -> None:
        async with httpx.AsyncClient(auth=self.auth, timeout=10) as client:
            await asyncio.gather(*(self._in_task(client) for _ in range(TASKS)))

    async def _in_task(self, client: httpx.AsyncClient) -> None:
        while not self._stop.is_set():
            await asyncio.sleep(PAUSE)
            began = time.monotonic()
            try:
                what: int | str = (await client.get(self.url)).status_code
            except Exception as error:
                what = type(error).__name__
            self.outcomes.append(Outcome(what, time.monotonic() - began))


def failures(outcomes: list[Outcome]) -> Counter[int | str]:
    """Return what else than a 200 came, and how often."""
    return Counter(outcome.what for outcome in outcomes if outcome.what != 200)


def eventually(condition: Callable[[], Any], within: float = PATIENCE) -> Any:
    """Wait until a condition holds that others bring about; return what it said."""
    until = time.monotonic() + within
    for wait in itertools.chain([0.001] * 5, itertools.repeat(0.005)):
        if said := condition():
            return said
        assert time.monotonic() < until, f"not within {within} s"
        time.sleep(wait)
    return None


def policy(**given: float) -> RefreshPolicy:
    """Read the store again and again, and try soon after a failure."""
    often = {"fresh_for": 0.1, "jitter": 0.0, "backoff": 0.1, "backoff_max": 0.2, "cooldown": 0.2}
    return RefreshPolicy(**(often | given))


SELDOM = {"fresh_for": 900.0}  # only a 401 makes it read the store


def tells(auth: PartnerAuth, word: str) -> Callable[[], bool]:
    """Return a condition: the last error that `status()` tells has this word."""
    return lambda: word in (auth.status().last_error or "")


def is_well(auth: PartnerAuth) -> bool:
    """Whether the last read was one that brought a credential."""
    return auth.status().last_error is None
