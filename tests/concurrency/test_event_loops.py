"""Event loops: none is blocked by a store, and a source may be a coroutine function."""

import asyncio
import gc
import os
import ssl
import subprocess
import sys
import threading
import time
import weakref
from pathlib import Path

import anyio
import httpx
import pytest
import trio

import partner_auth
from partner_auth import ConfigurationError, Credential
from partner_auth._clock import SystemClock
from partner_auth._flight import Flight, Wait, adrive, await_, drive, wait, within
from tests.concurrency.kit import (
    FOREVER,
    NEW,
    OLD,
    eventually,
    exact,
    failure,
    signer_of,
)


def run_trio(awaitable):
    """Run an awaitable in trio, as `asyncio.run` does in asyncio."""

    async def main():
        return await awaitable

    return trio.run(main)


LOOPS = pytest.mark.parametrize("run", [asyncio.run, run_trio], ids=["asyncio", "trio"])


async def called(call):
    """Call something on a running loop."""
    return call()


@LOOPS
@pytest.mark.parametrize(("verb", "named"), [("token", "atoken()"), ("refresh", "arefresh()")])
def test_what_would_block_a_loop_is_an_error(store, run, verb, named):
    """On a running loop the blocking form names the other one, where it would have to wait."""
    store.delay(FOREVER)
    auth = exact(store)
    error = failure(run, called(getattr(auth, verb)))
    assert type(error) is ConfigurationError
    assert named in str(error)


def test_trio_is_seen_where_nobody_has_loaded_asyncio():
    """Which trio itself does not."""
    program = """
import sys, trio
from partner_auth import ConfigurationError, PartnerAuth
from partner_auth.testing import MemoryStore

async def main():
    try:
        PartnerAuth(MemoryStore("acme", "k" * 40)).token()
    except ConfigurationError as error:
        print("atoken()" in str(error), "asyncio" in sys.modules)

trio.run(main)
"""
    ended = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"PYTHONPATH": str(Path(partner_auth.__file__).parents[1])},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (ended.stdout, ended.stderr) == ("True False\n", "")


@LOOPS
def test_the_refused_call_has_begun_the_read(store, run):
    """What could not be waited for is there for the next one."""
    auth = exact(store)
    failure(run, called(auth.token))
    eventually(lambda: auth.status().state == "fresh")
    assert (signer_of(run(called(auth.token))), store.reads) == (OLD, 1)


@LOOPS
@pytest.mark.parametrize("seconds", [0, 901], ids=["fresh", "stale"])
def test_a_token_that_is_held_blocks_no_loop(store, clock, run, seconds):
    """Where nothing has to be waited for, `token()` works on a loop too."""
    auth = exact(store, clock)
    auth.token()
    clock.advance(seconds)
    assert signer_of(run(called(auth.token))) == OLD


@LOOPS
def test_a_wait_tells_whether_its_flight_has_ended(run):
    """Or whether its time was up."""

    async def waits():
        flight = Flight()
        first = await await_(Wait(flight, 0.0), SystemClock())
        threading.Timer(0.01, flight.end).start()
        return first, await await_(Wait(flight, 10.0), SystemClock())

    assert run(waits()) == (False, True)


def test_a_wait_in_a_thread_tells_the_same():
    """Also one that has no time left, or is for what has ended."""
    flight = Flight()
    before = wait(Wait(flight, 0.0), SystemClock())
    flight.end()
    assert (before, wait(Wait(flight, 10.0), SystemClock())) == (False, True)


@pytest.mark.parametrize(
    "driven", [drive, lambda *args: asyncio.run(adrive(*args))], ids=["thread", "task"]
)
def test_steps_are_closed_when_a_wait_breaks(driven):
    """At once, though whoever keeps the error keeps the frames: others wait for what they hold."""

    class Broken(SystemClock):
        def wait(self, *_args, **_options):
            raise ZeroDivisionError

    closed = []

    def steps():
        try:
            yield Wait(Flight(), 0.0)
        finally:
            closed.append(True)

    error = failure(driven, steps(), Broken())
    assert (type(error), closed) == (ZeroDivisionError, [True])


@LOOPS
def test_work_that_is_done_in_time_brings_its_result(run):
    """What has the time it needs is not disturbed."""

    async def work():
        await anyio.sleep(0.001)
        return "done"

    assert run(within(work(), 10.0)) == "done"


@LOOPS
@pytest.mark.parametrize("seconds", [0.0, -1.0])
def test_work_that_has_no_time_left_is_broken_off(run, seconds):
    """At its first wait, by the error of the loop's own kind."""
    error = failure(run, within(anyio.sleep(0.5), seconds))
    assert type(error) in (TimeoutError, trio.TooSlowError)


def test_a_wait_leaves_no_timer_in_the_loop(store):
    """The deadline of a read that has landed is of no interest any more."""
    timers = []

    async def main():
        loop = asyncio.get_running_loop()
        call_later = loop.call_later

        def noted(*args, **options):
            timers.append(call_later(*args, **options))
            return timers[-1]

        loop.call_later = noted
        await exact(store).atoken()

    asyncio.run(main())
    assert [timer.cancelled() for timer in timers] == [True]


def test_a_loop_that_has_left_is_not_kept_by_the_read(store):
    """Whoever cancels a wait for a store that hangs can be forgotten, loop and all."""
    store.delay(FOREVER)
    auth = exact(store)
    loops = []

    async def leave():
        loops.append(weakref.ref(asyncio.get_running_loop()))
        await asyncio.wait_for(auth.atoken(), 0.01)

    failure(asyncio.run, leave())
    gc.collect()
    assert loops[0]() is None


@LOOPS
def test_refresh_without_waiting_is_fine_on_a_loop(store, run):
    """`refresh(wait=False)` only starts the read."""
    auth = exact(store)
    auth.token()
    store.set(NEW)
    run(called(lambda: auth.refresh(wait=False)))
    eventually(lambda: signer_of(auth.token()) == NEW)


def lag_of(run, work):
    """Return the longest that a loop at work let a task wait that wants to sleep for 2 ms."""
    lags = []

    async def beat():
        while True:
            began = time.monotonic()
            await anyio.sleep(0.002)
            lags.append(time.monotonic() - began - 0.002)

    async def main():
        async with anyio.create_task_group() as group:
            group.start_soon(beat)
            await anyio.sleep(0.01)
            await work()
            group.cancel_scope.cancel()

    run(main())
    return max(lags)


def least_lag_of(run, work):
    """Try six times: a busy machine is slow now and then, a blocked loop each time."""
    lags = []
    while len(lags) < 6 and not (lags and min(lags) < 0.05):
        lags.append(lag_of(run, work))
    return min(lags)


@LOOPS
def test_a_slow_store_blocks_no_loop(store, run):
    """While the store takes its time every other task has its turn within 50 ms."""
    store.delay(0.4)
    assert least_lag_of(run, lambda: exact(store).atoken()) < 0.05


@LOOPS
def test_a_slow_store_at_a_401_blocks_no_loop(partner_server, run):
    """Nor while a request is mended: a rotation, and a store that is slow."""
    auth = partner_server.auth()
    auth.token()
    partner_server.store.delay(0.4)
    context = ssl.create_default_context()  # 20 ms, none of which are ours

    async def ask():
        async with httpx.AsyncClient(auth=auth, verify=context) as client:
            partner_server.rotate()
            assert (await client.get(f"{partner_server.url}/portfolio")).status_code == 200

    assert least_lag_of(run, ask) < 0.05


# -- sources that are coroutine functions


async def fetch():
    """A source as a coroutine function."""
    await asyncio.sleep(0.01)
    return Credential("acme", OLD)


class Awaitable:
    """A source whose every verb is a coroutine function."""

    def __init__(self):
        self.loops = []

    async def fetch(self):
        self.loops.append(asyncio.get_running_loop())
        await asyncio.sleep(0.01)
        return Credential("acme", OLD)

    async def fetch_fresh(self):
        await asyncio.sleep(0.01)
        return Credential("acme", NEW)


def test_a_coroutine_function_is_a_source():
    """A thread that asks for a token waits for the source's coroutine."""
    assert signer_of(exact(fetch).token()) == OLD


@LOOPS
def test_a_coroutine_function_is_a_source_for_any_loop(run):
    """It runs to its end in a private loop of asyncio, whatever the caller's is."""
    source = Awaitable()
    auth = exact(source)

    async def main():
        return await auth.atoken()

    assert signer_of(run(main())) == OLD
    assert source.loops[0].is_closed()


def test_each_read_has_a_loop_of_its_own():
    """A source sees a new loop each time: it must not keep a session of the last one."""
    source = Awaitable()
    auth = exact(source)
    auth.token()
    auth.refresh()
    assert signer_of(auth.token()) == NEW


def test_an_awaitable_runs_in_the_reading_thread():
    """A source's coroutine that blocks holds up its reader alone."""
    threads = []

    async def source():
        threads.append(threading.current_thread())
        return Credential("acme", OLD)

    exact(source).token()
    assert threads[0].name == "partner_auth-read"
    assert threads[0].daemon


def test_one_object_serves_many_loops_in_turn(store):
    """Nothing of one loop is kept for the next."""
    auth = exact(store)
    for _ in range(3):
        asyncio.run(auth.arefresh())
        trio.run(auth.arefresh)
    assert signer_of(asyncio.run(auth.atoken())) == OLD
    assert store.reads == 6
