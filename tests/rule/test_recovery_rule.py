"""The 401 rule, line by line."""

from __future__ import annotations

import threading

import httpx
import pytest

from partner_auth import Credential, SourceRejected, SourceUnavailable
from partner_auth._recovery import lacks_scope
from tests.rule.rule_world import ORIGIN, OTHER, Store, World, credential


def test_a_rotation_in_the_store_costs_one_read_and_one_resend():
    """Rules 3 and 4."""
    world = World().settle()
    world.store.current, world.accepted = "new", {"new"}
    assert world.get() == 200
    assert world.versions == ["old", "new"]
    assert (world.store.reads, world.store.alternate_reads) == (1, 0)


def test_a_new_credential_comes_into_use_at_every_origin():
    """Rule 4: the other origin signs with it without a 401 of its own."""
    world = World().settle()
    assert world.get(origin=OTHER) == 200
    world.store.current, world.accepted = "new", {"new"}
    world.get()
    world.sent.clear()
    assert world.get(origin=OTHER) == 200
    assert world.versions == ["new"]


def test_a_pending_secret_is_found_and_stays_in_use():
    """Rule 5: current afresh first, then the alternates, likeliest first."""
    world = World(Store("old", "pending", "older")).settle()
    world.accepted = {"pending"}
    assert world.get() == 200
    assert world.versions == ["old", "old", "pending"]
    assert world.get() == 200
    assert world.versions[3:] == ["pending"]
    assert world.auth.status().origins[ORIGIN].version == "pending"
    assert world.auth.status().version == "old"


def test_an_alternate_found_at_one_origin_is_not_used_at_another():
    """Rule 5: it comes into use at that origin."""
    world = World(Store("old", "pending")).settle()
    world.accepted = {"pending"}
    world.get()
    world.accepted = {"old"}
    world.sent.clear()
    assert world.get(origin=OTHER) == 200
    assert world.versions == ["old"]


def test_an_alternate_is_left_once_the_store_moves():
    """Rule 5: it stays until the store's current one changes."""
    world = World(Store("old", "pending")).settle()
    world.accepted = {"pending"}
    world.get()
    world.store.current, world.store.others, world.accepted = "newest", (), {"newest"}
    world.auth.refresh()
    world.sent.clear()
    assert world.get() == 200
    assert world.versions == ["newest"]


def test_an_alternate_that_is_rejected_itself_gives_way_to_the_current_one():
    """Rule 5: it stays until it is itself rejected."""
    world = World(Store("new", "old"))
    assert world.get() == 200
    world.accepted = {"new"}
    world.sent.clear()
    assert world.get() == 200
    assert world.versions == ["old", "new"]


def test_at_most_four_sends_the_first_included():
    """Rule 5, for a store that rotates under a request again and again."""
    store = Store("a", "x", "y")
    world = World(store)
    names = iter("bcdefgh")

    def refuse(request: httpx.Request) -> httpx.Response:
        store.current = next(names)
        return httpx.Response(401)

    world.answer = refuse
    assert world.get() == 401
    assert len(world.sent) == 4


def test_only_two_alternates_are_tried():
    """A source may name more: at most two are used."""
    world = World(Store("old", "one", "two", "three")).settle()
    world.accepted = {"three"}
    assert world.get() == 401
    assert world.versions == ["old", "old", "one", "two"]


def test_alternates_equal_to_the_current_or_to_each_other_are_no_tries():
    """Rule 5: a send is not wasted on what was sent."""

    class Doubled(Store):
        def alternates(self) -> list[Credential]:
            super().alternates()
            same = Credential("acme", "old-" * 40, version="renamed")
            return [same, credential("next"), credential("next")]

    world = World(Doubled()).settle()
    world.accepted = set()
    assert world.get() == 401
    assert world.versions == ["old", "old", "next"]


def test_a_401_in_the_pause_waits_for_the_next_look_in_the_first_second():
    """Rule 6: at least a tenth of a second, moved on the clock."""
    world = World().settle()
    world.accepted = set()
    began = world.clock.monotonic()
    assert world.get() == 401
    assert world.clock.monotonic() == began
    assert world.get() == 401
    assert world.clock.monotonic() == pytest.approx(began + 0.1)
    assert world.store.reads == 2


def test_after_the_first_second_a_401_in_the_pause_goes_back_at_once():
    """Rule 6: without a read or a resend."""
    world = World().settle()
    world.accepted = set()
    world.get()
    world.clock.advance(4)
    world.get()  # a look; the next one begins after a quarter of four seconds
    world.sent.clear()
    world.store.reads = 0
    world.clock.advance(0.9)
    assert world.get() == 401
    assert (len(world.sent), world.store.reads) == (1, 0)
    world.clock.advance(0.2)
    assert world.get() == 401
    assert (len(world.sent), world.store.reads) == (3, 1)


def test_the_pause_never_exceeds_the_cooldown():
    """Rule 6: so a store that is corrected is found within it."""
    world = World().settle()
    world.accepted = set()
    world.get()
    world.clock.advance(1000)
    world.get()
    world.store.current, world.accepted = "new", {"new"}
    world.clock.advance(29.5)
    assert world.get() == 401
    world.clock.advance(1)
    assert world.get() == 200


def test_an_accepted_answer_ends_the_rejection():
    """Rule 6: the next 401 is looked into at once, without a pause."""
    world = World().settle()
    world.accepted = set()
    world.get()
    world.clock.advance(100)
    world.get()
    world.accepted = {"old"}
    assert world.get() == 200
    assert world.auth.status().state == "fresh"
    world.store.current, world.accepted = "new", {"new"}
    assert world.get() == 200


@pytest.mark.parametrize("status", [407, 408, 425, 429, 500, 503])
def test_an_undecided_answer_does_not_end_the_rejection(status):
    """It goes back to its caller and says nothing of the token."""
    world = World().settle()
    world.accepted = set()
    world.get()
    world.answer = lambda request: httpx.Response(status)
    assert world.get() == status
    assert world.auth.status().state == "rejected"


def test_after_three_false_alarms_a_look_waits_for_the_third_401_in_a_row():
    """Rule 7."""
    world = World().settle()
    world.answer = lambda r: httpx.Response(401) if r.url.path == "/forbidden" else None
    for _ in range(3):
        assert world.get("/forbidden") == 401
        assert world.get() == 200
    world.store.reads = 0
    for _ in range(5):
        assert [world.get("/forbidden"), world.get("/forbidden"), world.get()] == [401, 401, 200]
    assert world.store.reads == 0
    world.store.current, world.accepted = "new", {"new"}
    assert [world.get(), world.get(), world.get()] == [401, 401, 200]


def test_false_alarms_are_forgotten_after_an_hour():
    """Rule 7."""
    world = World().settle()
    world.answer = lambda r: httpx.Response(401) if r.url.path == "/forbidden" else None
    for _ in range(3):
        world.get("/forbidden")
        world.get()
    world.clock.advance(3700)
    world.get()
    world.store.current, world.accepted = "new", {"new"}
    assert world.get() == 200


def test_a_look_that_finds_something_forgets_false_alarms():
    """Rule 7."""
    world = World(Store("old", "pending")).settle()
    world.answer = lambda r: httpx.Response(401) if r.url.path == "/forbidden" else None
    for _ in range(3):
        world.get("/forbidden")
        world.get()
    world.accepted = {"pending"}
    assert [world.get(), world.get(), world.get()] == [401, 401, 200]
    world.accepted = {"old"}
    assert world.get() == 200


def test_a_body_that_cannot_be_sent_again_looks_but_does_not_try():
    """Rule 8: the caller gets the 401, the next request is right."""
    world = World().settle()
    world.store.current, world.accepted = "new", {"new"}
    assert world.post_once() == 401
    assert world.versions == ["old"]
    assert world.post_once() == 200


def test_the_second_such_401_in_a_row_hands_the_try_to_the_next_request():
    """Rule 8: current, pending, previous in turn."""
    world = World(Store("old", "pending", "older")).settle()
    world.accepted = {"older"}
    assert [world.post_once() for _ in range(4)] == [401, 401, 401, 200]
    assert world.versions == ["old", "old", "pending", "older"]
    assert world.auth.status().origins[ORIGIN].version == "older"


def test_one_shot_bodies_alone_learn_the_clock_as_well():
    """Rule 8 with the offset that the answer's Date teaches."""
    world = World().settle()
    world.skew = -300.0
    assert [world.post_once() for _ in range(3)] == [401, 401, 200]


def test_wrong_secret_with_one_shot_bodies_costs_few_reads():
    """Rule 6 bounds the looks of such requests as well."""
    world = World().settle()
    world.accepted = set()
    for _ in range(200):
        world.post_once()
        world.clock.advance(1)
    assert world.store.reads < 30


def test_a_failing_store_leaves_the_401_and_the_credential():
    """Rule 10: what is held is tried, our error never takes the answer's place."""
    world = World().settle()
    world.accepted = set()
    world.store.error = SourceUnavailable("Store(): down")
    assert world.get() == 401
    assert world.versions == ["old", "old"]
    assert world.counted("SourceFailed") == 1
    assert world.auth.status().client_id == "acme"


def test_a_store_that_refuses_at_a_401_drops_the_credential():
    """Rule 10: the 401 goes back, and the next request raises what it must."""
    world = World().settle()
    world.accepted = set()
    world.store.error = SourceRejected("Store(): gone", reason="deleted")
    assert world.get() == 401
    assert world.versions == ["old"]
    with pytest.raises(SourceRejected, match="gone"):
        world.get()


def test_insufficient_scope_is_returned_as_it_is():
    """Rule 1: it is about rights."""
    world = World().settle()
    world.accepted, world.challenge = set(), 'Bearer realm="x", error="insufficient_scope"'
    assert world.get() == 401
    assert (len(world.sent), world.store.reads) == (1, 0)
    assert world.auth.status().state == "fresh"


@pytest.mark.parametrize(
    ("challenge", "lacks"),
    [
        ('Bearer error="insufficient_scope"', True),
        ("bearer realm=x, error=insufficient_scope", True),
        ('Basic realm="x", Bearer error="insufficient_scope"', True),
        ('Bearer error="invalid_token"', False),
        ('Bearer error="invalid_token", error_description="insufficient_scope"', False),
        ('Bearer realm="x", DPoP error="insufficient_scope"', False),
        ('DPoP error="insufficient_scope"', False),
        ('Basic realm="Bearer error=insufficient_scope"', False),
        ("insufficient_scope", False),
        (None, False),
        ("Bearer " + "a" * 100_000, False),
    ],
)
def test_only_a_bearer_challenge_can_be_about_rights(challenge, lacks):
    """RFC 6750 §3.1; other schemes' challenges mean nothing."""
    assert lacks_scope(challenge) is lacks


def test_the_partners_clock_is_learnt_from_a_401_and_kept():
    """One offset an origin moves iat and exp alike."""
    world = World().settle()
    world.skew = -600.0
    assert world.get() == 200
    assert len(world.sent) == 2
    assert world.get() == 200
    assert len(world.sent) == 3
    assert world.auth.status().clock_offset == pytest.approx(-600, abs=1)
    assert world.counted("ClockSkewLearned") == 1


def test_an_offset_is_dropped_when_the_partners_clock_is_right_again():
    """A token without it is accepted after a 401 with it."""
    world = World().settle()
    world.skew = -600.0
    world.get()
    world.skew = 0.0
    world.clock.advance(900)
    world.skew = 1200.0
    assert world.get() == 200
    world.skew = 0.0
    assert world.get() == 200
    assert world.auth.status().clock_offset == 0.0


@pytest.mark.parametrize("date", ["", "garbage", "Thu, 01 Jan 2099 00:00:00 GMT", "x" * 5000, None])
def test_a_date_that_teaches_nothing_changes_nothing(date):
    """Absent, garbage, or further away than any honest clock."""
    world = World().settle()
    headers = {} if date is None else {"Date": date}
    world.answer = lambda request: httpx.Response(401, headers=headers)
    assert world.get() == 401
    assert world.auth.status().clock_offset == 0.0


def test_a_refused_try_does_not_leave_its_offset_behind():
    """It is kept only with the token that was accepted."""
    world = World().settle()
    world.accepted, world.skew = set(), 4000.0
    world.get()
    assert world.auth.status().clock_offset == 0.0


def test_another_credential_in_use_by_now_is_resent_without_a_read():
    """Rule 2: the second of two rejected requests asks no store."""
    world = World().settle()
    flow = world.auth.sync_auth_flow(httpx.Request("GET", ORIGIN + "/a"))
    request = next(flow)
    world.store.current, world.accepted = "new", {"new"}
    assert world.get() == 200
    reads = world.store.reads
    resent = flow.send(httpx.Response(401, request=request))
    assert world.store.reads == reads
    assert resent.headers["Authorization"] != request.headers["Authorization"]
    with pytest.raises(StopIteration):
        flow.send(httpx.Response(200, request=resent))


def test_a_try_that_breaks_decides_nothing_and_the_next_one_takes_over():
    """Rule 5: a cancelled or broken request leaves the look to the others."""
    world = World(Store("old", "pending")).settle()
    world.accepted = {"pending"}
    flow = world.auth.sync_auth_flow(httpx.Request("GET", ORIGIN + "/a"))
    request = next(flow)
    trying = flow.send(httpx.Response(401, request=request))
    assert trying.headers["Authorization"]
    flow.close()
    assert world.get() == 200


def test_a_read_that_began_before_the_401_proves_nothing():
    """Rule 3: "nothing new" is believed only from a read that began after it arrived."""
    gate, began = threading.Event(), threading.Event()

    class Gated(Store):
        held = False

        def fetch(self) -> Credential:
            answer = super().fetch()
            if self.held:
                began.set()
                gate.wait(5)
            return answer

    world = World(Gated()).settle()
    world.store.held = True
    reading = threading.Thread(target=world.auth.refresh)
    reading.start()
    began.wait(5)
    world.store.current, world.accepted = "new", {"new"}
    world.store.held = False
    asking = threading.Thread(target=lambda: world.sent.append((str(world.get()), "answer")))
    asking.start()
    gate.set()
    asking.join(5)
    reading.join(5)
    assert world.sent[-1] == ("200", "answer")
    assert world.store.reads <= 3


def test_refresh_forgets_rejections():
    """What was refused is looked into at once afterwards."""
    world = World().settle()
    world.accepted = set()
    world.get()
    world.clock.advance(100)
    world.get()
    world.auth.refresh()
    assert world.auth.status().state == "fresh"
    world.store.current, world.accepted = "new", {"new"}
    assert world.get() == 200


def test_a_callback_that_sends_by_itself_is_not_told_of_its_own_requests():
    """Else a refused request that it answers with a request would go on without end."""

    def told(event):
        if type(event).__name__ == "RequestRejected":
            world.get("/told")

    world = World(on_event=told).settle()
    world.accepted = set()
    assert world.get() == 401
    assert len(world.sent) <= 8
