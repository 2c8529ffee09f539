"""A call that is given up at its moment, whatever it hangs in."""

import os
import threading
import time

import pytest

from partner_auth.sources._in_time import InTime


def soon(seconds):
    """Return the moment in so many seconds."""
    return time.monotonic() + seconds


@pytest.fixture
def gate():
    """What a call hangs in until the test is over."""
    gate = threading.Event()
    yield gate
    gate.set()


def test_an_answer_in_time_is_returned():
    """The work is done in a thread of its own."""
    calls = InTime()
    assert calls.call(threading.current_thread, soon(1)) is not threading.current_thread()


def test_an_answer_is_returned_at_once():
    """Nothing is waited for but the answer."""
    began = time.monotonic()
    assert InTime().call(lambda: 7, soon(5)) == 7
    assert time.monotonic() - began < 0.9


def test_a_program_may_end_while_a_call_hangs():
    """Its thread holds up nobody's exit."""
    assert InTime().call(lambda: threading.current_thread().daemon, soon(1))


def test_a_call_whose_moment_is_over_is_never_begun(monkeypatch):
    """A read that has used up its time asks nothing more."""
    made = []
    monkeypatch.setattr(threading.Thread, "start", lambda thread: thread.run())
    assert InTime().call(lambda: made.append(1), soon(-1)) is None
    assert made == []


def test_a_call_that_hangs_is_given_up(gate):
    """Its late answer goes nowhere."""
    began = time.monotonic()
    assert InTime().call(gate.wait, soon(0.1)) is None
    assert time.monotonic() - began < 1


def test_four_that_hang_are_the_most(gate):
    """A fifth is not begun, until one of them has ended."""
    calls, begun = InTime(), []

    def hang():
        begun.append(1)
        gate.wait()

    for _ in range(6):
        calls.call(hang, soon(0.2))
    assert len(begun) == 4
    gate.set()
    while calls.call(lambda: "well", soon(1)) is None:
        pass


def test_a_forked_child_owes_nothing_to_calls_of_its_parent(gate):
    """Their threads are not there to end them."""
    calls = InTime()
    for _ in range(4):
        calls.call(gate.wait, soon(0.2))
    child = _forked(lambda: calls.call(lambda: 7, soon(1)))
    assert child == 7


def test_where_no_thread_begins_the_work_is_done_in_place(monkeypatch):
    """A uWSGI without threads: a second is lost once, not with each call."""
    monkeypatch.setattr(threading.Thread, "start", lambda thread: None)
    calls, began = InTime(), time.monotonic()
    for _ in range(3):
        assert calls.call(threading.current_thread, soon(3)) is threading.current_thread()
    assert time.monotonic() - began < 1.9


def test_a_call_whose_thread_comes_too_late_is_never_made(monkeypatch):
    """A busy machine: in place it could hang beyond the moment."""
    late, made = [], []
    monkeypatch.setattr(threading.Thread, "start", lambda thread: late.append(thread))  # noqa: PLW0108 - it binds
    assert InTime().call(lambda: made.append(1), soon(0.1)) is None
    late[0].run()
    assert made == []


def test_where_no_thread_can_be_made_the_work_is_done_in_place(monkeypatch):
    """At the interpreter's exit, and at the system's limit; at once, so within half a second."""

    def refuse(thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert InTime().call(lambda: 7, soon(0.5)) == 7


def _forked(work):
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # a fork beside threads, since 3.12
        child = os.fork()
    if child == 0:
        code = 1
        try:
            code = work() or 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
