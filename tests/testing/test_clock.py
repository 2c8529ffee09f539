"""The clock that a test moves by hand."""

import pickle
import threading
from datetime import UTC, datetime, timedelta

import pytest

from partner_auth.testing import Clock


def times(clock):
    """Return wall and monotonic time."""
    return clock.now(), clock.monotonic()


def test_it_starts_at_a_plausible_time():
    """Unless told otherwise it is New Year 2026, UTC, and monotonic time is 1000 s."""
    assert times(Clock()) == (datetime(2026, 1, 1, tzinfo=UTC).timestamp(), 1000.0)


@pytest.mark.parametrize("wall", [90.0, datetime(1970, 1, 1, 0, 1, 30, tzinfo=UTC)])
def test_it_starts_where_it_is_told(wall):
    """The start is given as seconds since the epoch or as an aware datetime."""
    assert times(Clock(wall, monotonic=5)) == (90.0, 5.0)


def test_a_naive_datetime_is_no_start():
    """A datetime without a zone could be any of 38 times."""
    with pytest.raises(ValueError, match="time zone"):
        Clock(datetime(2026, 1, 1))  # noqa: DTZ001 - the point


@pytest.mark.parametrize("step", [2.5, timedelta(seconds=2.5)], ids=["number", "timedelta"])
def test_advance_moves_both(step):
    """Time that passes shows on both clocks."""
    clock = Clock(0.0, 0.0)
    clock.advance(step)
    assert times(clock) == (2.5, 2.5)


def test_step_wall_moves_the_wall_clock_alone():
    """NTP sets the time back, and no time has passed."""
    clock = Clock(100.0, 0.0)
    clock.step_wall(-40)
    assert times(clock) == (60.0, 0.0)


def test_suspend_stops_the_monotonic_clock():
    """A closed laptop's wall clock goes on."""
    clock = Clock(100.0, 0.0)
    clock.suspend(40)
    assert times(clock) == (140.0, 0.0)


@pytest.mark.parametrize("move", ["advance", "suspend"])
def test_time_never_runs_backwards(move):
    """Only a step of the wall clock goes back."""
    with pytest.raises(ValueError, match="step_wall"):
        getattr(Clock(), move)(-1)


@pytest.mark.parametrize("step", [float("nan"), float("inf"), True, "1", None])
@pytest.mark.parametrize("move", ["advance", "suspend", "step_wall"])
def test_a_step_is_a_finite_number_of_seconds(move, step):
    """A clock that was moved by NaN would be of no use to anybody."""
    with pytest.raises(ValueError, match="finite"):
        getattr(Clock(), move)(step)


def test_its_repr_shows_both_times():
    """A failed assertion says when it was."""
    assert repr(Clock()) == "Clock('2026-01-01T00:00:00+00:00', 1000.0)"


def test_a_pickled_clock_shows_the_same_times():
    """So an object that was made with one can be pickled."""
    clock = Clock()
    clock.advance(3)
    clock.wait(60, print, busy=True)
    assert times(pickle.loads(pickle.dumps(clock))) == times(clock)


def test_a_busy_wait_leaves_time_alone():
    """Something else may end it, so the clock does not move itself."""
    clock, calls = Clock(0.0, 0.0), []
    clock.wait(1, lambda: calls.append("woken"), busy=True)
    assert (times(clock), calls, clock.waiting) == ((0.0, 0.0), [], 1)


@pytest.mark.parametrize("step,woken", [(0.999, 0), (1.0, 1), (5.0, 1)])
def test_a_busy_wait_ends_when_its_time_has_come(step, woken):
    """Not before its end, and at its end already."""
    clock, calls = Clock(), []
    clock.wait(1, lambda: calls.append("woken"), busy=True)
    clock.advance(step)
    assert len(calls) == woken


def test_a_wait_ends_once():
    """Time that passes afterwards is none of its business."""
    clock, calls = Clock(), []
    clock.wait(1, lambda: calls.append("woken"), busy=True)
    clock.advance(2)
    clock.advance(2)
    assert calls == ["woken"]


def test_a_cancelled_wait_never_ends():
    """The function that `wait` returns takes it off, and may be called again."""
    clock, calls = Clock(), []
    cancel = clock.wait(1, lambda: calls.append("woken"), busy=True)
    cancel()
    cancel()
    clock.advance(2)
    assert (calls, clock.waiting) == ([], 0)


def test_a_wait_can_be_cancelled_after_its_end():
    """Whoever waits need not know how it ended."""
    clock = Clock()
    cancel = clock.wait(1, lambda: None, busy=False)
    cancel()
    assert clock.waiting == 0


def test_an_idle_wait_moves_the_clock_to_its_end():
    """With nothing under way a test of one thread does not hang: both clocks jump."""
    clock, seen = Clock(100.0, 0.0), []
    clock.wait(2.5, lambda: seen.append(times(clock)), busy=False)
    assert seen == [(102.5, 2.5)]


def test_an_idle_wait_ends_exactly_at_its_end():
    """Floating point may not leave the clock an ulp short of it, where nobody would wake."""
    for start in (0.1, 1000.0, 1e9 / 3):
        clock, calls = Clock(0.0, start), []
        clock.wait(0.1, lambda calls=calls: calls.append("woken"), busy=False)
        assert calls == ["woken"]


def test_an_idle_wait_ends_those_that_are_due_before_it():
    """Waits end in the order of their ends, then of their beginnings; later ones stay."""
    clock, order = Clock(), []
    for name, seconds in (("late", 9), ("second", 2), ("first", 1), ("third", 2)):
        clock.wait(seconds, lambda name=name: order.append(name), busy=True)
    clock.wait(3, lambda: order.append("own"), busy=False)
    assert (order, clock.waiting) == (["first", "second", "third", "own"], 1)


@pytest.mark.parametrize("seconds", [0, -1])
def test_a_wait_for_no_time_ends_at_once(seconds):
    """Even a busy one, and the clock stands still."""
    clock, calls = Clock(0.0, 0.0), []
    clock.wait(seconds, lambda: calls.append("woken"), busy=True)
    assert (calls, times(clock)) == (["woken"], (0.0, 0.0))


@pytest.mark.parametrize("seconds", [float("inf"), float("nan")])
def test_a_wait_has_an_end(seconds):
    """An idle wait for ever would take the clock with it."""
    with pytest.raises(ValueError, match="finite"):
        Clock().wait(seconds, lambda: None, busy=False)


def test_who_is_woken_may_use_the_clock():
    """`wake` runs without the clock's lock."""
    clock, calls = Clock(0.0, 0.0), []
    clock.wait(1, lambda: clock.wait(1, lambda: calls.append(times(clock)), busy=False), busy=False)
    assert calls == [(2.0, 2.0)]


def test_one_that_raises_does_not_leave_the_others_asleep():
    """All that are due are called, then the error comes out."""
    clock, calls = Clock(), []
    clock.wait(1, [].pop, busy=True)
    clock.wait(2, lambda: calls.append("woken"), busy=True)
    with pytest.raises(IndexError):
        clock.advance(2)
    assert calls == ["woken"]


def test_a_thread_that_waits_is_woken_by_another():
    """The clock works across threads, with real primitives."""
    clock, woken = Clock(), threading.Event()

    def sleeper():
        done = threading.Event()
        clock.wait(60, done.set, busy=True)
        if done.wait(5):
            woken.set()

    thread = threading.Thread(target=sleeper)
    thread.start()
    while not clock.waiting:
        pass
    clock.advance(60)
    thread.join()
    assert woken.is_set()


def test_no_step_is_lost_between_threads():
    """Eight threads that advance it by a quarter second, 200 times each, make 400 seconds."""
    clock = Clock(0.0, 0.0)

    def steps():
        for _ in range(200):
            clock.advance(0.25)

    threads = [threading.Thread(target=steps) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert times(clock) == (400.0, 400.0)
