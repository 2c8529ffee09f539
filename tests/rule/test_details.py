"""The 401 rule where several requests meet, moved by hand in one thread."""

from __future__ import annotations

import logging
import sys
import threading
import time
from email.utils import formatdate

import jwt
import pytest

from partner_auth import Credential, SourceRejected, SourceUnavailable
from partner_auth._recovery import Answer
from partner_auth.testing import Clock
from tests.rule.by_hand import ELSEWHERE, HERE, Refused, place, sign
from tests.rule.rule_world import ORIGIN, Store, World, credential

PEM = "-----BEGIN PUBLIC KEY-----\nMFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBAK\n-----END PUBLIC KEY-----\n"


@pytest.fixture
def world():
    """A store with one secret, read once."""
    return World().settle()


@pytest.fixture
def around():
    """A store that also knows the pending and the previous secret."""
    return World(Store("old", "pending", "previous")).settle()


def version_of(token):
    """Return which secret a token was signed with."""
    return jwt.decode(token, options={"verify_signature": False})["v"]


def eventually(condition):
    """Wait until a read's thread has come so far."""
    until = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.001)


def status(world):
    """Return what is told of the origin."""
    return world.auth.status().origins[ORIGIN]


def last(world, name):
    """Return the last event of a kind."""
    return [event for event in world.events if type(event).__name__ == name][-1]


# -- one request


def test_each_send_is_told_the_first_included(around):
    """By version, in order."""
    request = Refused(around)
    for version in ("old", "pending", "previous"):
        assert request.wants == f"send {version}"
        request.answered(401)
    assert request.wants == "back"
    assert last(around, "RequestRejected").tried == ("old", "old", "pending", "previous")
    assert last(around, "RequestRejected").why == "nothing that the store knows was accepted"
    sends = [event.sends for event in around.events if type(event).__name__ == "RequestResent"]
    assert sends == [2, 3, 4]


def test_alternates_that_hang_are_given_up_at_the_deadline_of_their_read():
    """They are not asked for again: what is held must do."""

    class Hanging(Store):
        asked, gate = threading.Event(), threading.Event()

        def alternates(self):
            found = super().alternates()
            self.asked.set()
            self.gate.wait(20)
            return found

    world = World(Hanging("old", "pending")).settle()

    def pass_the_deadline():
        Hanging.asked.wait(5)
        world.clock.advance(10)

    threading.Thread(target=pass_the_deadline, daemon=True).start()
    request = Refused(world)
    assert (request.wants, world.store.alternate_reads) == ("send old", 1)
    Hanging.gate.set()
    assert request.answered(401).wants == "back"


def test_more_than_two_alternates_are_never_signed_with():
    """Nor by requests that hand the try on to the next."""
    world = World(Store("old", "a", "b", "c")).settle()
    world.accepted = set()
    for _ in range(10):
        world.post_once()
        world.clock.advance(31)
    assert set(world.versions) == {"old", "a", "b"}


@pytest.mark.parametrize(
    "useless",
    [
        Credential("acme", PEM, version="useless"),
        Credential("acme", "useless-" * 40, version="useless", expires_at=1.0),
        "useless",
    ],
    ids=["misfit", "expired", "no credential"],
)
def test_an_alternate_that_signs_no_good_token_is_none(around, useless):
    """The others are tried as ever."""
    around.store.alternates = lambda: [useless, credential("pending")]
    request = Refused(around)
    assert request.wants == "send old"
    assert request.answered(401).wants == "send pending"
    assert request.answered(401).wants == "back"


def test_a_request_that_arrived_unsigned_is_signed_and_sent_once_more(world):
    """Its answer goes back if it is accepted, and is judged like any other if it is not."""
    request = Refused(world, None)
    assert request.wants == "send old"
    assert last(world, "RequestResent").why == "unsigned"
    assert request.answered(200).wants == "back"
    assert world.counted("RequestRejected") == 0


def test_a_request_that_arrived_unsigned_and_is_refused_looks_like_any_other(around):
    """Four sends at most, the unsigned one included."""
    request = Refused(around, None)
    for version in ("old", "old", "pending"):
        assert request.wants == f"send {version}"
        request.answered(401)
    assert request.wants == "back"
    assert last(around, "RequestRejected").why == "sent four times"


def test_a_request_that_arrived_unsigned_with_a_spent_body_goes_back(world):
    """Nothing is sent, nothing is read."""
    assert Refused(world, None, replayable=False).wants == "back"
    assert world.store.reads == 0
    assert "unsigned" in last(world, "RequestRejected").why


def test_an_accepted_resend_ends_the_rejection(world):
    """Of whatever kind: here one that arrived unsigned, after a look in vain."""
    Refused(world).answered(401)
    assert status(world).rejected_since is not None
    Refused(world, None).answered(200)
    assert status(world).rejected_since is None


@pytest.mark.parametrize("code", [200, 302, 400, 403, 404, 406, 409, 424, 426, 428, 430, 499])
def test_any_other_answer_to_a_try_is_an_acceptance(around, code):
    """The token was good; the rest is between caller and partner."""
    request = Refused(around).answered(401)
    assert request.answered(code).wants == "back"
    assert status(around).version == "pending"


@pytest.mark.parametrize("code", [407, 408, 425, 429, 500, 503, 599])
def test_an_answer_that_decides_nothing_goes_back_and_brings_nothing_into_use(around, code):
    """Neither an acceptance nor a refusal: others try what this one did."""
    request = Refused(around).answered(401)
    assert request.answered(code).wants == "back"
    assert status(around).version == "old"
    assert status(around).rejected_since is not None


def test_a_lack_of_rights_is_told_by_the_challenge(world):
    """At the first answer and at a later one; nothing is read, nothing more is sent."""
    challenge = 'Bearer error="insufficient_scope"'
    assert Refused(world, answer=Answer(401, None, challenge)).wants == "back"
    assert world.store.reads == 0
    assert last(world, "RequestRejected").why == "insufficient_scope is about rights"
    assert last(world, "RequestRejected").challenge == challenge


def test_a_request_that_was_sent_four_times_says_so(world):
    """And not that its body were spent; the store is asked all the same."""
    world.store.current = "b"
    request = Refused(world)
    for name, another in (("b", "c"), ("c", "d"), ("d", "d")):
        assert request.wants == f"send {name}"
        world.store.current = another
        request.answered(401)
    assert request.wants == "back"
    assert world.store.reads == 4
    assert last(world, "RequestRejected").why == "sent four times"


def test_a_new_secret_ends_the_tries_of_the_old_ones(around):
    """It is resent with that, and judged anew."""
    request = Refused(around)
    assert request.wants == "send old"
    around.store.current = "new"
    around.auth.refresh()
    assert request.answered(401).wants == "send pending"
    assert request.answered(401).wants == "send previous"
    assert request.answered(401).wants == "back"
    assert Refused(around).wants == "send new"


def test_a_read_of_the_alternates_is_told_as_none_of_the_credential(around):
    """There is one event a read of that."""
    before = around.counted("CredentialFetched")
    Refused(around)
    reads = around.counted("CredentialFetched") - before
    assert (reads, around.store.reads, around.store.alternate_reads) == (1, 1, 1)


def test_a_new_secret_wakes_who_waits_for_the_tries_of_others(world):
    """At once, not at the end of that second."""
    *_, sixth = [Refused(world) for _ in range(6)]
    assert sixth.wants == "wait"
    world.store.current = "new"
    world.auth.refresh()
    eventually(lambda: sixth.is_woken)
    assert sixth.woken().wants == "send new"


def test_alternates_that_were_dropped_are_asked_for_again(around):
    """Those that were read for this very secret, before there was another one for a moment."""
    slow = Refused(around, reads=False)
    Refused(around, origin=ELSEWHERE)
    for version in ("new", "old"):
        around.store.current = version
        around.auth.refresh()
    while slow.is_reading:
        eventually(lambda: slow.is_woken)
        slow.woken()
    assert slow.wants == "send old"
    assert slow.answered(401).wants == "send pending"


def test_what_was_found_is_told_and_its_token_serves_on(around):
    """The very token that was accepted, by every way to it; with the age of what it follows."""
    around.clock.advance(7)
    around.store.error = SourceUnavailable("down")
    around.auth._cache.holding.alternates = (credential("pending"),)
    request = Refused(around).answered(401)
    header = request.sending.header
    signed_before = around.counted("TokenSigned")
    request.answered(200)
    assert last(around, "CredentialRotated").previous_age == pytest.approx(7)
    assert f"Bearer {around.auth.token(ORIGIN)}" == header
    assert sign(around).header == header
    assert around.counted("TokenSigned") == signed_before


def test_what_was_found_is_in_use_at_once(around):
    """The token that was held for this origin is not used again."""
    assert version_of(around.auth.token(ORIGIN)) == "old"
    Refused(around).answered(401).answered(200)
    assert version_of(around.auth.token(ORIGIN)) == "pending"


def test_a_try_with_a_secret_that_is_known_no_more_brings_nothing_into_use(around):
    """The store moved on while it was under way."""
    request = Refused(around).answered(401)
    assert request.wants == "send pending"
    around.store.current, around.store.others = "new", ()
    around.auth.refresh()
    request.answered(200)
    assert status(around).version == "new"


# -- the partner's clock


def test_every_try_of_a_look_has_the_offset_that_the_date_taught(around):
    """The answer's, not that of a later one."""
    date = formatdate(around.clock.now() + 500, usegmt=True)
    request = Refused(around, answer=Answer(401, date))
    for _ in range(3):
        assert request.sending.offset == pytest.approx(500, abs=1)
        request.answered(401)


def test_an_offset_is_kept_with_the_try_that_was_accepted(world):
    """And told; without a 401 it is used from then on."""
    date = formatdate(world.clock.now() - 300, usegmt=True)
    Refused(world, answer=Answer(401, date)).answered(200)
    assert status(world).clock_offset == pytest.approx(-300, abs=1)
    assert last(world, "ClockSkewLearned").offset == status(world).clock_offset
    assert sign(world).offset == status(world).clock_offset
    assert sign(world, ELSEWHERE).offset == 0


# -- several


def test_five_try_and_the_sixth_waits_a_second_at_most(world):
    """In a look that begins within the first second of the rejection."""
    requests = [Refused(world) for _ in range(7)]
    assert [one.wants for one in requests] == ["send old"] * 5 + ["wait"] * 2
    assert [one.seconds for one in requests[5:]] == [1.0, 1.0]
    assert world.store.reads == 1


def test_one_tries_in_a_look_that_begins_later(world):
    """The second look of a rejection that is more than a second old."""
    for refused in [Refused(world) for _ in range(5)]:
        refused.answered(401)
    world.clock.advance(1.0)
    requests = [Refused(world) for _ in range(3)]
    assert [one.wants for one in requests] == ["send old", "wait", "wait"]


def test_who_waits_resends_with_what_another_found(around):
    """At once, without a try of its own."""
    first, *_, sixth = [Refused(around) for _ in range(6)]
    first.answered(401)
    assert first.wants == "send pending"
    first.answered(200)
    assert sixth.is_woken
    assert sixth.woken().wants == "send pending"
    assert sixth.answered(200).wants == "back"
    assert last(around, "RequestResent").why == "found"
    assert (around.store.reads, around.store.alternate_reads) == (1, 1)


def test_all_who_tried_go_back_when_five_were_refused(world):
    """The look is over; who only waited, with a 401 that came after its read, awaits the next."""
    *tries, waiting = [Refused(world) for _ in range(6)]
    for one in tries[:4]:
        assert one.answered(401).wants == "wait"
    assert tries[4].answered(401).wants == "back"
    assert all(one.is_woken for one in (*tries[:4], waiting))
    assert {one.woken().wants for one in tries[:4]} == {"back"}
    assert waiting.woken().wants == "wait"
    assert waiting.seconds == pytest.approx(0.1)
    assert world.store.reads == 1


def test_who_was_refused_waits_for_the_others_and_resends_with_their_find(around):
    """Its own tries were in vain; another one's is not."""
    first, second = Refused(around), Refused(around)
    for _ in range(3):
        first.answered(401)
    assert first.wants == "wait"
    second.answered(401).answered(200)
    assert first.woken().wants == "back"
    assert last(around, "RequestRejected").why == "sent four times"


def test_after_a_second_without_a_verdict_each_tries_itself(world):
    """The one that tries is slow."""
    slow, *_, sixth, seventh = [Refused(world) for _ in range(7)]
    world.clock.advance(1.0)
    assert sixth.in_vain().wants == "send old"
    assert seventh.in_vain().wants == "send old"
    assert slow.wants == "send old"


def test_who_has_waited_in_vain_tries_though_the_clock_stood_still(world):
    """A test's clock, or that of a machine which slept: the wait itself was long enough."""
    *_, sixth = [Refused(world) for _ in range(6)]
    assert sixth.in_vain().wants == "send old"


def test_who_comes_after_that_second_tries_at_once(world):
    """There is nobody to wait for any more."""
    early = [Refused(world) for _ in range(6)]
    assert (early[-1].wants, early[-1].seconds) == ("wait", 1.0)
    world.clock.advance(1.0)
    assert Refused(world).wants == "send old"


def test_who_is_woken_after_that_second_tries_at_once(world):
    """By news that are no verdict, such as a try that broke."""
    *tries, sixth = [Refused(world) for _ in range(6)]
    extra = Refused(world)
    world.clock.advance(1.0)
    tries[0].broken_off()
    assert [one.woken().wants for one in (sixth, extra)] == ["send old", "send old"]


@pytest.mark.parametrize("seconds", [0.1, 0.5, 1.0, 4.0])
def test_who_comes_while_a_try_is_slow_gets_what_the_store_holds_by_then(world, seconds):
    """Store and partner have moved since the look's read, which says nothing about its 401."""
    slow = Refused(world)
    world.clock.advance(seconds)
    world.store.current = "new"
    late = Refused(world)
    assert late.wants == "send new"
    assert late.answered(200).wants == "back"
    assert slow.answered(401).wants == "send new"
    assert world.store.reads == 2


def test_who_comes_while_a_try_is_slow_tries_alternates_of_the_store_by_then(around):
    """The pending secret of that moment, not of the look's read."""
    Refused(around)
    around.clock.advance(0.5)
    around.store.others = ["next"]
    late = Refused(around).answered(401)
    assert late.wants == "send next"
    assert (around.store.reads, around.store.alternate_reads) == (2, 2)


def test_who_comes_soon_after_a_read_does_without_one_of_its_own(world):
    """No origin has the store read more than ten times a second."""
    for _ in range(5):
        Refused(world)
        world.clock.advance(0.019)
    assert world.store.reads == 1


def test_who_waited_a_second_in_vain_asks_the_store_anew(world):
    """Its 401 came after the look's read, and that is long ago by now."""
    *_, sixth = [Refused(world) for _ in range(6)]
    world.clock.advance(1.0)
    world.store.current = "new"
    assert sixth.in_vain().wants == "send new"


@pytest.mark.parametrize("seconds", [0.0, 1.0])
def test_who_was_refused_waits_a_second_for_the_others_and_no_longer(world, seconds):
    """By the clock, or by the wait itself."""
    first, second = Refused(world), Refused(world)
    assert first.answered(401).wants == "wait"
    world.clock.advance(seconds)
    if seconds:
        third = Refused(world)
        third.broken_off()
        assert first.woken().wants == "back"
    else:
        assert first.in_vain().wants == "back"
    assert second.wants == "send old"


def test_a_refused_try_takes_one_of_the_five_places(world):
    """Neither none nor two."""
    requests = [Refused(world), Refused(world)]
    requests[0].answered(401)
    requests += [Refused(world) for _ in range(4)]
    assert [one.wants for one in requests] == ["wait", *["send old"] * 4, "wait"]


def test_a_verdict_holds_for_all_whose_401_came_before_its_read(world):
    """Here all came while an older read was under way, which proves nothing."""
    released, fetch = threading.Event(), world.store.fetch
    world.store.fetch = lambda: released.wait(10) and fetch()
    signed = sign(world)
    world.auth.refresh(wait=False)
    eventually(lambda: world.auth._cache.reads.under_way is not None)
    requests = [Refused(world, signed, reads=False) for _ in range(6)]
    released.set()
    while reading := [one for one in requests if one.is_reading]:
        for one in reading:
            eventually(lambda one=one: one.is_woken)
            one.woken()
    assert sorted(one.wants for one in requests) == ["send old"] * 5 + ["wait"]
    (waiting,) = [one for one in requests if one.wants == "wait"]
    for one in requests:
        if one is not waiting:
            one.answered(401)
    assert waiting.woken().wants == "back"
    assert world.store.reads == 2


def test_a_refusal_after_that_second_ends_the_look(world):
    """Whoever else is still trying."""
    requests = [Refused(world) for _ in range(6)]
    world.clock.advance(1.0)
    assert requests[0].answered(401).wants == "back"
    assert requests[5].woken().wants == "back"


def test_a_try_that_breaks_hands_on_to_one_who_waits(world):
    """It decides nothing."""
    *tries, sixth = [Refused(world) for _ in range(6)]
    tries[0].broken_off()
    assert sixth.is_woken
    assert sixth.woken().wants == "send old"


def test_a_look_that_all_have_left_ends_without_a_verdict(world):
    """No false alarm; the next one begins after the shortest pause."""
    for one in [Refused(world) for _ in range(3)]:
        one.broken_off()
    assert place(world).look is None
    assert not place(world).barren
    assert status(world).next_look.timestamp() == pytest.approx(world.clock.now() + 0.1)
    waiting = Refused(world)
    assert (waiting.wants, waiting.seconds) == ("wait", pytest.approx(0.1))
    world.clock.advance(0.1)
    assert waiting.in_vain().wants == "send old"


def test_a_newcomer_is_told_no_verdict_that_is_older_than_its_401(world):
    """A read that began before says nothing about it: it looks anew."""
    *tries, sixth = [Refused(world) for _ in range(6)]
    for one in tries:
        one.answered(401)
    world.clock.advance(0.1)
    late = Refused(world)
    assert late.wants == "send old"
    assert sixth.woken().wants == "send old"
    assert world.store.reads == 2


def test_a_read_that_ends_while_another_request_is_about_to_ask_answers_that_too():
    """Between its decision and its read; else a busy machine would read once for each thread."""
    gate = threading.Event()

    class Gated(Store):
        def fetch(self):
            answer = super().fetch()
            assert self.reads == 1 or gate.wait(5)
            return answer

    class Late(Clock):
        """Lets the read land at the last moment."""

        first = None

        def monotonic(self):
            if self.first is not None and sys._getframe(1).f_code.co_name == "_join":
                gate.set()
                eventually(lambda: self.first.is_woken)
            return super().monotonic()

    world = World(Gated(), clock=Late())
    sign(world)
    first = Refused(world, reads=False)
    assert first.is_reading
    world.auth._clock.first = first
    second = Refused(world)
    assert (world.store.reads, second.wants) == (2, "send old")


# -- pauses


def test_a_pause_grows_by_a_quarter_of_the_rejection_up_to_the_cooldown(world):
    """At least a tenth of a second."""
    pauses = []
    for _ in range(40):
        request = Refused(world)
        for _ in range(5):
            if request.wants != "send old":
                break
            request.answered(401)
        pause = status(world).next_look.timestamp() - world.clock.now()
        age = world.clock.now() - status(world).rejected_since.timestamp()
        pauses.append(pause)
        assert pause == pytest.approx(min(max(age / 4, 0.1), 30.0), abs=1e-3)
        world.clock.advance(pause + 1e-6)
    assert pauses[0] == pytest.approx(0.1, abs=1e-3)
    assert pauses[-1] == 30.0


def test_in_the_first_second_a_401_waits_for_the_next_look(world):
    """And then begins it, whatever else has ended the wait."""
    Refused(world).answered(401)
    waiting = Refused(world)
    assert (waiting.wants, waiting.seconds) == ("wait", pytest.approx(0.1))
    assert waiting.in_vain().wants == "send old"
    assert world.store.reads == 2


def test_after_the_first_second_a_401_in_the_pause_goes_back_unread(world):
    """Without a resend."""
    Refused(world).answered(401)
    world.clock.advance(0.95)
    Refused(world).answered(401)
    world.clock.advance(0.06)
    assert Refused(world).wants == "back"
    assert "pause" in last(world, "RequestRejected").why
    assert world.store.reads == 2


def test_a_pause_that_a_new_secret_ends_wakes_who_waits(world):
    """They resend with it."""
    Refused(world).answered(401)
    waiting = Refused(world)
    world.store.current = "new"
    world.auth.refresh()
    assert waiting.is_woken
    assert waiting.woken().wants == "send new"


def test_a_pause_that_an_accepted_answer_ends_wakes_who_waits(world):
    """The next look may begin at once."""
    Refused(world).answered(401)
    waiting = Refused(world)
    world.auth._note(place(world), sign(world), 200)
    assert waiting.is_woken
    assert waiting.woken().wants == "send old"


def test_a_spent_body_does_not_wait_for_a_pause(world):
    """It could not be sent again after it."""
    Refused(world).answered(401)
    assert Refused(world, replayable=False).wants == "back"


# -- false alarms


def false_alarm(world):
    """Look in vain, then have the same secret accepted."""
    request = Refused(world)
    while request.wants.startswith("send"):
        request.answered(401)
    world.auth._note(place(world), sign(world), 200)


def test_after_three_false_alarms_the_third_401_in_a_row_looks(world):
    """Two go back unread."""
    for _ in range(3):
        false_alarm(world)
    reads = world.store.reads
    assert [Refused(world).wants for _ in range(3)] == ["back", "back", "send old"]
    assert world.store.reads == reads + 1


def test_an_accepted_answer_begins_the_count_anew(world):
    """In a row means one after the other."""
    for _ in range(3):
        false_alarm(world)
    for _ in range(4):
        assert [Refused(world).wants for _ in range(2)] == ["back", "back"]
        world.auth._note(place(world), sign(world), 200)


def test_two_false_alarms_are_too_few(world):
    """A look begins at each 401."""
    for _ in range(2):
        false_alarm(world)
    assert Refused(world).wants == "send old"


def test_an_hour_without_one_forgets_false_alarms(world):
    """And a second less does not."""
    for _ in range(3):
        false_alarm(world)
    world.clock.advance(3599.9)
    assert Refused(world).wants == "back"
    world.auth._note(place(world), sign(world), 200)
    world.clock.advance(2)
    assert Refused(world).wants == "send old"


def see_alarms_counted_anew(world):
    """After two more a look still begins at the first 401, after three it does not."""
    for _ in range(2):
        false_alarm(world)
    found = Refused(world)
    assert found.wants == "send old"
    found.broken_off()
    world.auth._note(place(world), sign(world), 200)
    false_alarm(world)
    assert Refused(world).wants == "back"


def test_alarms_that_were_forgotten_are_counted_anew(world):
    """Three again, neither two nor four."""
    for _ in range(3):
        false_alarm(world)
    world.clock.advance(3601)
    see_alarms_counted_anew(world)


def test_a_refresh_forgets_false_alarms(world):
    """The next ones count anew: two are too few again, three are enough."""
    for _ in range(3):
        false_alarm(world)
    world.auth.refresh()
    see_alarms_counted_anew(world)


def test_a_look_that_found_something_counts_alarms_anew(around):
    """Two after it are too few, three are enough."""
    for _ in range(2):
        false_alarm(around)
    Refused(around).answered(401).answered(200)
    for _ in range(2):
        false_alarm(around)
    found = Refused(around)
    assert found.wants.startswith("send")
    found.broken_off()
    around.auth._note(place(around), sign(around), 200)
    false_alarm(around)
    assert Refused(around).wants == "back"


def test_a_look_that_a_spent_body_made_in_vain_is_a_false_alarm(world):
    """The store was asked, and the same secret then accepted."""
    for _ in range(3):
        Refused(world, replayable=False)
        world.auth._note(place(world), sign(world), 200)
    assert Refused(world).wants == "back"


def test_a_look_that_nobody_tried_in_is_no_false_alarm(world):
    """Nothing was refused."""
    for _ in range(4):
        Refused(world).broken_off()
        world.auth._note(place(world), sign(world), 200)
    assert Refused(world).wants == "send old"


def test_false_alarms_belong_to_their_origin(world):
    """Another one looks as ever."""
    for _ in range(3):
        false_alarm(world)
    assert Refused(world).wants == "back"
    assert Refused(world, origin=ELSEWHERE).wants == "send old"


# -- bodies that can't be sent again


def test_the_second_spent_body_in_a_row_hands_the_try_on(around):
    """The next request signs with the next of current, pending, previous in turn."""
    Refused(around, replayable=False)
    assert sign(around).credential.version == "old"
    Refused(around, replayable=False)
    for version in ("pending", "previous", "old", "pending"):
        assert sign(around).credential.version == version
        Refused(around, replayable=False)


def test_what_was_handed_on_and_accepted_comes_into_use(around):
    """With its event; the rejection is over."""
    for _ in range(2):
        Refused(around, replayable=False)
    around.auth._note(place(around), sign(around), 200)
    assert status(around).version == "pending"
    assert status(around).rejected_since is None
    assert last(around, "CredentialRotated").origin == ORIGIN
    assert last(around, "CredentialRotated").previous_version == "old"


def test_a_new_offset_is_handed_on_before_another_secret(around):
    """The clock is the likelier reason."""
    date = formatdate(around.clock.now() + 500, usegmt=True)
    for _ in range(2):
        Refused(around, replayable=False, answer=Answer(401, date))
    assert sign(around).credential.version == "old"
    assert sign(around).offset == pytest.approx(500, abs=1)
    Refused(around, replayable=False, answer=Answer(401, date))
    assert sign(around).credential.version == "pending"


def test_what_is_handed_on_is_signed_at_once(around):
    """The token that was held for this origin is not used again."""
    before = around.auth.token(ORIGIN)
    for _ in range(2):
        Refused(around, replayable=False)
    assert around.auth.token(ORIGIN) != before
    assert sign(around).credential.version == "pending"


def test_with_one_alternate_the_two_take_turns():
    """Current and pending."""
    around = World(Store("old", "pending")).settle()
    for version in ("old", "old", "pending", "old", "pending"):
        assert sign(around).credential.version == version
        Refused(around, replayable=False)


@pytest.mark.parametrize(("seconds", "version"), [(0.5, "pending"), (1.0, "pending"), (1.5, "old")])
def test_an_offset_that_was_handed_on_is_not_handed_on_again(around, seconds, version):
    """A second's difference is the header's own grain; more is another offset."""
    date = formatdate(around.clock.now() + 500, usegmt=True)
    for _ in range(2):
        Refused(around, replayable=False, answer=Answer(401, date))
    assert sign(around).offset == pytest.approx(500, abs=1)
    around.clock.advance(seconds)
    Refused(around, replayable=False, answer=Answer(401, date))
    assert sign(around).credential.version == version


def test_a_new_offset_is_tried_with_the_secret_that_was_refused(around):
    """Also where that is the pending one."""
    for _ in range(2):
        Refused(around, replayable=False)
    date = formatdate(around.clock.now() - 700, usegmt=True)
    Refused(around, replayable=False, answer=Answer(401, date))
    assert sign(around).credential.version == "pending"
    assert sign(around).offset == pytest.approx(-700, abs=1)


def test_a_date_that_teaches_nothing_hands_another_secret_on(around):
    """Not the same one without the offset that was in use."""
    date = formatdate(around.clock.now() + 500, usegmt=True)
    Refused(around, answer=Answer(401, date)).answered(200)
    for _ in range(2):
        Refused(around, replayable=False)
    assert sign(around).credential.version == "pending"


@pytest.mark.parametrize("others", [(), ("another",), ("another", "third")])
@pytest.mark.parametrize("ahead", [None, 500.0])
def test_what_the_store_knows_no_more_is_followed_by_the_current_one(around, others, ahead):
    """The alternates changed while one of them was tried; a new offset changes nothing in that."""
    old = sign(around)
    for _ in range(2):
        Refused(around, replayable=False)
    around.store.others = others
    around.clock.advance(1.0)
    Refused(around, old).broken_off()  # whose look reads the alternates
    assert sign(around).credential.version == "pending"
    date = formatdate(around.clock.now() + ahead, usegmt=True) if ahead else None
    Refused(around, replayable=False, answer=Answer(401, date))
    assert sign(around).credential.version == "old"
    assert sign(around).offset == pytest.approx(ahead or 0, abs=1)


def test_a_late_acceptance_of_the_old_one_drops_what_was_handed_on(around):
    """It proves that nothing was wrong with it: a false alarm."""
    for _ in range(3):
        signed = sign(around)
        for _ in range(2):
            Refused(around, replayable=False)
        assert version_of(around.auth.token(ORIGIN)) == "pending"
        around.auth._note(place(around), signed, 200)
        assert version_of(around.auth.token(ORIGIN)) == "old"
    assert Refused(around).wants == "back"


def test_a_spent_body_that_looked_hands_the_try_on_as_well(around):
    """Not only one that met the pause."""
    for _ in range(2):
        Refused(around, replayable=False)
        around.clock.advance(0.2)
    assert around.store.reads == 2
    assert sign(around).credential.version == "pending"


def test_with_one_secret_nothing_is_handed_on(world):
    """There is nothing else."""
    for _ in range(4):
        Refused(world, replayable=False)
    assert sign(world).credential.version == "old"
    assert place(world).probe is None


def test_a_request_that_can_be_sent_again_counts_no_spent_body(around):
    """It tries by itself."""
    Refused(around).broken_off()
    around.clock.advance(0.2)
    Refused(around, replayable=False)
    assert sign(around).credential.version == "old"


# -- the store


@pytest.mark.parametrize("error", [SourceUnavailable("down"), ValueError("odd")])
def test_a_store_that_fails_at_a_401_leaves_what_is_held_to_be_tried(world, error):
    """The 401 goes back, never our error; the alternates are not asked for."""
    world.store.error = error
    request = Refused(world)
    assert request.wants == "send old"
    assert request.answered(401).wants == "back"
    assert world.store.alternate_reads == 0
    assert world.auth.status().state == "rejected"


def test_a_store_that_says_no_at_a_401_ends_it(world):
    """What is held is dropped; the next request raises what it must."""
    world.store.error = SourceRejected("gone", reason="deleted")
    request = Refused(world)
    assert request.wants == "back"
    with pytest.raises(SourceRejected):
        sign(world)


def test_a_revocation_during_a_look_ends_it_for_all(world):
    """Who comes next sees it, and who waits is woken, looks once more, and goes back."""
    signed = sign(world)
    *tries, sixth = [Refused(world) for _ in range(6)]
    world.store.error = SourceRejected("gone", reason="deleted")
    with pytest.raises(SourceRejected):
        world.auth.refresh()
    assert not sixth.is_woken
    assert Refused(world, signed).wants == "back"
    assert last(world, "RequestRejected").age == 0.0
    assert sixth.woken().wants == "wait"  # for the next look, since its 401 came after the read
    assert sixth.in_vain().wants == "back"
    assert tries[0].answered(401).wants == "back"


def test_while_four_reads_hang_what_is_held_is_tried_at_once(world):
    """No fifth one is begun, and nobody waits for it."""
    released, begun = threading.Event(), []
    world.store.fetch = lambda: begun.append(1) or (released.wait(10) and None)
    signed = sign(world)
    for count in range(1, 5):
        request = Refused(world, signed, reads=False)
        assert request.seconds == 10.0
        eventually(lambda count=count: len(begun) == count)
        assert request.in_vain().wants == "send old"
        request.broken_off()
        world.clock.advance(0.2)
    assert Refused(world, signed, reads=False).wants == "send old"
    assert len(begun) == 4
    released.set()


def test_who_joins_a_read_waits_for_what_is_left_of_its_time(world):
    """The deadline is the read's, not the waiter's."""
    released = threading.Event()
    world.store.fetch = lambda: released.wait(10) and None
    signed = sign(world)
    first = Refused(world, signed, reads=False)
    world.clock.advance(4)
    second = Refused(world, signed, reads=False)
    assert (first.seconds, second.seconds) == (10.0, 6.0)
    released.set()


def test_a_request_whose_secret_was_revoked_meanwhile_goes_back(world):
    """There is nothing to resend it with."""
    signed = sign(world)
    world.store.error = SourceRejected("gone", reason="deleted")
    with pytest.raises(SourceRejected):
        world.auth.refresh()
    assert Refused(world, signed).wants == "back"


def test_a_request_that_arrived_unsigned_with_nothing_held_goes_back(world):
    """The 401, never our error in its place; the event names its kind."""
    world.store.error = SourceRejected("gone", reason="deleted")
    with pytest.raises(SourceRejected):
        world.auth.refresh()
    assert Refused(world, None).wants == "back"
    assert last(world, "RequestRejected").why == "the store failed: SourceRejected"


def test_a_read_that_was_waited_for_in_vain_is_given_up(world):
    """Though the clock stood still; what is held is tried."""
    released = threading.Event()
    world.store.fetch = lambda: released.wait(10) and None
    signed = sign(world)
    request = Refused(world, signed, reads=False)
    assert request.wants == "wait"
    assert request.in_vain().wants == "send old"
    assert last(world, "SourceFailed").reason == "timeout"
    released.set()


def test_a_door_that_answers_oddly_is_told(world):
    """A mistake in a door, not of a partner."""
    with pytest.raises(TypeError, match="answered by an Answer"):
        Refused(world).answered_oddly(True)


# -- the log


def test_a_rejection_is_a_warning_once_a_look(world, caplog):
    """The others are DEBUG."""
    with caplog.at_level(logging.DEBUG, "partner_auth"):
        for one in [Refused(world) for _ in range(5)]:
            one.answered(401)
        world.clock.advance(1.01)
        Refused(world).answered(401)
        Refused(world)
    lines = [record for record in caplog.records if record.getMessage().startswith("RequestRej")]
    assert [record.levelname for record in lines] == ["WARNING", "WARNING", "DEBUG"]


def test_the_event_of_a_rejection_tells_when_and_how_long(world):
    """The credential's age, since when, and the next look."""
    world.store.error = SourceUnavailable("down")
    world.clock.advance(7)
    Refused(world).answered(401)
    event = last(world, "RequestRejected")
    assert event.age == pytest.approx(7)
    assert event.rejected_since.timestamp() == pytest.approx(world.clock.now())
    assert event.next_look.timestamp() == pytest.approx(world.clock.now() + 0.1)
    assert (event.version, event.status, event.origin) == ("old", 401, ORIGIN)


def test_an_event_of_a_request_that_was_unsigned_names_no_version(world):
    """Nor a challenge where there was none; control characters are shown as a question mark."""
    answer = Answer(401, None, "Bearer\x07 realm=x")
    Refused(world, None, replayable=False, answer=answer)
    event = last(world, "RequestRejected")
    assert event.version is None
    assert event.next_look is None
    assert event.challenge == "Bearer? realm=x"
    assert place(world).origin == HERE


def test_two_hundred_characters_of_a_challenge_are_shown(world):
    """No more and no less."""
    Refused(world, None, replayable=False, answer=Answer(401, None, "Bearer " * 100))
    assert last(world, "RequestRejected").challenge == ("Bearer " * 100)[:200]
