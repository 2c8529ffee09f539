"""Crowds of requests that are all answered at one moment, and what came of them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import ssl
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import httpx2
import requests
import trio

import partner_auth

PACKAGE = Path(partner_auth.__file__).parent.parent
PATIENCE = 30.0
POOL = 50
NO_TLS = ssl.create_default_context()  # to read the CAs takes longer than a storm


class Partner:
    """`gated_partner.py`, which is told what to do a line at a time."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, Path(__file__).with_name("gated_partner.py")],
            env=os.environ | {"PYTHONPATH": str(PACKAGE), "PYTHONSAFEPATH": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.url: str = self._read()

    def ask(self, verb: str, *arguments: Any) -> Any:
        """Have it do one thing, and wait until that is done."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([verb, *arguments]) + "\n")
        self._process.stdin.flush()
        return self._read()

    def close(self) -> None:
        """End it."""
        self._process.communicate(timeout=PATIENCE)

    def _read(self) -> Any:
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())


class Storm(NamedTuple):
    """What came of a crowd: statuses or errors, and how many times each request arrived."""

    outcomes: Counter[Any]
    sends: dict[str, int]

    @property
    def extra_sends(self) -> int:
        """How many sends there were beyond one for each request."""
        return sum(self.sends.values()) - len(self.sends)


Outcomes = list[Any]


@contextlib.asynccontextmanager
async def clients(auth: Any, urls: list[str]) -> AsyncIterator[list[tuple[Any, str]]]:
    """Give each URL a client: the time of httpx2's pool grows with the square of its size."""
    limits = httpx2.Limits(max_connections=None, max_keepalive_connections=None)
    async with contextlib.AsyncExitStack() as stack:
        made = []
        for _ in range(0, len(urls), POOL):
            client = httpx2.AsyncClient(auth=auth, timeout=PATIENCE, limits=limits, verify=NO_TLS)
            made.append(await stack.enter_async_context(client))
        yield [(made[number // POOL], url) for number, url in enumerate(urls)]


async def one(client: httpx2.AsyncClient, url: str, outcomes: Outcomes) -> None:
    """Send one request."""
    try:
        outcomes.append((await client.get(url)).status_code)
    except Exception as error:
        outcomes.append(repr(error))


def in_asyncio(urls: list[str], auth: Any, outcomes: Outcomes) -> None:
    """Send them all in one asyncio loop."""

    async def run() -> None:
        async with clients(auth, urls) as sending:
            await asyncio.gather(*(one(client, url, outcomes) for client, url in sending))

    asyncio.run(run())


def in_trio(urls: list[str], auth: Any, outcomes: Outcomes) -> None:
    """Send them all in one trio loop."""

    async def run() -> None:
        async with clients(auth, urls) as sending, trio.open_nursery() as nursery:
            for client, url in sending:
                nursery.start_soon(one, client, url, outcomes)

    trio.run(run)


def in_threads(urls: list[str], auth: Any, outcomes: Outcomes) -> None:
    """Send each in a thread of its own with requests."""

    def send(url: str) -> None:
        with requests.Session() as session:
            session.auth = auth
            try:
                outcomes.append(session.get(url, timeout=PATIENCE).status_code)
            except Exception as error:
                outcomes.append(repr(error))

    join(threading.Thread(target=send, args=(url,), daemon=True) for url in urls)


def in_all(urls: list[str], auth: Any, outcomes: Outcomes) -> None:
    """Send a third in asyncio, a third in trio and a third in threads, at once."""
    join(
        threading.Thread(target=world, args=(urls[start::3], auth, outcomes), daemon=True)
        for start, world in enumerate([in_asyncio, in_trio, in_threads])
    )


def join(threads: Iterable[threading.Thread]) -> None:
    """Run them all to their ends."""
    started = list(threads)
    for thread in started:
        thread.start()
    for thread in started:
        thread.join(PATIENCE)
    assert not any(thread.is_alive() for thread in started), "a caller hangs"


def storm(world: Callable[..., None], partner: Partner, count: int, auth: Any) -> Storm:
    """Send so many requests and answer them all at one moment."""
    outcomes: Outcomes = []
    urls = [f"{partner.url}/portfolio?n={number}" for number in range(count)]
    partner.ask("gather")
    gate = threading.Thread(target=partner.ask, args=("let_go", count))
    gate.start()
    world(urls, auth, outcomes)
    gate.join()
    return Storm(Counter(outcomes), partner.ask("sends"))
