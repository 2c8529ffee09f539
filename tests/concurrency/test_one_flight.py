"""One read, and all who wait for it: threads, asyncio and trio, at once on one object."""

import _thread
import asyncio
import ctypes
import sys
import threading
import time

import httpx
import pytest
import trio

from partner_auth import Credential, PartnerAuth, SourceRejected, SourceUnavailable
from partner_auth.testing import Clock, MemoryStore
from tests.concurrency.kit import (
    DOWN,
    FOREVER,
    NEW,
    OLD,
    eventually,
    exact,
    failure,
    in_threads,
    quiet,
    readers,
    signer_of,
)


async def outcome(auth):
    """Return the token, or what was raised."""
    try:
        return await auth.atoken()
    except Exception as error:
        return error


def in_asyncio(count, auth):
    """Ask for a token in many tasks of one loop at once."""

    async def run():
        return await asyncio.gather(*(outcome(auth) for _ in range(count)))

    return asyncio.run(run())


def in_trio(count, auth):
    """Ask for a token in many tasks of trio at once."""
    results = []

    async def one():
        results.append(await outcome(auth))

    async def run():
        async with trio.open_nursery() as nursery:
            for _ in range(count):
                nursery.start_soon(one)

    trio.run(run)
    return results


def in_all(count, auth):
    """Ask for a token in asyncio, trio and threads at once."""
    results = []
    worlds = [in_asyncio, in_trio, lambda n, auth: in_threads(n, auth.token)]
    threads = [
        threading.Thread(target=lambda w=world: results.extend(w(count // 3, auth)), daemon=True)
        for world in worlds
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    return results


CROWDS = pytest.mark.parametrize(
    ("crowd", "count"),
    [
        (in_asyncio, 1000),
        (in_trio, 500),
        (lambda count, auth: in_threads(count, auth.token), 200),
        (in_all, 600),
    ],
    ids=["asyncio", "trio", "threads", "all at once"],
)


@CROWDS
def test_a_crowd_shares_one_read(store, crowd, count):
    """However many ask at once, and in whichever world, the store is read once."""
    store.delay(0.3)
    tokens = crowd(count, exact(store))
    assert len(tokens) == count
    assert {signer_of(token) for token in set(tokens)} == {OLD}
    assert store.reads == 1


@CROWDS
def test_a_crowd_fails_together_with_an_error_each(store, crowd, count):
    """A read that fails is one read, and an exception object for each who waited."""
    store.fail(DOWN)
    store.delay(0.3)
    errors = crowd(count, exact(store))
    assert {(type(error), str(error)) for error in errors} == {(SourceUnavailable, str(DOWN))}
    assert len({id(error) for error in errors}) == count
    assert store.reads == 1


@pytest.mark.parametrize("crowd", [in_asyncio, in_trio])
def test_tasks_wait_without_a_thread_each(crowd):
    """A thousand tasks and one read are two threads."""
    seen = []

    class Counting:
        def fetch(self):
            time.sleep(0.1)
            seen.append(threading.active_count())
            return Credential("acme", OLD)

    quiet()
    before = threading.active_count()
    crowd(1000, exact(Counting()))
    assert seen == [before + 1]


def test_a_crowd_is_awake_soon_after_the_read():
    """A thousand tasks have their token within a second of one read (40 ms on an idle machine)."""
    landed = []

    class Timed:
        def fetch(self):
            time.sleep(0.1)
            landed.append(time.monotonic())
            return Credential("acme", OLD)

    in_asyncio(1000, exact(Timed()))
    assert time.monotonic() - landed[0] < 1


def test_a_wait_leaves_no_timer_on_the_clock(store, clock):
    """The deadline of a read that has landed is of no interest any more."""
    exact(store, clock).token()
    assert clock.waiting == 0


def test_no_thread_lives_between_reads(store):
    """Once a read has landed nothing of it is left."""
    quiet()
    before = threading.active_count()
    auth = exact(store)
    auth.token()
    asyncio.run(auth.arefresh())
    quiet()
    assert threading.active_count() == before


# -- a waiter that leaves


def test_a_cancelled_asyncio_waiter_disturbs_nobody(store):
    """Cancelling waiters, the first one included, takes out those alone; the read lands."""
    store.delay(FOREVER)
    auth = exact(store)

    async def run():
        tasks = [asyncio.create_task(auth.atoken()) for _ in range(20)]
        await asyncio.to_thread(store.wait_for_reads, 1)
        for task in tasks[::2]:
            task.cancel()
        await asyncio.sleep(0)
        store.release()
        return await asyncio.gather(*tasks, return_exceptions=True)

    results = asyncio.run(run())
    assert all(isinstance(result, asyncio.CancelledError) for result in results[::2])
    assert {signer_of(result) for result in results[1::2]} == {OLD}
    assert store.reads == 1


def test_a_read_lands_though_everybody_left(store):
    """A caller with less patience than the store is served at the next try."""
    store.delay(FOREVER)
    auth = exact(store)

    async def impatient():
        await asyncio.wait_for(auth.atoken(), 0.02)

    for _ in range(3):
        assert isinstance(failure(asyncio.run, impatient()), TimeoutError)
    store.release()
    quiet()
    assert (signer_of(auth.token()), store.reads) == (OLD, 1)


def test_a_cancelled_trio_waiter_disturbs_nobody(store):
    """The same in trio."""
    store.delay(FOREVER)
    auth = exact(store)
    tokens = []

    async def patient():
        tokens.append(await auth.atoken())

    async def run():
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(patient)
            with trio.move_on_after(0.05) as scope:
                await auth.atoken()
            assert scope.cancelled_caught
            store.release()

    trio.run(run)
    assert ({signer_of(token) for token in tokens}, len(tokens), store.reads) == ({OLD}, 5, 1)


def test_a_loop_that_ends_disturbs_nobody(store):
    """A loop that is closed under its waiters is no trouble for the read nor for other loops."""
    store.delay(FOREVER)
    auth = exact(store)
    loop = asyncio.new_event_loop()
    task = loop.create_task(auth.atoken())
    loop.run_until_complete(asyncio.sleep(0.01))
    task.cancel()
    loop.run_until_complete(asyncio.gather(task, return_exceptions=True))
    loop.close()
    store.release()
    quiet()
    assert signer_of(asyncio.run(auth.atoken())) == OLD


def test_an_exception_thrown_into_a_waiting_thread_disturbs_nobody(store):
    """A thread that is interrupted while it waits goes alone."""
    store.delay(FOREVER)
    auth = exact(store)
    results = []
    threads = [
        threading.Thread(target=lambda: results.append(failure(auth.token)), daemon=True),
        threading.Thread(target=lambda: results.append(auth.token()), daemon=True),
    ]
    for thread in threads:
        thread.start()
    store.wait_for_reads(1)
    ident = ctypes.c_ulong(threads[0].ident)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ident, ctypes.py_object(ZeroDivisionError))
    store.release()
    for thread in threads:
        thread.join(5)
    assert {type(result) for result in results} == {ZeroDivisionError, str}
    assert store.reads == 1


# -- the deadline


def test_late_comers_share_the_deadline(store):
    """The deadline counts from the read's start: who comes later waits less."""
    store.delay(FOREVER)
    auth = exact(store, timeout=0.8)
    ends = []

    def caller():
        failure(auth.token)
        ends.append(time.monotonic())

    began = time.monotonic()
    threads = [threading.Thread(target=caller, daemon=True) for _ in range(3)]
    for thread in threads:
        thread.start()
        time.sleep(0.25)
    for thread in threads:
        thread.join(5)
    assert min(ends) - began >= 0.8
    assert max(ends) - began < 0.8 + 0.4
    assert store.reads == 1


def test_a_late_comer_waits_for_what_is_left_of_the_deadline(store, clock):
    """Though whoever began the read has left: the deadline is the read's, not a caller's."""
    store.delay(FOREVER)
    auth = exact(store, clock, timeout=10)

    async def leave():
        await asyncio.wait_for(auth.atoken(), 0.01)

    failure(asyncio.run, leave())
    clock.advance(9.9)
    began = time.monotonic()
    assert failure(auth.token).reason == "timeout"
    assert time.monotonic() - began < 2


def test_past_the_deadline_callers_fail_at_once(store, clock):
    """Who comes after the deadline of a read that hangs does not wait at all."""
    store.delay(FOREVER)
    auth = exact(store, clock, timeout=10)

    async def leave():
        await asyncio.wait_for(auth.atoken(), 0.01)

    failure(asyncio.run, leave())
    clock.advance(10)
    began = time.monotonic()
    assert failure(auth.token).reason == "timeout"
    assert time.monotonic() - began < 0.5


@pytest.mark.parametrize("move", ["advance", "suspend"])
def test_the_deadline_goes_by_either_clock(store, clock, move):
    """A machine that slept in the middle of a read has no use for that read."""
    store.delay(FOREVER)
    auth = exact(store, clock, timeout=10)

    async def leave():
        await asyncio.wait_for(auth.atoken(), 0.01)

    failure(asyncio.run, leave())
    getattr(clock, move)(10)
    began = time.monotonic()
    assert failure(auth.token).reason == "timeout"
    assert time.monotonic() - began < 1


def test_a_hung_store_never_hangs_a_test_with_one_thread(store, clock):
    """On a clock that nobody moves a wait ends by real time too."""
    store.delay(FOREVER)
    auth = exact(store, clock, timeout=0.1)
    began = time.monotonic()
    assert failure(auth.token).reason == "timeout"
    assert time.monotonic() - began < 1


def test_a_thread_that_begins_late_does_not_move_the_deadline(store, monkeypatch, caplog):
    """On a machine so busy that the reading thread begins late, callers still fail in time."""
    store.delay(FOREVER)

    class Late(threading.Thread):
        def run(self):
            time.sleep(0.9)
            super().run()

    monkeypatch.setattr(threading, "Thread", Late)
    began = time.monotonic()
    assert failure(exact(store, timeout=1.2).token).reason == "timeout"
    assert time.monotonic() - began < 1.5
    assert "uWSGI" not in caplog.text


# -- a read that is overdue


def overdue(store, **policy):
    """Make an object whose first read hangs and has been given up."""
    store.delay(FOREVER, times=1)
    auth = exact(store, timeout=0.05, backoff=0.01, **policy)
    assert failure(auth.token).reason == "timeout"
    time.sleep(0.01)
    return auth


def test_an_overdue_read_is_given_up_and_another_one_begins(store):
    """A read that hangs does not keep the next one from being made."""
    auth = overdue(store)
    assert (signer_of(auth.token()), store.reads) == (OLD, 2)
    eventually(lambda: len(readers()) == 1)


def test_a_late_answer_replaces_nothing_newer(store):
    """The answer of a read that was given up is dropped when a later one has landed."""
    auth = overdue(store)
    store.set(NEW)
    assert signer_of(auth.token()) == NEW
    store.release()
    quiet()
    assert signer_of(auth.token()) == NEW


def test_a_late_answer_is_better_than_none(store):
    """With nothing newer the late answer is used, and ends the pause."""
    auth = overdue(store, backoff_max=60)
    store.release()
    quiet()
    assert (auth.status().state, signer_of(auth.token()), store.reads) == ("fresh", OLD, 1)


def test_a_late_failure_changes_nothing(store):
    """What an overdue read fails with in the end is of no interest to anybody."""
    store.fail(SourceRejected("gone", reason="deleted"), times=1)
    auth = overdue(store)
    auth.token()
    store.release()
    quiet()
    assert (signer_of(auth.token()), auth.status().last_error) == (OLD, None)


def test_a_late_answer_does_not_undo_a_refusal(store):
    """What was read before the store said no is not used after it."""
    auth = overdue(store)
    store.fail(SourceRejected("gone", reason="deleted"))
    failure(auth.refresh)
    store.release()
    quiet()
    assert auth.status().state == "empty"
    assert type(failure(auth.token)) is SourceRejected


def all_hang(store, ended):
    """Wait until whoever is to read does so, but for those that have read."""
    eventually(lambda: len(readers()) == store.reads - ended)


def ask_for_long(auth, store, clock):
    """Ask for a token a dozen times, each after the deadline of a read that may have begun."""
    ended = store.reads
    for _ in range(12):
        assert signer_of(auth.token()) == OLD
        all_hang(store, ended)
        clock.advance(11)


def hanging(store, clock):
    """Make an object that has given up as many reads as it may."""
    auth = exact(store, clock, max_stale=9000, backoff_max=1)
    auth.token()
    store.delay(FOREVER)
    clock.advance(900)
    ask_for_long(auth, store, clock)
    return auth


def test_a_refresh_is_content_with_any_read_that_began_after_it():
    """Also with one that others began and ended while it waited for an older one."""

    class Agent:
        """A source behind a cache, which a refresh goes past."""

        def __init__(self):
            self.gate = threading.Event()
            self.fresh_reads = 0

        def fetch(self):
            self.gate.wait(5)
            return Credential("acme", OLD)

        def fetch_fresh(self):
            self.fresh_reads += 1
            return Credential("acme", OLD)

    async def run():
        agent = Agent()
        auth = exact(agent)
        tasks = [asyncio.ensure_future(auth.atoken()), asyncio.ensure_future(auth.arefresh())]
        await asyncio.sleep(0)  # both wait for `fetch`
        agent.gate.set()
        quiet()
        assert in_threads(1, auth.refresh) == [None]
        await asyncio.gather(*tasks)
        return agent.fresh_reads

    assert asyncio.run(run()) == 1


def test_at_most_four_reads_hang(store, clock):
    """A store that hangs for good costs four threads, and who must wait gets an error at once."""
    auth = hanging(store, clock)
    began = time.monotonic()
    assert failure(auth.refresh).reason == "timeout"
    assert time.monotonic() - began < 1
    assert (store.reads, len(readers())) == (5, 4)


def test_reads_go_on_once_those_that_hang_have_ended(store, clock):
    """Four that hang are counted while they do, and no longer."""
    auth = hanging(store, clock)
    store.release()
    quiet()
    store.set(NEW)
    auth.refresh()
    assert signer_of(auth.token()) == NEW


def test_no_more_than_four_hang_the_next_time(store, clock):
    """Those that hung and have ended are not counted, and nothing is owed for them."""
    auth = hanging(store, clock)
    store.release()
    quiet()
    store.delay(FOREVER)
    clock.advance(900)
    ask_for_long(auth, store, clock)
    assert len(readers()) == 4


# -- threads are dear


def test_no_more_than_32_threads_read(clock):
    """A hundred objects whose stores are read at once share 32 threads, and all are served."""
    seen = []

    class Slow:
        def fetch(self):
            time.sleep(0.02)
            seen.append(len(readers()))
            return Credential("acme", OLD)

    auths = [PartnerAuth(Slow()) for _ in range(100)]

    async def run():
        return await asyncio.gather(*(auth.atoken() for auth in auths))

    assert {signer_of(token) for token in asyncio.run(run())} == {OLD}
    assert len(seen) == 100
    assert 16 < max(seen) <= 32
    quiet()


def test_a_read_that_was_given_up_in_the_queue_is_never_made(store):
    """Nor does its caller make it in place: the threads are at work, which is no fault of theirs."""
    store.delay(FOREVER)
    crowd = [exact(store, timeout=5) for _ in range(32)]
    late = MemoryStore("acme", OLD)
    auth = exact(late, timeout=1.1)

    async def fill():
        tasks = [asyncio.create_task(one.atoken()) for one in crowd]
        await asyncio.to_thread(store.wait_for_reads, 32)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(fill())
    assert failure(auth.token).reason == "timeout"
    store.release()
    quiet()
    assert late.reads == 0


@pytest.fixture
def no_thread(monkeypatch):
    """Make the start of a thread fail, as at a limit or while the interpreter ends."""

    def start(_thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)


@pytest.mark.usefixtures("no_thread")
def test_where_no_thread_starts_the_caller_reads(store):
    """A caller that would wait reads in its own thread."""
    auth = exact(store)
    assert signer_of(auth.token()) == OLD
    store.set(NEW)
    auth.refresh()
    assert signer_of(auth.token()) == NEW


def test_a_late_failure_of_a_read_in_place_is_the_error_of_all_who_waited(
    store, clock, monkeypatch
):
    """The one who made it included: that it was not done in time."""
    auth = exact(store, clock, timeout=10)
    store.delay(FOREVER)
    store.fail(DOWN)
    begin, errors = threading.Event(), []

    def call():
        begin.wait(5)
        errors.append(failure(auth.token))

    caller = threading.Thread(target=call, daemon=True)
    caller.start()
    monkeypatch.setattr(threading.Thread, "start", refused)
    begin.set()
    store.wait_for_reads(1)
    clock.advance(10)
    errors.append(failure(auth.token))
    store.release()
    caller.join(5)
    assert [error.reason for error in errors] == ["timeout", "timeout"]


def test_where_no_thread_starts_stale_is_served(store, clock, monkeypatch):
    """A read behind a stale credential is not worth a caller's time."""
    auth = exact(store, clock)
    auth.token()
    quiet()
    clock.advance(901)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", lambda _: (_ for _ in ()).throw(RuntimeError()))
        assert signer_of(auth.token()) == OLD
    assert "no thread" in auth.status().last_error


def test_where_no_thread_starts_no_loop_is_blocked(store):
    """A task gets an error rather than a loop that stands still."""
    auth = exact(store)

    async def run():
        begin = threading.Thread.start
        threading.Thread.start = lambda _: (_ for _ in ()).throw(RuntimeError())
        try:
            return await outcome(auth)
        finally:
            threading.Thread.start = begin

    error = asyncio.run(run())
    assert (type(error), store.reads) == (SourceUnavailable, 0)
    assert "no thread" in str(error)


def test_where_no_thread_starts_for_the_alternates_there_are_none(monkeypatch):
    """That says nothing about the secret: no read of it has failed."""
    starts = [threading.Thread.start]  # for the read of the secret after the 401

    class Source:
        def fetch(self):
            return Credential("acme", OLD)

        def alternates(self):
            return [Credential("acme", NEW)]

    def start_one(thread):
        if not starts:
            raise RuntimeError("can't start new thread")
        starts.pop()(thread)

    async def run():
        async with httpx.AsyncClient(auth=auth, transport=refusing) as client:
            await client.get("https://api.partner.example/warm")
            monkeypatch.setattr(threading.Thread, "start", start_one)
            return await client.get("https://api.partner.example/refused")

    def answer(request):
        sent.append(signer_of(request.headers["Authorization"].removeprefix("Bearer ")))
        return httpx.Response(401 if request.url.path == "/refused" else 200)

    sent, refusing, auth = [], httpx.MockTransport(answer), exact(Source())
    assert asyncio.run(run()).status_code == 401
    assert (sent, auth.status().last_error) == ([OLD] * 3, None)


def test_a_thread_that_never_begins_is_replaced_by_its_caller(store, monkeypatch, caplog):
    """Under uWSGI without threads the read is made in place after a second, with one WARNING."""
    idle, start = [], threading.Thread.start

    def never(thread):
        idle.append(thread)

    monkeypatch.setattr(threading.Thread, "start", never)
    began = time.monotonic()
    assert signer_of(exact(store).token()) == OLD
    assert 1 <= time.monotonic() - began < 2
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    start(idle[0])  # at last: there is nothing left to do
    quiet()
    assert store.reads == 1


def test_a_thread_that_never_begins_is_not_replaced_past_the_deadline(store, monkeypatch, caplog):
    """Where the time is up within that second nobody reads in place, and nothing is said of uWSGI."""

    class Hasty(Clock):
        """Its waits are over as soon as they begin."""

        def wait(self, seconds, wake, *, busy):
            return super().wait(seconds, wake, busy=False)

    monkeypatch.setattr(threading.Thread, "start", lambda _thread: None)
    assert failure(exact(store, Hasty()).token).reason == "timeout"
    assert store.reads == 0
    assert "uWSGI" not in caplog.text


def test_a_thread_limit_does_not_use_up_the_32(store, monkeypatch):
    """Starts that failed are not counted as reading threads."""
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", lambda _: (_ for _ in ()).throw(RuntimeError()))
        for _ in range(40):
            exact(store).token()
    assert signer_of(exact(store).token()) == OLD
    eventually(lambda: not readers())


def test_a_storm_of_signals_is_no_storm_of_threads(store):
    """`refresh(wait=False)` while the store hangs: one thread waits to ask again, not one a call."""
    auth = exact(store)
    auth.token()
    quiet()
    store.delay(FOREVER)
    before = len(sys._current_frames())
    for _ in range(200):
        auth.refresh(wait=False)
        time.sleep(0.0005)
    assert len(sys._current_frames()) - before <= 3
    store.set(NEW)
    store.release()
    eventually(lambda: signer_of(auth.token()) == NEW)


def test_signals_start_no_thread_while_one_is_about_to_begin(store, monkeypatch):
    """What it begins is later than all of them."""
    starts = []
    monkeypatch.setattr(_thread, "start_new_thread", lambda *work: starts.append(work))
    auth = exact(store)
    for _ in range(3):
        auth.refresh(wait=False)
    assert len(starts) == 1


def test_a_signal_after_one_at_a_thread_limit_tries_again(store, monkeypatch):
    """The thread that could not be started is not about to begin."""
    auth = exact(store)
    with monkeypatch.context() as limit:
        limit.setattr(_thread, "start_new_thread", refused)
        auth.refresh(wait=False)
    auth.refresh(wait=False)
    store.wait_for_reads(1)


def test_a_signal_at_a_thread_limit_raises_nothing(store, monkeypatch):
    """A signal handler's `refresh(wait=False)` leaves it to the next request where no thread starts."""
    monkeypatch.setattr(_thread, "start_new_thread", refused)
    exact(store).refresh(wait=False)


def refused(*_args):
    """Stand for the start of a thread at a limit."""
    raise RuntimeError("can't start new thread")
