"""The garbage collector may run anywhere, also under the cache's lock, and close what was abandoned."""

import gc
import threading

import pytest

from partner_auth._flight import Flight
from partner_auth.testing import Clock
from tests.rule.by_hand import Refused, place, sign
from tests.rule.rule_world import World


class CollectingClock(Clock):
    """At one of its readings, to be counted from now, the collector runs."""

    def __init__(self):
        super().__init__()
        self.readings = 0

    def monotonic(self):
        self.readings -= 1
        if self.readings == 0:
            gc.collect(0)
        return super().monotonic()


@pytest.fixture
def collected_by_hand():
    """Nothing is collected but at the clock's word."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.fixture
def clock():
    """Stand still."""
    return CollectingClock()


@pytest.fixture
def world(clock):
    """A store with one secret, read once."""
    world = World(clock=clock)
    world.clock = clock
    return world.settle()


def abandon(requests):
    """Leave the first in a cycle that only the collector finds."""
    cycle = [requests.pop(0)]
    cycle.append(cycle)


def ends(call):
    """Whether a call comes to its end, which a thread that waits for its own lock does not."""
    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(10)
    return not thread.is_alive()


OPERATIONS = {
    "status": lambda world, requests: world.auth.status(),
    "a refusal": lambda world, requests: requests.append(Refused(world)),
    "a try that is refused": lambda world, requests: requests[0].answered(401),
    "a try that is accepted": lambda world, requests: requests[0].answered(200),
    "a refresh": lambda world, requests: world.auth.refresh(),
    "an accepted answer": lambda world, requests: world.auth._note(place(world), sign(world), 200),
}


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
@pytest.mark.usefixtures("collected_by_hand")
def test_a_request_that_is_collected_under_the_lock_leaves_its_look(world, clock, operation):
    """Whichever reading of the clock it happens at: nothing hangs, and who waits is told."""
    reading = 0
    while clock.readings <= 0:
        reading += 1
        world.auth.refresh()
        requests = [Refused(world) for _ in range(6)]
        waiting = requests[-1]
        assert waiting.wants == "wait"
        abandon(requests)
        clock.readings = reading
        assert ends(lambda seen=requests: operation(world, seen)), f"at reading {reading}"
        assert clock.readings > 0 or waiting.is_woken
        gc.collect(0)
        assert waiting.is_woken
        for one in requests:
            one.broken_off()
    assert reading > 1


def test_a_waiter_that_is_collected_while_its_flight_is_locked_is_taken_out():
    """Likewise: it does not wait for the lock."""
    flight, woken = Flight(), []
    waiter = flight.awaited(lambda: woken.append(True))
    waiter.__enter__()
    with flight._lock:
        assert ends(lambda: waiter.__exit__(None, None, None))
    flight.end()
    assert woken == []
