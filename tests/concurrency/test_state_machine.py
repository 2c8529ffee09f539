"""Store, partner, clocks and requests in any order: no failure that could have been avoided."""

import functools
import threading
import time
from email.utils import formatdate

import httpx
import jwt
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from partner_auth import (
    Credential,
    CredentialError,
    CredentialInvalid,
    PartnerAuth,
    RefreshPolicy,
    SourceRejected,
    SourceUnavailable,
)
from partner_auth.testing import Clock
from tests.concurrency.kit import NEW, NEWER, OLD, eventually, readers

SECRETS = (OLD, NEW, NEWER)
URL = "https://api.partner.example/portfolio"
FAILURES = {
    "down": SourceUnavailable("down"),
    "refuses": SourceRejected("no", reason="denied"),
    "unreadable": CredentialInvalid("half a document"),
    "foreign": ValueError(OLD),
}
MOST_READS = 4  # of each kind, that one request may cause


class Store:
    """What a secrets manager does, and what it should not do."""

    def __init__(self, clock):
        self.clock = clock
        self.does = "works"
        self.secret, self.pending = OLD, None
        self.reads = 0
        self.hanging = []
        self.released = threading.Event()
        self.auth = None

    def fetch(self):
        self.reads += 1
        if self.does == "hangs":
            self.hang()
        if self.does in FAILURES:
            raise FAILURES[self.does]
        return Credential("acme", self.secret, version=str(SECRETS.index(self.secret)))

    def alternates(self):
        self.reads += 1
        return [Credential("acme", self.pending)] if self.pending else []

    def hang(self):
        """Let whoever waits lose patience, and hang."""
        released = self.released
        self.hanging.append(self.auth._cache.reads.under_way)
        until = time.monotonic() + 0.02
        while not self.clock.waiting and time.monotonic() < until:
            time.sleep(0.0005)
        if self.clock.waiting:
            self.clock.advance(10)
        released.wait()

    def hangs_now(self):
        """Whether the read that callers would wait for is one that hangs."""
        return any(read is self.auth._cache.reads.under_way for read in self.hanging)

    def release(self):
        """Let all that hang go on."""
        self.does = "works"
        released, self.released = self.released, threading.Event()
        released.set()

    def __repr__(self):
        return "Store()"


class ImpatientClock(Clock):
    """A clock on which a wait for a read that hangs is over at once."""

    store = None

    def wait(self, seconds, wake, *, busy):
        return super().wait(seconds, wake, busy=busy and not self.store.hangs_now())


def change(**drawn):
    """Make a rule of something that happens, with or without a request right after it."""

    def decorate(happens):
        @functools.wraps(happens)
        def both(self, *, asked, **values):
            happens(self, **values)
            if asked:
                self.a_request()

        return rule(asked=st.booleans(), **drawn)(both)

    return decorate


class Rotations(RuleBasedStateMachine):
    """One object, with one client that drives its flow by hand."""

    def __init__(self):
        super().__init__()
        self.clock = ImpatientClock()
        self.store = self.clock.store = Store(self.clock)
        self.accepted = {OLD}
        self.skew = 0
        self.told = []
        self.auth = self.store.auth = PartnerAuth(
            self.store,
            origins="https://api.partner.example",
            clock=self.clock,
            refresh=RefreshPolicy(jitter=0),
            on_event=self.told.append,
        )

    # -- the partner

    def answer(self, request):
        """Answer as the partner does: by the token's signature and its times."""
        now = self.clock.now() + self.skew
        token = request.headers["Authorization"].removeprefix("Bearer ")
        headers = {"Date": formatdate(now, usegmt=True)}
        good = any(self.believes(token, secret, now) for secret in self.accepted)
        return httpx.Response(200 if good else 401, headers=headers, request=request)

    @staticmethod
    def believes(token, secret, now):
        options = {"verify_exp": False, "verify_iat": False}
        try:
            claims = jwt.decode(token, secret, algorithms=["HS256"], options=options)
        except jwt.InvalidSignatureError:
            return False
        return claims["iat"] <= now + 5 and now < claims["exp"]

    def send(self, **body):
        """Drive one request to its end. Return the statuses that it met, or the error."""
        flow = self.auth.sync_auth_flow(httpx.Request("POST", URL, **body))
        statuses = []
        try:
            request = next(flow)
            while True:
                response = self.answer(request)
                statuses.append(response.status_code)
                request = flow.send(response)
        except StopIteration:
            return statuses
        except CredentialError as error:
            return error

    # -- what happens

    @change(secret=st.sampled_from(SECRETS))
    def the_store_changes(self, secret):
        self.store.secret = secret

    @change(secret=st.sampled_from((*SECRETS, None)))
    def the_store_announces(self, secret):
        self.store.pending = secret

    @change(does=st.sampled_from(["works", "hangs", "hangs", *FAILURES]))
    def the_store_behaves(self, does):
        self.store.does = does

    @rule()
    @precondition(lambda self: self.store.hanging)
    def the_store_wakes(self):
        self.store.release()
        eventually(lambda: not readers())
        self.store.hanging.clear()

    @change(accepted=st.sets(st.sampled_from(SECRETS)))
    def the_partner_changes(self, accepted):
        self.accepted = accepted

    @change()
    def the_partner_refuses_all_for_a_moment(self):
        accepted, self.accepted = self.accepted, set()
        self.send()
        self.accepted = accepted

    @change(skew=st.sampled_from([0, 0, 30, -3000, 3000]))
    def the_partner_s_clock_is_off(self, skew):
        self.skew = skew

    @change(seconds=st.sampled_from([0.1, 1, 5, 31, 61, 850, 901, 4600]))
    def time_passes(self, seconds):
        self.clock.advance(seconds)

    @change(seconds=st.sampled_from([-3600, -5, 5, 3600]))
    def the_wall_clock_is_set(self, seconds):
        self.clock.step_wall(seconds)

    @change(seconds=st.sampled_from([5, 3600, 36_000]))
    def the_machine_sleeps(self, seconds):
        self.clock.suspend(seconds)

    # -- what is asked

    @rule()
    def a_request(self):
        mendable, empty = self.mendable(), self.auth.status().state == "empty"
        before = self.store.reads
        outcome = self.send(json={"a": 1})
        if isinstance(outcome, CredentialError):
            assert not mendable
            assert empty, "an error in place of an answer, though something was held"
        else:
            assert len(outcome) <= 4
            assert set(outcome[:-1]) <= {401}
            assert outcome[-1] == 200 or not mendable, (outcome, self.auth.status())
        assert self.store.reads - before <= 2 * MOST_READS

    @rule()
    def a_request_with_a_stream(self):
        outcome = self.send(content=iter([b"once"]))
        assert isinstance(outcome, CredentialError) or len(outcome) == 1

    @rule()
    def many_requests(self):
        before = self.store.reads
        for _ in range(20):
            self.send()
        assert self.store.reads - before <= 2 * 16

    @rule()
    def a_token(self):
        try:
            self.auth.token()
        except CredentialError as error:
            self.told.append(error)

    @rule()
    def a_refresh(self):
        before = self.store.secret, self.store.does
        try:
            self.auth.refresh()
        except CredentialError as error:
            assert before[1] != "works" or self.store.hanging
            self.told.append(error)
        else:
            assert self.auth.status().version == str(SECRETS.index(before[0]))

    @rule()
    def all_is_well_again(self):
        """A store that works and a partner that agrees: right within 31 s, and three requests."""
        if self.store.hanging:
            self.the_store_wakes()
        self.store.does = "works"
        self.accepted = {self.store.secret}
        self.clock.advance(31)
        assert 200 in [self.send()[-1] for _ in range(3)][-1:]

    def mendable(self):
        """Whether the rules promise that a request now ends accepted."""
        status, cache = self.auth.status(), self.auth._cache
        works = self.store.does == "works" and self.store.secret in self.accepted
        if not works or self.store.hangs_now() or len(self.store.hanging) >= 4:
            return False
        if status.state == "empty" and status.last_error and status.next_read:
            return False  # in a pause between failed reads, with nothing held
        now = self.clock.monotonic()
        return not any(
            place.alarms >= 3 or (now < place.next_look and not place.is_young(now))
            for place in cache.places.values()
        )

    # -- what always holds

    @invariant()
    def reads_end(self):
        eventually(lambda: len(readers()) == len(self.store.hanging))

    @invariant()
    def nothing_shows_a_secret(self):
        said = f"{self.told!r} {self.auth!r} {self.auth.status()!r}"
        assert not [secret for secret in SECRETS if secret in said]
        assert "eyJ" not in said  # how every token begins
        self.told.clear()

    def teardown(self):
        self.store.release()
        eventually(lambda: not readers())


TestRotations = Rotations.TestCase
TestRotations.settings = settings(
    max_examples=50, stateful_step_count=30, deadline=None, derandomize=True
)
