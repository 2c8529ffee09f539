"""A world on virtual time: one event loop whose clock jumps, a store read in real threads, and a partner.

The real `PartnerAuth` and the real `httpx.AsyncClient` run in it; only time, the network and the
store are made up, so that ten minutes take seconds and every run gives the same figures.
"""

from __future__ import annotations

import asyncio
import base64
import json
import random
import selectors
import threading
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import httpx

from partner_auth import Credential, PartnerAuth, RefreshPolicy

EPOCH = 1_800_000_000.0
URL = "https://api.partner.example"


class _JumpingSelector(selectors.DefaultSelector):
    """Instead of sleeping, move the loop's time on, unless a reading thread is at work."""

    def __init__(self) -> None:
        super().__init__()
        self.time = 1000.0
        self.asleep = 0

    def select(self, timeout: float | None = None) -> list[Any]:
        while True:
            ready = super().select(0)
            if ready or timeout == 0:
                return ready
            readers = sum(t.name == "partner_auth-read" for t in threading.enumerate())
            if readers > self.asleep or timeout is None:
                ready = super().select(0.0005)
                if ready:
                    return ready
                continue
            ready = super().select(0)  # what the last of them said before it ended
            if ready:
                return ready
            self.time += timeout
            return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop on virtual time; also the `clock=` of what runs in it."""

    def __init__(self) -> None:
        self.selector = _JumpingSelector()
        super().__init__(self.selector)

    def time(self) -> float:
        return self.selector.time

    def monotonic(self) -> float:
        return self.time()

    def now(self) -> float:
        return EPOCH + self.time()

    def sleep_in_thread(self, seconds: float) -> None:
        woken = threading.Event()

        def wake() -> None:
            self.selector.asleep -= 1
            woken.set()

        self.call_soon_threadsafe(self.call_later, seconds, wake)
        self.selector.asleep += 1
        woken.wait()


@dataclass
class Store:
    """What the store holds now; a read takes `takes` seconds."""

    loop: VirtualLoop
    current: str = "old"
    others: tuple[str, ...] = ()
    takes: float = 0.02
    reads: int = 0
    alternate_reads: int = 0

    def __repr__(self) -> str:
        return "Store()"

    def _credential(self, version: str) -> Credential:
        return Credential("acme", version * 16, version=version)

    def fetch(self) -> Credential:
        self.reads += 1
        self.loop.sleep_in_thread(self.takes / 2)
        current = self.current
        self.loop.sleep_in_thread(self.takes / 2)
        return self._credential(current)

    def alternates(self) -> list[Credential]:
        self.alternate_reads += 1
        others = self.others
        if others:
            self.loop.sleep_in_thread(self.takes)
        return [self._credential(version) for version in others]


@dataclass
class Partner(httpx.AsyncBaseTransport):
    """Accepts what its nodes accept; answers within `takes` seconds."""

    nodes: list[set[str]] = field(default_factory=lambda: [{"old"}])
    takes: float = 0.05
    forbidden: str = "/forbidden"
    slow: Callable[[httpx.Request, str], float] | None = None
    sends: int = 0
    dice: random.Random = field(default_factory=lambda: random.Random(7))
    now: Callable[[], float] = lambda: 0.0
    by_host: dict[str, list[set[str]]] = field(default_factory=dict)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.sends += 1
        version = secret_of(request)
        takes = self.slow(request, version) if self.slow else self.takes
        await asyncio.sleep(takes / 2)
        nodes = self.by_host.get(request.url.host, self.nodes)
        accepted = version in self.dice.choice(nodes) and request.url.path != self.forbidden
        await asyncio.sleep(takes / 2)
        return httpx.Response(200 if accepted else 401, request=request)


def secret_of(request: httpx.Request) -> str:
    """Return which secret a request's token was signed with."""
    payload = request.headers["Authorization"].split(".")[1]
    return str(json.loads(base64.urlsafe_b64decode(payload + "=="))["v"])


@dataclass
class Outcome:
    """One request as its caller saw it."""

    at: float
    took: float
    status: int
    path: str


@dataclass
class World:
    """One run: the parts, and what came of it."""

    loop: VirtualLoop
    store: Store
    partner: Partner
    auth: PartnerAuth
    client: httpx.AsyncClient
    outcomes: list[Outcome] = field(default_factory=list)

    async def request(
        self, path: str = "/portfolio", *, one_shot: bool = False, host: str = URL
    ) -> int:
        began = self.loop.time()

        async def body() -> Any:
            yield b"once"

        try:
            sent = self.client.build_request(
                "POST", host + path, content=body() if one_shot else b""
            )
            status = (await self.client.send(sent)).status_code
        except httpx.HTTPError:
            status = 599
        self.outcomes.append(Outcome(began, self.loop.time() - began, status, path))
        return status

    async def traffic(
        self, rate: float, seconds: float, make: Callable[[int], Awaitable[int]] | None = None
    ) -> None:
        """Send `rate` requests a second, at even distances, whatever becomes of them."""
        tasks = []
        for number in range(int(rate * seconds)):
            tasks.append(asyncio.ensure_future(make(number) if make else self.request()))
            await asyncio.sleep(1 / rate)
        await asyncio.gather(*tasks)

    def at(self, seconds: float, change: Callable[[], object]) -> None:
        """Have something change after so many seconds."""
        self.loop.call_later(seconds, change)

    def another_client(self) -> tuple[PartnerAuth, httpx.AsyncClient]:
        """Make what another process would make."""
        return made(self.loop, self.store, self.partner)

    @property
    def failures(self) -> list[Outcome]:
        return [o for o in self.outcomes if o.status != 200 and o.path != self.partner.forbidden]

    @property
    def extra_sends(self) -> int:
        return self.partner.sends - len(self.outcomes)

    @property
    def longest(self) -> float:
        return max(o.took for o in self.outcomes)

    def right_after(self, moment: float) -> float:
        """Return how long after `moment` (of the loop) the last failure began."""
        late = [o.at + o.took - moment for o in self.failures]
        return max(late, default=0.0)


def run(
    play: Callable[[World], Awaitable[object]],
    *,
    others: Iterable[str] = (),
    policy: RefreshPolicy | None = None,
    store_takes: float = 0.02,
) -> World:
    """Play a scenario on a world of its own."""
    loop = VirtualLoop()
    store = Store(loop, others=tuple(others), takes=store_takes)
    partner = Partner()

    async def main() -> World:
        auth, client = made(loop, store, partner, policy)
        async with client:
            world = World(loop, store, partner, auth, client)
            await world.request()
            world.outcomes.clear()
            partner.sends = store.reads = store.alternate_reads = 0
            await play(world)
        return world

    try:
        return loop.run_until_complete(main())
    finally:
        loop.close()


def made(
    loop: VirtualLoop, store: Store, partner: Partner, policy: RefreshPolicy | None = None
) -> tuple[PartnerAuth, httpx.AsyncClient]:
    """Make what a process makes at its start."""
    auth = PartnerAuth(
        store,
        origins=[URL, "https://other.partner.example"],
        claims=lambda credential: {"v": credential.version},
        refresh=policy or RefreshPolicy(jitter=0),
        clock=loop,
    )
    limits = httpx.Limits(max_connections=None)
    return auth, httpx.AsyncClient(auth=auth, transport=partner, limits=limits, timeout=None)  # noqa: S113  virtual time
