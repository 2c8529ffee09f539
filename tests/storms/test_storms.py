"""Crowds that are refused at one moment: how often the store is read, and what is sent again."""

from __future__ import annotations

import asyncio
import math
import time

import httpx2
import pytest

from partner_auth import PartnerAuth
from partner_auth.testing import MemoryStore
from tests.storms.kit import Partner, in_all, in_asyncio, in_threads, in_trio, storm

OLD, NEW = "old" * 20, "new" * 20
STORE_TAKES = 0.2
ORIGIN = "https://api.partner.example"

WORLDS = {
    "1,000 coroutines": (in_asyncio, 1_000),
    "200 threads": (in_threads, 200),
    "150 of trio": (in_trio, 150),
    "450 in all three": (in_all, 450),
}
EVERYWHERE = pytest.mark.parametrize(("world", "count"), WORLDS.values(), ids=WORLDS)


@pytest.fixture(scope="module")
def partner():
    """A partner in a process of its own."""
    partner = Partner()
    yield partner
    partner.close()


@pytest.fixture
def store():
    """A slow store with the old secret."""
    return MemoryStore("acme", OLD)


@pytest.fixture
def auth(partner, store):
    """An object that holds the old secret, which the partner has stopped to accept."""
    auth = PartnerAuth(store, origins=partner.url)
    auth.token()
    store.delay(STORE_TAKES)
    partner.ask("accept", NEW)
    return auth


@EVERYWHERE
def test_a_crowd_is_mended_by_one_read(partner, store, auth, world, count):
    """The store has moved: one read for all, two sends each, and nobody is lost."""
    store.set(NEW)
    came = storm(world, partner, count, auth)
    assert came.outcomes == {200: count}
    assert store.reads - 1 == 1
    assert set(came.sends.values()) == {2}


@pytest.mark.parametrize(
    ("world", "count"),
    [(in_asyncio, 200), (in_threads, 100)],
    ids=["200 coroutines", "100 threads"],
)
def test_a_crowd_that_nothing_can_mend_is_cheap(partner, store, auth, world, count):
    """The store has not moved: few try, the others hear of it, and all get their 401.

    Few enough that a busy machine answers all within the second after which each tries itself;
    `benchmarks.figures` has thousands, on virtual time.
    """
    came = storm(world, partner, count, auth)
    assert came.outcomes == {401: count}
    assert store.reads - 1 <= 25
    assert came.extra_sends <= 50


@pytest.mark.parametrize(
    ("world", "count"),
    [(in_asyncio, 400), (in_threads, 200)],
    ids=["400 coroutines", "200 threads"],
)
def test_a_crowd_is_mended_by_the_pending_secret(partner, store, auth, world, count):
    """The partner is first: some find the pending secret, and all the others go on with it."""
    store.pending = NEW
    came = storm(world, partner, count, auth)
    assert came.outcomes == {200: count}
    assert store.reads - 1 <= 4
    assert came.extra_sends <= count * (2.5 + 1)
    assert max(came.sends.values()) <= 4


def test_a_crowd_does_not_hold_up_its_loop():
    """While a hundred wait for the store the loop lives, and no turn of it takes them 50 ms.

    Without a client, whose own share is ten times as large; in time of this thread, since what
    other programs take of the machine says nothing.
    """
    assert max(asyncio.run(turns_of_a_loop(100))) < 0.05


async def turns_of_a_loop(count):
    """Have so many refused at once, with a store that answers after 20 turns; return their times."""
    store = MemoryStore("acme", OLD)
    auth = PartnerAuth(store, origins=ORIGIN)
    await auth.atoken()
    store.set(NEW)
    store.delay(math.inf)
    refused, turns = asyncio.Event(), []

    async def request():
        request = httpx2.Request("GET", f"{ORIGIN}/portfolio")
        flow = auth.async_auth_flow(request)
        await anext(flow)
        await refused.wait()
        await flow.asend(httpx2.Response(401, request=request))
        with pytest.raises(StopAsyncIteration):
            await flow.asend(httpx2.Response(200, request=request))

    async def tick():
        while True:
            began = time.thread_time()
            await asyncio.sleep(0.002)
            turns.append(time.thread_time() - began)
            if len(turns) == 20:
                store.release()

    requests = [asyncio.create_task(request()) for _ in range(count)]
    await asyncio.sleep(0)
    ticking = asyncio.create_task(tick())
    await asyncio.sleep(0)
    refused.set()
    await asyncio.gather(*requests)
    ticking.cancel()
    assert store.reads == 2
    return turns
