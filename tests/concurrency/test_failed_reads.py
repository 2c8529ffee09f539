"""A store that fails: what callers get, when it is asked again, and what a refusal ends."""

import gc
import itertools
import warnings

import httpx
import pytest

from partner_auth import (
    ConfigurationError,
    Credential,
    CredentialInvalid,
    PartnerAuthWarning,
    SourceRejected,
    SourceUnavailable,
)
from partner_auth.events import SourceFailed
from partner_auth.exceptions import PartnerAuthError
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

GONE = SourceRejected("the secret was deleted", reason="deleted")
PEM = "-----BEGIN PUBLIC KEY-----\nMFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBAK\n-----END PUBLIC KEY-----\n"


class Script:
    """A source that does whatever it is told to at each read."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.reads = 0

    def fetch(self):
        self.reads += 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def __repr__(self):
        return "Script()"


def gaps(auth, store, clock, count, *, call):
    """Return the seconds between the next `count` reads under constant traffic, 0.25 s apart."""
    seen, at = [], []
    while len(at) <= count:
        call()
        quiet()
        if store.reads not in seen:
            seen.append(store.reads)
            at.append(clock.monotonic())
        clock.advance(0.25)
    return [later - earlier for earlier, later in itertools.pairwise(at)]


# -- not now, with nothing held


def test_the_error_comes_at_once_in_the_pause(store, clock):
    """With nothing held, callers within the pause get the last error without a read."""
    store.fail(DOWN)
    auth = exact(store, clock)
    errors = [failure(auth.token) for _ in range(20)]
    assert {str(error) for error in errors} == {"the store is down"}
    assert store.reads == 1


def test_each_caller_gets_an_error_of_its_own(store, clock):
    """One exception object raised twice would mix two tracebacks."""
    store.fail(DOWN)
    auth = exact(store, clock)
    errors = [failure(auth.token) for _ in range(5)]
    assert len({id(error) for error in errors}) == 5
    assert all(error.__cause__ is error.__context__ is None for error in errors)


@pytest.mark.parametrize("backoff", [1.0, 0.5])
def test_the_pause_never_exceeds_backoff_while_nothing_is_held(store, clock, backoff):
    """However long the outage, a store that is back is found within `backoff`."""
    store.fail(DOWN)
    auth = exact(store, clock, backoff=backoff)
    failure(auth.token)
    assert gaps(auth, store, clock, 8, call=lambda: failure(auth.token)) == [backoff] * 8


def test_the_pause_ends_with_the_outage(store, clock):
    """The first caller after the pause reads, and is served."""
    store.fail(DOWN, times=1)
    auth = exact(store, clock)
    failure(auth.token)
    clock.advance(1)
    assert signer_of(auth.token()) == OLD


def test_once_the_pause_is_over_the_next_request_reads(store, clock):
    """Then there is no time to tell: `next_read` is None."""
    store.fail(DOWN)
    auth = exact(store, clock)
    failure(auth.token)
    assert auth.status().next_read.timestamp() == clock.now() + 1
    clock.advance(1)
    assert auth.status().next_read is None


def test_all_who_waited_for_a_read_fail_with_it(store):
    """A caller whose read failed gets its error, though the pause is over before it wakes."""
    store.fail(DOWN)
    store.delay(0.01)
    auth = exact(store, backoff=1e-9)
    failure(auth.token)
    assert store.reads == 1


def test_a_failure_keeps_no_frame_alive():
    """What is remembered of an error is kind and text: its frames hold the secret."""

    class Local:
        """Stands for the store's answer, with the secret in it."""

    class Leaky:
        def fetch(self):
            document = Local()
            raise ValueError(document)

    auth = exact(Leaky())
    failure(auth.token)
    quiet()
    gc.collect()
    assert not [one for one in gc.get_objects() if type(one) is Local]


# -- not now, with a credential held


@pytest.mark.parametrize(
    "error",
    [
        DOWN,
        CredentialInvalid("half a document"),
        ConfigurationError("a variable is missing"),
        ValueError("foreign"),
        None,
        Credential("acme", PEM),
        Credential("acme", NEW, expires_at=1.0),
    ],
    ids=["unavailable", "unreadable", "configuration", "foreign", "nothing", "misfit", "expired"],
)
def test_not_now_serves_what_is_held(clock, error):
    """Whatever a read brings that is neither a credential nor a refusal, what is held serves."""
    source = Script(Credential("acme", OLD), error)
    auth = exact(source, clock)
    auth.token()
    clock.advance(901)
    for _ in range(5):
        assert signer_of(auth.token()) == OLD
        quiet()
    assert (source.reads, auth.status().state) == (2, "stale")
    assert auth.status().last_error


def test_pauses_double_up_to_backoff_max_while_held(store, clock):
    """While callers are served the store is asked less and less, at least once in `backoff_max`."""
    auth = exact(store, clock, max_stale=9000)
    auth.token()
    store.fail(DOWN)
    clock.advance(901)
    found = gaps(auth, store, clock, 8, call=auth.token)
    assert found == [1, 2, 4, 8, 16, 32, 60, 60]


def test_grown_pauses_are_jittered_too(store, clock):
    """A fleet does not ask in step, though its pauses have grown to `backoff_max`."""
    pauses = set()
    for _ in range(8):
        store.fail(None)
        auth = exact(store, clock, backoff=60, jitter=0.5)
        auth.token()
        store.fail(DOWN)
        clock.advance(901)
        auth.token()
        quiet()
        pauses.add(auth.status().next_read.timestamp() - clock.now())
    assert len(pauses) == 8
    assert all(30 <= pause <= 60 for pause in pauses)


def test_a_landing_forgets_the_failures(store, clock):
    """After a read that lands the pauses begin at `backoff` again, and no error is shown."""
    auth = exact(store, clock, max_stale=9000)
    auth.token()
    for _ in range(2):
        store.fail(DOWN)
        clock.advance(901)
        assert gaps(auth, store, clock, 2, call=auth.token) == [1, 2]
        store.fail(None)
        clock.advance(60)
        auth.token()
        quiet()
        assert (auth.status().state, auth.status().last_error) == ("fresh", None)


def test_a_grown_pause_shrinks_once_nothing_is_held(store, clock):
    """A credential that ends in the middle of a long pause ends the pause: callers now wait."""
    store.set(Credential("acme", OLD, expires_at=clock.now() + 1000))
    auth = exact(store, clock)
    auth.token()
    store.fail(DOWN)
    clock.advance(901)
    gaps(auth, store, clock, 5, call=auth.token)
    clock.advance(1000 - (clock.now() - 1_767_225_600.0))
    store.set(NEW)
    store.fail(None)
    assert signer_of(auth.token()) == NEW


# -- no


def test_a_refusal_revokes_at_once(store, clock):
    """A store that says no ends the use of what is held, however fresh."""
    auth = exact(store, clock)
    auth.token()
    store.fail(GONE)
    failure(auth.refresh)
    error = failure(auth.token)
    assert (type(error), error.reason, auth.status().state) == (SourceRejected, "deleted", "empty")


def test_a_deletion_takes_effect_with_the_first_read_after_fresh_for(store, clock):
    """What is sent until that read lands is still signed, and nothing after it."""
    auth = exact(store, clock)
    auth.token()
    store.fail(GONE)
    clock.advance(899)
    assert (signer_of(auth.token()), store.reads) == (OLD, 1)
    clock.advance(1)
    assert signer_of(auth.token()) == OLD
    quiet()
    assert type(failure(auth.token)) is SourceRejected


def test_pauses_after_a_refusal_grow_to_cooldown(store, clock):
    """A store that keeps on saying no is asked once in `cooldown`."""
    store.fail(GONE)
    auth = exact(store, clock)
    failure(auth.token)
    found = gaps(auth, store, clock, 7, call=lambda: failure(auth.token))
    assert found == [1, 2, 4, 8, 16, 30, 30]


@pytest.mark.parametrize("reason", ["not_found", "not_configured"])
def test_absence_is_not_now_where_the_source_says_so(clock, reason):
    """A file or variable that is not there while a credential is held says nothing about it."""
    source = Script(Credential("acme", OLD), SourceRejected("no such file", reason=reason))
    source.absence_is_transient = True
    auth = exact(source, clock)
    auth.token()
    failure(auth.refresh)
    assert (signer_of(auth.token()), auth.status().state) == (OLD, "fresh")


def test_absence_is_a_refusal_where_the_source_does_not_say_so(clock):
    """A secrets manager that knows no such secret has deleted it."""
    source = Script(Credential("acme", OLD), SourceRejected("no such secret", reason="not_found"))
    auth = exact(source, clock)
    auth.token()
    failure(auth.refresh)
    assert auth.status().state == "empty"


def test_a_denial_is_a_refusal_wherever_it_comes_from(clock):
    """`absence_is_transient` is about absence, not about being refused."""
    source = Script(Credential("acme", OLD), SourceRejected("no", reason="denied"))
    source.absence_is_transient = True
    auth = exact(source, clock)
    auth.token()
    failure(auth.refresh)
    assert auth.status().state == "empty"


# -- what sources do wrong


def test_a_foreign_exception_is_named_by_its_type_alone(clock):
    """What a source raises that is not ours may quote the secret."""
    error = failure(exact(Script(ValueError(f"can't parse {OLD}")), clock).token)
    assert (type(error), error.reason) == (SourceUnavailable, "unreachable")
    assert "ValueError" in str(error)
    assert OLD not in str(error)


@pytest.mark.parametrize("answer", [None, "secret", ("acme", "secret")])
def test_what_is_no_credential_is_named_by_its_type_alone(clock, answer):
    """A source that returns something else is told what is wanted."""
    error = failure(exact(Script(answer), clock).token)
    assert type(error) is CredentialInvalid
    assert type(answer).__name__ in str(error)
    assert "secret'" not in str(error)


def test_a_key_that_does_not_fit_is_found_at_the_read(clock):
    """A PEM can't sign with HS256: no token is attempted with it."""
    error = failure(exact(Script(Credential("acme", PEM)), clock).token)
    assert type(error) is CredentialInvalid
    assert "algorithm" in str(error)


def test_an_expired_credential_is_no_read_loop(clock):
    """A store that holds an expired credential is read once a pause, with an error that says so."""
    source = Script(Credential("acme", OLD, expires_at=clock.now() - 1))
    auth = exact(source, clock)
    errors = [failure(auth.token) for _ in range(20)]
    assert source.reads == 1
    assert "expired" in str(errors[-1])


@pytest.mark.parametrize("left", [0.5, 1.5, 2.5])
def test_a_credential_about_to_expire_is_no_read_loop(clock, left):
    """One whose end is near is used to its end, or refused: never read for each request."""
    source = Script(Credential("acme", OLD, expires_at=clock.now() + left))
    auth = exact(source, clock)
    for _ in range(20):
        try:
            claims = claims_of(auth.token())
        except PartnerAuthError:
            continue
        assert claims["iat"] < claims["exp"] <= clock.now() + left
    assert source.reads <= 1


def test_a_credential_with_more_than_a_second_left_is_used(clock):
    """It can sign a token yet."""
    auth = exact(Script(Credential("acme", OLD, expires_at=clock.now() + 1.5)), clock)
    assert signer_of(auth.token()) == OLD


# -- what is told


def told_by(source, clock, **policy):
    """Make an object and the list of the failures that it tells of."""
    told = []

    def note(event):
        if isinstance(event, SourceFailed):
            told.append(event)

    return exact(source, clock, on_event=note, **policy), told


def test_a_failed_read_is_told_once(store, clock):
    """Callers in the pause are no further event."""
    store.fail(DOWN)
    auth, told = told_by(store, clock)
    for _ in range(5):
        failure(auth.token)
    quiet()
    assert [(event.error, event.held) for event in told] == [("SourceUnavailable", False)]


def test_an_overdue_read_is_told_too(store, clock):
    """A store that hangs is a failed read: someone will ask for it at three in the morning."""
    store.delay(FOREVER)
    auth, told = told_by(store, clock, timeout=0.05)
    failure(auth.token)
    eventually(lambda: told)
    assert [(event.error, event.reason) for event in told] == [("SourceUnavailable", "timeout")]


@pytest.mark.parametrize("verb", ["token", "refresh"])
def test_an_overdue_read_that_nobody_waits_for_is_told_too(store, clock, verb):
    """Whoever comes next finds it, and tells."""
    auth, told = told_by(store, clock)
    auth.token()
    store.delay(FOREVER, times=1)
    clock.advance(901)
    auth.token()
    store.wait_for_reads(2)
    clock.advance(10)
    getattr(auth, verb)()
    assert [event.reason for event in told] == ["timeout"]


def test_a_callback_told_of_a_failure_learns_the_reason(store, clock):
    """A callback that asks for a token in turn gets the read's own error."""
    store.fail(DOWN)
    seen = []
    auth = exact(store, clock, on_event=lambda _event: seen.append(failure(auth.token)))
    failure(auth.token)
    quiet()
    assert [str(error) for error in seen] == ["the store is down"]


def test_a_revocation_reaches_an_origin_that_was_forgotten(store):
    """Of the 1,024 that are remembered the eldest goes; a client may still know it."""
    auth = exact(store)
    eldest = httpx.Request("GET", "https://eldest.example/")
    next(auth.sync_auth_flow(eldest))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PartnerAuthWarning)  # more than one origin is signed
        for count in range(1024):
            auth.token(f"https://{count}.example/")
    assert len(auth.status().origins) == 1024
    again = httpx.Request("GET", "https://eldest.example/")
    assert "Authorization" in next(auth.sync_auth_flow(again)).headers
    store.fail(GONE)
    failure(auth.refresh)
    assert isinstance(failure(next, auth.sync_auth_flow(eldest)), SourceRejected)
