"""How a Vault source keeps its token alive, shares it, and never presses a refused login."""

import contextlib
import os
import threading
import time
import warnings

import pytest

from partner_auth._credentials import Secret
from partner_auth.exceptions import SourceRejected, SourceUnavailable
from partner_auth.sources import _vault_login
from partner_auth.sources._vault_login import link_for
from partner_auth.sources._vault_methods import Method
from partner_auth.sources._vault_settings import read_settings
from tests.sources import bao_fixtures, bao_logins
from tests.sources.bao_fixtures import K0, Refused, document, vault
from tests.sources.bao_logins import (
    PASSWORD,
    Roles,
    Users,
    fetched_or_none,
    logins_in,
    paths_of,
)
from tests.sources.lying_server import DROP, HANG, Reply

bao, bao_server, home = bao_fixtures.bao, bao_fixtures.bao_server, bao_fixtures.home
authority, clock = bao_fixtures.authority, bao_fixtures.clock
liar_before_bao, app = bao_fixtures.liar_before_bao, bao_logins.app

# A token's life


def test_a_renewable_token_is_renewed_past_half_of_its_life(
    bao, app, monkeypatch, clock, liar_before_bao
):
    """And not before; a login would use up a secret id that works once."""
    path, policy = app
    roles = Roles(bao, monkeypatch, policy, token_ttl=60, secret_id_num_uses=1)
    roles.give_secret_id()
    source = roles.source(path, clock=clock)
    source.fetch()
    clock.advance(20)
    source.fetch()
    assert "auth/token/renew-self" not in paths_of(liar_before_bao)
    for _ in range(5):
        clock.advance(31)
        assert source.fetch().secret_key.reveal() == K0
    assert paths_of(liar_before_bao).count("auth/token/renew-self") == 5
    assert len(logins_in(liar_before_bao)) == 1


def test_a_renewed_token_outlives_its_first_life(bao, app, monkeypatch):
    """On the real clock: 2 s of life, read at 1.2 s and at 2.3 s, one login."""
    path, policy = app
    roles = Roles(bao, monkeypatch, policy, token_ttl=2)
    roles.give_secret_id()
    source = roles.source(path)
    source.fetch()
    roles.give_secret_id()
    monkeypatch.setenv("VAULT_ROLE_ID", "a second login would fail")
    time.sleep(1.2)
    source.fetch()
    time.sleep(1.1)
    assert source.fetch().secret_key.reveal() == K0


def test_a_read_is_wanted_before_the_token_ends(bao, app, monkeypatch, clock):
    """`refresh_at` is two thirds into the life: past the half even if jitter brings it forward."""
    path, policy = app
    users = Users(bao, policy, token_ttl=60)
    monkeypatch.setenv("VAULT_PASSWORD", PASSWORD)
    source = users.source(path, clock=clock)
    assert source.fetch().refresh_at == pytest.approx(clock.now() + 40)
    clock.advance(15)
    assert source.fetch().refresh_at == pytest.approx(clock.now() + 25)


def test_the_earlier_of_two_refresh_times_counts(bao, app, monkeypatch, clock):
    """What the secret itself says is not lost."""
    path, policy = app
    soon = clock.now() + 5
    bao.put(path, document(K0, refresh_at=soon))
    users = Users(bao, policy, token_ttl=60)
    monkeypatch.setenv("VAULT_PASSWORD", PASSWORD)
    assert users.source(path, clock=clock).fetch().refresh_at == soon


@pytest.mark.parametrize("kind", ["batch", "service"])
def test_a_token_that_cannot_be_renewed_is_replaced_before_its_end(
    bao, app, monkeypatch, clock, liar_before_bao, kind
):
    """A batch token, or one whose policy may not renew it: a new login, not a 403 first."""
    path, policy = app
    users = Users(bao, policy, token_ttl=60, token_type=kind, token_no_default_policy=True)
    monkeypatch.setenv("VAULT_PASSWORD", PASSWORD)
    source = users.source(path, clock=clock)
    source.fetch()
    clock.advance(31)
    reads = paths_of(liar_before_bao).count(f"secret/data/{path}")
    assert source.fetch().secret_key.reveal() == K0
    assert len(logins_in(liar_before_bao)) == 2
    assert paths_of(liar_before_bao).count(f"secret/data/{path}") == reads + 1


def test_a_life_that_is_cut_short_is_the_last(bao, app, monkeypatch, clock, liar_before_bao):
    """`explicit_max_ttl` ends renewing: then a new login, in time."""
    path, policy = app
    users = Users(bao, policy, token_ttl=60)
    monkeypatch.setenv("VAULT_PASSWORD", PASSWORD)
    source = users.source(path, clock=clock)
    source.fetch()
    clock.advance(31)
    lying = liar_before_bao.answer
    short = {"auth": {"client_token": "s.same", "lease_duration": 20, "renewable": True}}
    liar_before_bao.answer = lambda request: (
        Reply(200, short) if request.path.endswith("renew-self") else lying(request)
    )
    source.fetch()
    clock.advance(11)
    source.fetch()
    assert len(logins_in(liar_before_bao)) == 2


def test_a_renewal_that_fails_for_now_costs_nothing(bao, app, monkeypatch, clock, liar_before_bao):
    """The token still lives; the next read tries again."""
    path, policy = app
    users = Users(bao, policy, token_ttl=60)
    monkeypatch.setenv("VAULT_PASSWORD", PASSWORD)
    source = users.source(path, clock=clock)
    source.fetch()
    clock.advance(31)
    working = liar_before_bao.answer
    liar_before_bao.answer = lambda request: (
        Reply(503) if request.path.endswith("renew-self") else working(request)
    )
    assert source.fetch().secret_key.reveal() == K0
    liar_before_bao.answer = working
    assert source.fetch().secret_key.reveal() == K0
    assert paths_of(liar_before_bao).count("auth/token/renew-self") == 2
    assert len(logins_in(liar_before_bao)) == 1


def test_a_renewal_that_keeps_failing_makes_no_read_of_each_request(
    bao, app, monkeypatch, clock, liar_before_bao
):
    """The next read is wanted a twelfth of the life later, not at once."""
    path, policy = app
    users = Users(bao, policy, token_ttl=60)
    monkeypatch.setenv("VAULT_PASSWORD", PASSWORD)
    source = users.source(path, clock=clock)
    source.fetch()
    clock.advance(45)
    working = liar_before_bao.answer
    liar_before_bao.answer = lambda request: (
        Reply(503) if request.path.endswith("renew-self") else working(request)
    )
    assert source.fetch().refresh_at == pytest.approx(clock.now() + 5)


def test_a_token_that_was_given_is_renewed_too(bao, app, monkeypatch, clock, liar_before_bao):
    """How long it lives is asked once, if it may ask."""
    path, policy = app
    monkeypatch.setenv(
        "VAULT_TOKEN", bao.token("default", policy, ttl="60s", no_default_policy=False)
    )
    source = vault(path, clock=clock)
    assert source.fetch().refresh_at == pytest.approx(clock.now() + 40, abs=2)
    clock.advance(31)
    source.fetch()
    source.fetch()
    paths = paths_of(liar_before_bao)
    assert paths.count("auth/token/lookup-self") == 1
    assert paths.count("auth/token/renew-self") == 1


def test_a_root_token_needs_no_care(bao, monkeypatch, clock):
    """It lives for ever."""
    path = bao.fresh("app")
    bao.put(path, document(K0))
    assert vault(path, clock=clock).fetch().refresh_at is None


# A token that died


def test_a_dead_token_costs_one_login_and_no_failure(bao, app, monkeypatch, clock, liar_before_bao):
    """It was revoked, or the server lost it: the read that meets it succeeds."""
    path, policy = app
    users = Users(bao, policy)
    monkeypatch.setenv("VAULT_PASSWORD", PASSWORD)
    source = users.source(path, clock=clock)
    source.fetch()
    bao.api("POST", f"sys/leases/revoke-prefix/auth/{users.mount}")
    assert source.fetch().secret_key.reveal() == K0
    assert len(logins_in(liar_before_bao)) == 2


def test_a_token_with_few_uses_is_replaced(bao, app, monkeypatch, clock):
    """`token_num_uses`: each time it is used up, a login."""
    path, policy = app
    users = Users(bao, policy, token_num_uses=2)
    monkeypatch.setenv("VAULT_PASSWORD", PASSWORD)
    source = users.source(path, clock=clock)
    for _ in range(5):
        assert source.fetch().secret_key.reveal() == K0


def test_a_new_token_that_is_refused_is_not_replaced(
    bao, app, monkeypatch, clock, liar_before_bao, refusal
):
    """Else each read would be a login."""
    path, policy = app
    users = Users(bao, policy)
    monkeypatch.setenv("VAULT_PASSWORD", PASSWORD)
    working = liar_before_bao.answer
    dead = Reply(403, {"errors": ["permission denied"]}, {"Content-Type": "application/json"})
    liar_before_bao.answer = lambda request: working(request) if "/login" in request.path else dead
    source = users.source(path, clock=clock)
    for _ in range(5):
        assert refusal(SourceUnavailable, source.fetch).reason == "identity"
    assert len(logins_in(liar_before_bao)) == 1
    clock.advance(31)
    liar_before_bao.answer = working
    assert source.fetch().secret_key.reveal() == K0


@pytest.mark.parametrize("status", [400, 403, 412, 500, 503])
def test_a_node_that_has_not_seen_the_new_token(
    bao, app, monkeypatch, clock, liar_before_bao, status
):
    """Right after a login the read is repeated at once."""
    path, policy = app
    users = Users(bao, policy)
    monkeypatch.setenv("VAULT_PASSWORD", PASSWORD)
    working, behind = liar_before_bao.answer, []

    def answer(request):
        if "/login" in request.path or behind:
            return working(request)
        behind.append(request)
        return Reply(status, {"errors": ["permission denied"]})

    liar_before_bao.answer = answer
    assert users.source(path, clock=clock).fetch().secret_key.reveal() == K0
    assert len(logins_in(liar_before_bao)) == 1


def test_a_failure_is_repeated_right_after_a_login_alone(
    bao, app, monkeypatch, clock, liar_before_bao, refusal
):
    """A token that was taken once is known."""
    path, policy = app
    users = Users(bao, policy)
    monkeypatch.setenv("VAULT_PASSWORD", PASSWORD)
    source = users.source(path, clock=clock)
    source.fetch()
    before = len(liar_before_bao.requests)
    liar_before_bao.say(Reply(503))
    refusal(SourceUnavailable, source.fetch)
    assert len(liar_before_bao.requests) == before + 1


# A login that is refused


def test_five_reads_do_not_lock_the_account(bao, app, monkeypatch, clock, refusal):
    """OpenBao locks a user at the fifth bad login; after ours the right password still works."""
    path, policy = app
    users = Users(bao, policy)
    monkeypatch.setenv("VAULT_PASSWORD", "wrong")
    source = users.source(path, clock=clock)
    for _ in range(20):
        error = refusal(SourceUnavailable, source.fetch, "wrong")
        assert error.reason == "identity"
    assert "invalid username or password" in str(error)
    assert "not tried again for 30 s" in str(error)
    bao.api("POST", f"auth/{users.mount}/login/app", {"password": PASSWORD}, token="")


def test_nor_do_reads_over_hours(bao, app, monkeypatch, clock, liar_before_bao):
    """After the third refusal the pause is longer than the server remembers bad logins."""
    path, policy = app
    users = Users(bao, policy)
    monkeypatch.setenv("VAULT_PASSWORD", "wrong")
    source = users.source(path, clock=clock)
    tried = []
    for second in range(0, 7200, 10):
        before = len(logins_in(liar_before_bao))
        assert fetched_or_none(source) is None
        tried += [second] * (len(logins_in(liar_before_bao)) - before)
        if len(tried) == 3:
            break
        clock.advance(10)
    assert tried == [0, 30, 90]
    clock.advance(900)
    assert fetched_or_none(source) is None
    assert len(logins_in(liar_before_bao)) == 3
    bao.api("POST", f"auth/{users.mount}/login/app", {"password": PASSWORD}, token="")


def test_the_lock_that_this_avoids_is_real(bao, app):
    """Five bad logins lock the user, so that the right password is refused."""
    users = Users(bao, app[1])
    for _ in range(5):
        with pytest.raises(Refused):
            bao.api("POST", f"auth/{users.mount}/login/app", {"password": "wrong"}, token="")
    with pytest.raises(Refused, match="403"):
        bao.api("POST", f"auth/{users.mount}/login/app", {"password": PASSWORD}, token="")


def test_a_new_password_is_tried_at_once(bao, app, monkeypatch, clock, refusal):
    """A changed input ends the pause."""
    path, policy = app
    users = Users(bao, policy)
    source = users.source(path, clock=clock)
    monkeypatch.setenv("VAULT_PASSWORD", "wrong")
    refusal(SourceUnavailable, source.fetch)
    monkeypatch.setenv("VAULT_PASSWORD", PASSWORD)
    assert source.fetch().secret_key.reveal() == K0


def test_a_right_password_set_on_the_server_is_found_after_the_pause(
    bao, app, monkeypatch, clock, refusal
):
    """The same inputs are tried again after 30 s."""
    path, policy = app
    users = Users(bao, policy)
    source = users.source(path, clock=clock)
    monkeypatch.setenv("VAULT_PASSWORD", "set later")
    refusal(SourceUnavailable, source.fetch)
    bao.api("POST", f"{users.user}/password", {"password": "set later"})
    clock.advance(29)
    refusal(SourceUnavailable, source.fetch)
    clock.advance(1.5)
    assert source.fetch().secret_key.reveal() == K0


def test_a_login_that_succeeds_forgets_the_refusals_before_it(
    bao, app, monkeypatch, clock, refusal
):
    """The same inputs, refused again later, are paused as at the first time."""
    path, policy = app
    users = Users(bao, policy, token_ttl=60, token_type="batch")
    source = users.source(path, clock=clock)

    def told_in_the_pause():
        refusal(SourceUnavailable, source.fetch)
        return str(refusal(SourceUnavailable, source.fetch))

    monkeypatch.setenv("VAULT_PASSWORD", "set later")
    for pause in (30, 60):
        assert f"again for {pause} s" in told_in_the_pause()
        clock.advance(pause + 0.5)
    bao.api("POST", f"{users.user}/password", {"password": "set later"})
    source.fetch()
    bao.api("POST", f"{users.user}/password", {"password": "another"})
    clock.advance(61)
    assert "again for 30 s" in told_in_the_pause()


def test_a_refused_login_while_the_token_lives_costs_nothing(bao, app, monkeypatch, clock, refusal):
    """The early replacement failed; the old token is used to its end."""
    path, policy = app
    users = Users(bao, policy, token_ttl=60, token_type="batch")
    monkeypatch.setenv("VAULT_PASSWORD", PASSWORD)
    source = users.source(path, clock=clock)
    source.fetch()
    monkeypatch.setenv("VAULT_PASSWORD", "wrong")
    clock.advance(31)
    assert source.fetch().secret_key.reveal() == K0
    clock.advance(29.5)
    assert refusal(SourceUnavailable, source.fetch).reason == "identity"


def test_a_login_method_that_is_not_mounted(bao, app, monkeypatch, clock, refusal):
    """It can't be told from a locked user: the message says both."""
    monkeypatch.setenv("VAULT_PASSWORD", PASSWORD)
    source = vault(app[0], auth="userpass", username="u", auth_mount="no/such", clock=clock)
    error = refusal(SourceUnavailable, source.fetch, PASSWORD)
    assert error.reason == "identity"
    assert "'auth/no/such/login/u' was refused: no login method is mounted there" in str(error)


def test_a_login_that_is_refused_in_other_words(
    bao, app, monkeypatch, clock, liar_before_bao, refusal
):
    """They may hold what we sent: the message says where they can be read."""
    monkeypatch.setenv("VAULT_PASSWORD", PASSWORD)
    liar_before_bao.say(Reply(400, {"errors": [f"no {PASSWORD}"]}))
    source = vault("a", auth="userpass", username="u", clock=clock)
    error = refusal(SourceUnavailable, source.fetch, PASSWORD)
    assert "the server's log says why" in str(error)


def test_a_login_in_a_namespace_that_is_not_there(bao, app, monkeypatch, clock, refusal):
    """The message says what to look at."""
    monkeypatch.setenv("VAULT_PASSWORD", PASSWORD)
    source = vault("a", auth="userpass", username="u", namespace="no-such", clock=clock)
    error = refusal(SourceRejected, source.fetch, PASSWORD)
    assert "there is no such namespace" in str(error)


def test_a_login_is_sent_once(bao, app, monkeypatch, clock, liar_before_bao, refusal):
    """A lost answer is no reason to send a secret id again that works once."""
    path, policy = app
    users = Users(bao, policy)
    monkeypatch.setenv("VAULT_PASSWORD", PASSWORD)
    liar_before_bao.say(DROP)
    error = refusal(SourceUnavailable, users.source(path, clock=clock).fetch, PASSWORD)
    assert error.reason == "unreachable"
    assert len(logins_in(liar_before_bao)) == 1


def test_a_login_that_wants_a_second_factor(bao, app, monkeypatch, clock, liar_before_bao, refusal):
    """No program has one."""
    monkeypatch.setenv("VAULT_PASSWORD", PASSWORD)
    wanted = {"auth": {"client_token": "", "mfa_requirement": {"mfa_request_id": "1"}}}
    liar_before_bao.say(Reply(200, wanted))
    source = vault("a", auth="userpass", username="u", clock=clock)
    error = refusal(SourceUnavailable, source.fetch)
    assert (error.reason, "second factor" in str(error)) == ("identity", True)


# Sharing


def in_threads(work, items):
    """Call it with each, all at once."""
    threads = [threading.Thread(target=work, args=(item,)) for item in items]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_sources_with_equal_settings_share_one_login(bao, app, monkeypatch, clock, liar_before_bao):
    """Also when they all read at once."""
    path, policy = app
    users = Users(bao, policy)
    monkeypatch.setenv("VAULT_PASSWORD", PASSWORD)
    sources = [users.source(path, clock=clock) for _ in range(24)]
    found = []
    in_threads(lambda source: found.append(source.fetch()), sources)
    assert len(found) == 24
    assert len(logins_in(liar_before_bao)) == 1


def test_a_token_that_died_is_replaced_once_for_all(bao, app, monkeypatch, clock, liar_before_bao):
    """Those who met it a moment later take what the first one got."""
    path, policy = app
    users = Users(bao, policy)
    monkeypatch.setenv("VAULT_PASSWORD", PASSWORD)
    sources = [users.source(path, clock=clock) for _ in range(12)]
    for source in sources:
        source.fetch()
    bao.api("POST", f"sys/leases/revoke-prefix/auth/{users.mount}")
    found = []
    in_threads(lambda source: found.append(source.fetch()), sources)
    assert len(found) == 12
    assert len(logins_in(liar_before_bao)) == 2


def test_readers_that_wait_for_a_failing_login_share_its_failure(
    bao, app, monkeypatch, clock, liar_before_bao
):
    """A server in trouble is not asked by each in turn."""
    path, policy = app
    users = Users(bao, policy)
    monkeypatch.setenv("VAULT_PASSWORD", PASSWORD)
    sources = [users.source(path, clock=clock) for _ in range(8)]
    began = threading.Barrier(8)

    def answer(request):
        time.sleep(0.5)
        return Reply(503)

    def read(source):
        began.wait(5)
        assert fetched_or_none(source) is None

    liar_before_bao.answer = answer
    in_threads(read, sources)
    assert len(logins_in(liar_before_bao)) < 4


def test_a_login_that_hangs_holds_up_nobody_beyond_his_time(
    bao, app, monkeypatch, clock, liar_before_bao
):
    """Each reader's own `timeout` holds while he waits for the one that logs in."""
    path, policy = app
    users = Users(bao, policy)
    monkeypatch.setenv("VAULT_PASSWORD", PASSWORD)
    liar_before_bao.say(HANG)
    began = time.monotonic()
    in_threads(fetched_or_none, [users.source(path, clock=clock, timeout=1) for _ in range(8)])
    assert time.monotonic() - began < 4


def test_a_reader_with_little_time_waits_no_longer_for_anothers_login(
    bao, app, monkeypatch, clock, liar_before_bao, refusal
):
    """Not even a second."""
    path, policy = app
    users = Users(bao, policy)
    monkeypatch.setenv("VAULT_PASSWORD", PASSWORD)
    liar_before_bao.say(HANG)
    login = threading.Thread(target=fetched_or_none, args=(users.source(path, clock=clock),))
    login.start()
    while not liar_before_bao.requests:
        time.sleep(0.01)
    began = time.monotonic()
    error = refusal(SourceUnavailable, users.source(path, clock=clock, timeout=0.2).fetch)
    assert time.monotonic() - began < 0.9
    assert "another read's login" in str(error)
    liar_before_bao.release()
    login.join()


def test_another_user_is_another_login(bao, app, monkeypatch, clock, liar_before_bao):
    """Nothing is shared between settings that differ."""
    path, policy = app
    one, other = Users(bao, policy), Users(bao, policy)
    monkeypatch.setenv("VAULT_PASSWORD", PASSWORD)
    one.source(path, clock=clock).fetch()
    other.source(path, clock=clock).fetch()
    assert len(logins_in(liar_before_bao)) == 2


def test_logins_that_nobody_needs_any_more_are_forgotten():
    """Of 300 servers, one after the other, 256 stay known."""
    for number in range(300):
        settings = read_settings(Secret(f"https://vault-{number}.example"), None)
        link_for(settings, Method(), None, None)
    assert len(_vault_login._links) == len(_vault_login._wires) == 256


def test_another_address_in_the_environment_is_another_login(
    bao, app, monkeypatch, clock, liar_before_bao
):
    """A token never goes to a server that did not give it."""
    path, policy = app
    users = Users(bao, policy)
    monkeypatch.setenv("VAULT_PASSWORD", PASSWORD)
    source = users.source(path, clock=clock)
    source.fetch()
    asked = len(liar_before_bao.requests)
    monkeypatch.setenv("VAULT_ADDR", bao.url)
    source.fetch()
    users.source(path, clock=clock).fetch()
    assert len(liar_before_bao.requests) == asked


def test_a_forked_child_keeps_the_token_and_none_of_the_connections(
    bao, app, monkeypatch, clock, liar_before_bao
):
    """A secret id that works once has been used by the parent."""
    path, policy = app
    roles = Roles(bao, monkeypatch, policy, secret_id_num_uses=1)
    roles.give_secret_id()
    source = roles.source(path, clock=clock)
    source.fetch()
    connections = liar_before_bao.connections
    assert fetched_in_a_child(source) == K0.encode()
    assert liar_before_bao.connections == connections + 1
    assert len(logins_in(liar_before_bao)) == 1


def test_a_lock_that_was_held_at_the_fork_holds_up_no_child(
    bao, app, monkeypatch, clock, liar_before_bao
):
    """Another thread was logging in when the process was forked."""
    path, policy = app
    users = Users(bao, policy)
    monkeypatch.setenv("VAULT_PASSWORD", PASSWORD)
    source = users.source(path, clock=clock)
    working = liar_before_bao.answer
    liar_before_bao.say(HANG)
    login = threading.Thread(target=fetched_or_none, args=(source,))
    login.start()
    while not liar_before_bao.requests:
        time.sleep(0.01)
    liar_before_bao.answer = working  # the one that hangs goes on hanging
    assert fetched_in_a_child(source) == K0.encode()
    liar_before_bao.release()
    login.join()


def fetched_in_a_child(source):
    """Fork, read there, and return the key."""
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # a fork beside threads, since 3.12
        child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException):
            os.write(writing, source.fetch().secret_key.encoded())
        os._exit(0)
    os.close(writing)
    os.waitpid(child, 0)
    with os.fdopen(reading, "rb") as answer:
        return answer.read()
