"""What is held, as time passes: empty, fresh, stale, gone."""

import threading

import pytest

from partner_auth import Credential, PartnerAuth, RefreshPolicy
from tests.concurrency.kit import (
    DOWN,
    FOREVER,
    NEW,
    OLD,
    claims_of,
    eventually,
    exact,
    failure,
    quiet,
    signer_of,
)

HOURS = 10 * 3600.0


def span(auth):
    """Return how long what is held stays fresh, in seconds."""
    status = auth.status()
    return (status.next_read - status.fetched_at).total_seconds()


# -- empty


def test_construction_reads_nothing(store, clock):
    """An object that nobody has used is empty, and has not asked the store."""
    assert (exact(store, clock).status().state, store.reads) == ("empty", 0)


def test_the_first_caller_waits_for_a_read(store, clock):
    """With nothing held a token comes from a read."""
    auth = exact(store, clock)
    assert (signer_of(auth.token()), store.reads, auth.status().state) == (OLD, 1, "fresh")


# -- fresh


def test_fresh_is_served_without_a_read(store, clock):
    """A thousand tokens within `fresh_for` are one read, though signed afresh meanwhile."""
    auth = exact(store, clock)
    for _ in range(1000):
        auth.token()
        clock.advance(0.89)
    assert store.reads == 1


def test_fresh_ends_exactly_with_jitter_0(store, clock):
    """Without jitter the store is due exactly `fresh_for` after the read."""
    auth = exact(store, clock)
    auth.token()
    assert span(auth) == 900


@pytest.mark.parametrize(("seconds", "state"), [(899.99, "fresh"), (900.0, "stale")])
def test_fresh_turns_stale(store, clock, seconds, state):
    """At `fresh_for` what is held is stale, not before."""
    auth = exact(store, clock)
    auth.token()
    clock.advance(seconds)
    assert auth.status().state == state


def test_the_first_jitter_is_drawn_over_the_whole(store):
    """Of 300 that start together the first is due again at once, the last after `fresh_for`."""
    spans = []
    for _ in range(300):
        auth = PartnerAuth(store, refresh=RefreshPolicy(fresh_for=900, jitter=0.1))
        auth.token()
        status = auth.status()
        due = status.next_read or status.fetched_at
        spans.append((due - status.fetched_at).total_seconds())
    assert min(spans) < 90
    assert 810 < max(spans) <= 900


def test_later_jitter_shortens_by_its_share(store):
    """From the second read on the time is shortened by up to `jitter`."""
    auth = PartnerAuth(store, refresh=RefreshPolicy(fresh_for=900, jitter=0.1))
    auth.token()
    spans = []
    for _ in range(100):
        auth.refresh()
        spans.append(span(auth))
    assert min(spans) >= 809.9
    assert max(spans) <= 900
    assert max(spans) - min(spans) > 30


def test_refresh_at_ends_freshness(store, clock):
    """A credential's own `refresh_at` is when the store is read, if it comes first."""
    store.set(Credential("acme", OLD, refresh_at=clock.now() + 60))
    auth = exact(store, clock)
    auth.token()
    assert span(auth) == 60


def test_refresh_at_beyond_fresh_for_changes_nothing(store, clock):
    """The earlier of both counts."""
    store.set(Credential("acme", OLD, refresh_at=clock.now() + 9000))
    auth = exact(store, clock)
    auth.token()
    assert span(auth) == 900


def test_refresh_at_in_the_past_is_no_read_per_request(store, clock):
    """A store that is behind with its rotation is read once a `backoff`, whatever the traffic."""
    store.set(Credential("acme", OLD, refresh_at=clock.now() - 60))
    auth = exact(store, clock)
    for _ in range(100):
        auth.token()
        quiet()
        clock.advance(0.05)
    assert store.reads <= 6


# -- stale


def test_stale_is_served_while_one_read_runs(store, clock):
    """Callers of a stale credential are served at once, and share one read behind it."""
    auth = exact(store, clock)
    auth.token()
    store.delay(FOREVER)
    clock.advance(901)
    for _ in range(50):
        assert signer_of(auth.token()) == OLD
    store.wait_for_reads(2)
    assert (store.reads, auth.status().state) == (2, "stale")


def test_the_read_behind_a_stale_credential_brings_the_new_one(store, clock):
    """What the background read found is what the next request carries."""
    auth = exact(store, clock)
    auth.token()
    store.set(NEW)
    clock.advance(901)
    auth.token()
    eventually(lambda: signer_of(auth.token()) == NEW)
    assert (store.reads, auth.status().state) == (2, "fresh")


def test_who_cannot_be_sent_again_waits_to_the_deadline_of_the_first_read(store, clock):
    """And is then served with what is held, though another read is under way."""
    auth = exact(store, clock, timeout=10)
    auth.token()
    store.delay(FOREVER)
    clock.advance(901)
    cache = auth._cache
    steps = cache.take(cache.place(None, named=False), patient=True)
    assert next(steps).seconds == 10
    clock.advance(10)
    auth.refresh(wait=False)
    store.wait_for_reads(3)
    with pytest.raises(StopIteration):
        steps.send(False)


@pytest.mark.parametrize("step", [HOURS, -HOURS], ids=["forward", "back"])
def test_no_step_of_the_wall_clock_ends_max_stale(store, clock, step):
    """An outage plus a wall clock that is set by hours still serves: `max_stale` is monotonic."""
    auth = exact(store, clock)
    auth.token()
    store.fail(DOWN)
    clock.advance(901)
    auth.token()
    clock.step_wall(step)
    assert signer_of(auth.token()) == OLD


def test_a_step_forward_makes_stale(store, clock):
    """By the larger of both ages: a wrong guess costs one read."""
    auth = exact(store, clock)
    auth.token()
    clock.step_wall(HOURS)
    assert auth.status().state == "stale"


@pytest.mark.parametrize(("step", "due"), [(100, 900), (-100, 800)])
def test_the_next_read_is_told_by_the_clock_that_comes_first(store, clock, step, due):
    """Once the wall clock was stepped, they disagree."""
    auth = exact(store, clock)
    auth.token()
    fetched_at = auth.status().fetched_at
    clock.step_wall(step)
    assert (auth.status().next_read - fetched_at).total_seconds() == due


def test_a_suspend_makes_stale_not_gone(store, clock):
    """A laptop that slept for ten hours is served at once, and reads the store behind it."""
    auth = exact(store, clock)
    auth.token()
    store.delay(FOREVER)
    clock.suspend(HOURS)
    assert (auth.status().state, signer_of(auth.token())) == ("stale", OLD)
    store.wait_for_reads(2)


# -- gone


def test_gone_after_max_stale(store, clock):
    """What could not be read again for `fresh_for` and `max_stale` is no longer used."""
    auth = exact(store, clock)
    auth.token()
    store.fail(DOWN)
    clock.advance(900 + 3599)
    auth.token()
    quiet()
    clock.advance(1)
    assert auth.status().state == "empty"
    assert failure(auth.token).reason == "unreachable"


def test_callers_wait_once_it_is_gone(store, clock):
    """With a credential that is gone a caller waits for the read."""
    auth = exact(store, clock)
    auth.token()
    store.delay(FOREVER)
    store.set(NEW)
    clock.advance(900 + 3600)
    tokens = []
    caller = threading.Thread(target=lambda: tokens.append(auth.token()), daemon=True)
    caller.start()
    store.wait_for_reads(2)
    assert not tokens
    store.release()
    caller.join(5)
    assert signer_of(tokens[0]) == NEW


def test_past_expires_at_callers_wait(store, clock):
    """A credential is not used past its `expires_at`, however fresh it is."""
    store.set(Credential("acme", OLD, expires_at=clock.now() + 100))
    auth = exact(store, clock)
    auth.token()
    store.set(NEW)
    clock.advance(100)
    assert auth.status().state == "empty"
    assert signer_of(auth.token()) == NEW


def test_a_token_never_outlives_expires_at(store, clock):
    """A token's `exp` is no later than the credential's end."""
    store.set(Credential("acme", OLD, expires_at=clock.now() + 100))
    assert claims_of(exact(store, clock).token())["exp"] == clock.now() + 100


# -- the token


@pytest.mark.parametrize(("lifetime", "until"), [(900, 840), (100, 90), (3600, 3540)])
@pytest.mark.parametrize("move", ["advance", "step_wall"])
def test_a_token_is_replaced_when_a_tenth_is_left(store, clock, lifetime, until, move):
    """A token is replaced a tenth of its lifetime, at most 60 s, before its end."""
    auth = exact(store, clock, lifetime=lifetime, fresh_for=9000)
    first = auth.token()
    getattr(clock, move)(until - 1)
    assert auth.token() == first
    getattr(clock, move)(1)
    assert claims_of(auth.token())["iat"] == claims_of(first)["iat"] + until


def test_a_token_is_replaced_by_the_monotonic_clock_alone(store, clock):
    """A wall clock that was set back does not keep a used up token alive."""
    auth = exact(store, clock)
    first = auth.token()
    clock.advance(840)
    clock.step_wall(-839)
    assert claims_of(auth.token())["iat"] == claims_of(first)["iat"] + 1


def test_a_wall_clock_stepped_back_signs_anew(store, clock):
    """A token from the future would be refused: it is signed again at the time that is."""
    auth = exact(store, clock)
    auth.token()
    clock.step_wall(-100)
    assert claims_of(auth.token())["iat"] == clock.now()
    assert store.reads == 1
