"""uvloop in place of asyncio's own loop."""

import asyncio

import uvloop

from partner_auth import Credential
from tests.concurrency.kit import FOREVER, OLD, exact, signer_of


def test_a_crowd_shares_one_read_on_uvloop(store):
    """A thousand tasks of uvloop are one read."""
    store.delay(0.1)
    auth = exact(store)

    async def main():
        return await asyncio.gather(*(auth.atoken() for _ in range(1000)))

    assert {signer_of(token) for token in set(uvloop.run(main()))} == {OLD}
    assert store.reads == 1


def test_a_cancelled_waiter_disturbs_nobody_on_uvloop(store):
    """One task goes, the others get their token."""
    store.delay(FOREVER)
    auth = exact(store)

    async def main():
        tasks = [asyncio.create_task(auth.atoken()) for _ in range(10)]
        await asyncio.sleep(0.02)
        tasks[0].cancel()
        store.release()
        return await asyncio.gather(*tasks, return_exceptions=True)

    first, *others = uvloop.run(main())
    assert isinstance(first, asyncio.CancelledError)
    assert {signer_of(token) for token in others} == {OLD}


def test_a_coroutine_source_beside_uvloop():
    """A source's private loop is none of uvloop's business."""

    async def fetch():
        await asyncio.sleep(0.01)
        return Credential("acme", OLD)

    assert signer_of(uvloop.run(exact(fetch).atoken())) == OLD
