"""Something under way that ends once, and all who wait for it: threads, greenlets, asyncio and trio tasks.

The only place that waits. A waiter that is cancelled or times out takes itself out and disturbs nobody; one that wakes
is handed no result: it asks again. Names of `threading` are looked up at use, so that gevent may patch them before or
after the import.
"""

from __future__ import annotations

import contextvars
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple, TypeVar

from partner_auth._clock import Clock
from partner_auth._report import log

T = TypeVar("T")
MOST_THREADS = 32
_BEGINS_WITHIN = 1.0


class Flight:
    """A read, a verdict or a pause: it ends once, and wakes all who wait for it."""

    __slots__ = ("_lock", "_wakes", "over")

    def __init__(self) -> None:
        """Begin."""
        self._lock = threading.Lock()  # guards the two below, but for the end of a waiter
        self._wakes: dict[object, Callable[[], None]] = {}
        self.over = False

    def end(self) -> None:
        """Wake everybody; a second end is none."""
        none: dict[object, Callable[[], None]] = {}
        with self._lock:
            self.over = True
            wakes, self._wakes = self._wakes, none
        for wake in list(wakes.values()):
            wake()

    @contextmanager
    def awaited(self, wake: Callable[[], None]) -> Iterator[None]:
        """Have `wake` called at the end, or at once when that was before; no more after the block."""
        key = object()
        with self._lock:
            over = self.over
            if not over:
                self._wakes[key] = wake
        if over:
            wake()
        try:
            yield
        finally:  # without the lock: the collector may come here in a thread that holds it
            self._wakes.pop(key, None)


class Job(Flight):
    """Work for a thread of its own, done once, by whoever begins it first."""

    __slots__ = ("_work", "queued")

    def __init__(self, work: Callable[[], None]) -> None:
        """Hold the work; nothing begins yet."""
        super().__init__()
        self._work: Callable[[], None] | None = work
        self.queued = False

    @property
    def begun(self) -> bool:
        """Whether somebody has begun it."""
        return self._work is None

    def begin(self) -> None:
        """Do the work here, in an empty context, unless it was begun or is over."""
        with self._lock:
            if self.over:
                return
            work, self._work = self._work, None  # what it holds ends with it
        if work is not None:
            contextvars.Context().run(work)


class Wait(NamedTuple):
    """A step: wait for the flight, `seconds` at most. `busy`: something is under way that may end it."""

    flight: Flight
    seconds: float
    busy: bool = True


Steps = Generator[Wait, bool, T]


class _Bell:
    """Wakes one thread. Not an `Event`: Ctrl-C within its Python code can leave that with a lock too few."""

    def __init__(self) -> None:
        self._silence = threading.Lock()
        self._silence.acquire()
        self._rung = False

    def ring(self) -> None:
        self._rung = True
        with suppress(RuntimeError):  # it rang before
            self._silence.release()

    def wait(self, seconds: float) -> bool:
        """Return whether it rang within `seconds`."""
        if not self._rung:
            self._silence.acquire(timeout=min(max(seconds, 0.0), threading.TIMEOUT_MAX))
        return self._rung


def wait(step: Wait, clock: Clock) -> bool:
    """Wait in a thread or greenlet. Return whether the flight ended; False: the time is up."""
    bell, until = _Bell(), time.monotonic() + step.seconds
    with step.flight.awaited(bell.ring), _timer(step, clock, bell.ring):
        if isinstance(step.flight, Job) and step.seconds > _BEGINS_WITHIN:
            _ensure_begun(step.flight, bell)
        bell.wait(until - time.monotonic())
    return step.flight.over


async def await_(step: Wait, clock: Clock) -> bool:
    """Wait in a task of asyncio or trio. Return whether the flight ended; False: the time is up."""
    if in_trio():
        return await _await_trio(step, clock)
    import asyncio

    loop = asyncio.get_running_loop()
    woken = loop.create_future()

    def settle() -> None:
        if not woken.done():
            woken.set_result(None)

    def wake() -> None:
        try:
            loop.call_soon_threadsafe(settle)
        except RuntimeError:  # the loop is closed, and its waiter gone with it
            return

    with step.flight.awaited(wake), _timer(step, clock, wake):
        limit = loop.call_later(step.seconds, settle)
        try:
            await woken
        finally:
            limit.cancel()
    return step.flight.over


async def _await_trio(step: Wait, clock: Clock) -> bool:
    import trio

    token = trio.lowlevel.current_trio_token()
    woken = trio.Event()

    def wake() -> None:
        try:
            token.run_sync_soon(woken.set)
        except trio.RunFinishedError:  # the run is over, and its waiter gone with it
            return

    with step.flight.awaited(wake), _timer(step, clock, wake), trio.move_on_after(step.seconds):
        await woken.wait()
    return step.flight.over


async def within(work: Awaitable[T], seconds: float) -> T:
    """Return what an awaitable brings. Raise `TimeoutError` (or trio's own) when it takes longer."""
    if in_trio():
        import trio  # loaded already wherever this runs

        with trio.fail_after(max(seconds, 0)):
            return await work
    import asyncio  # loaded already wherever this runs

    async with asyncio.timeout(max(seconds, 0)):  # `wait_for` would leave its task behind
        return await work


def drive(steps: Steps[T], clock: Clock) -> T:
    """Take steps to their result, waiting in this thread."""
    try:
        step = next(steps)
        while True:
            step = steps.send(wait(step, clock))
    except StopIteration as stop:
        result: T = stop.value
        return result
    finally:
        steps.close()


async def adrive(steps: Steps[T], clock: Clock) -> T:
    """Take steps to their result, waiting in this task."""
    try:
        step = next(steps)
        while True:
            step = steps.send(await await_(step, clock))
    except StopIteration as stop:
        result: T = stop.value
        return result
    finally:
        steps.close()


def in_trio() -> bool:
    """Whether this is a task of trio."""
    trio: Any = sys.modules.get("trio")
    return trio is not None and bool(trio.lowlevel.in_trio_task())


def in_event_loop() -> bool:
    """Whether this thread runs an event loop, which must not be blocked."""
    asyncio: Any = sys.modules.get("asyncio")
    if asyncio is not None:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return in_trio()
        return True
    return in_trio()


@contextmanager
def _timer(step: Wait, clock: Clock, wake: Callable[[], None]) -> Iterator[None]:
    """Let a clock that brings its own `wait` end the wait; real time ends it in any case."""
    own = getattr(clock, "wait", None)
    if own is None:
        yield
        return
    cancel = own(step.seconds, wake, busy=step.busy)
    try:
        yield
    finally:
        if cancel is not None:
            cancel()


def _ensure_begun(job: Job, bell: _Bell) -> None:
    if job.begun or job.queued or bell.wait(_BEGINS_WITHIN):
        return
    if not (job.begun or job.queued):
        log.warning(
            "no thread begins here (uWSGI wants enable-threads): the store is read in place"
        )
        job.begin()


class _Threads:
    """The reading threads of this process: short-lived daemons, `MOST_THREADS` at the most.

    Not an executor, nor `to_thread`: those hold up the interpreter's exit.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards the two below
        self._running = 0
        self._queue: deque[Job] = deque()

    def launch(self, job: Job) -> None:
        """Have `job` begun soon. Raise `RuntimeError` when no thread can be started."""
        with self._lock:
            if self._running >= MOST_THREADS:
                job.queued = True
                self._queue.append(job)
                return
            self._running += 1
        try:
            threading.Thread(
                target=self._work, args=(job,), daemon=True, name="partner_auth-read"
            ).start()
        except RuntimeError:
            with self._lock:
                self._running -= 1
            raise

    def _work(self, job: Job | None) -> None:
        while job is not None:
            with suppress(
                BaseException
            ):  # a read lands whatever it raises; this thread has more to do
                job.begin()
            job = self._next()

    def _next(self) -> Job | None:
        with self._lock:
            while self._queue:
                job = self._queue.popleft()
                if not job.over:
                    return job
            self._running -= 1
            return None


_threads = _Threads()


def launch(job: Job) -> None:
    """Have `job` begun in a thread of its own. Raise `RuntimeError` when none can be started."""
    _threads.launch(job)


def _after_fork() -> None:
    global _threads  # noqa: PLW0603  the parent's threads are not the child's
    _threads = _Threads()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
