"""The ways in which a Vault source logs in."""

from dataclasses import replace

import pytest

from partner_auth.exceptions import SourceUnavailable
from partner_auth.sources import source_from_url
from tests.sources import bao_fixtures, bao_logins
from tests.sources.bao_fixtures import K0, K1, document, vault
from tests.sources.bao_logins import (
    PASSWORD,
    Issuer,
    Pods,
    Roles,
    Users,
    logins_in,
    paths_of,
)
from tests.sources.lying_server import LyingServer

bao, bao_server, home = bao_fixtures.bao, bao_fixtures.bao_server, bao_fixtures.home
authority, clock = bao_fixtures.authority, bao_fixtures.clock
liar_before_bao, app = bao_fixtures.liar_before_bao, bao_logins.app

# The methods


def test_the_token_of_the_home_is_the_last_resort(bao, home, app, monkeypatch):
    """`BAO_TOKEN`, then `VAULT_TOKEN`, then what `vault login` left."""
    path, policy = app
    (home / ".vault-token").write_text(bao.token(policy) + "\n")
    assert vault(path).fetch().secret_key.reveal() == K0
    monkeypatch.setenv("VAULT_TOKEN", "s.garbage")
    monkeypatch.setenv("BAO_TOKEN", bao.token(policy))
    assert vault(path).fetch().secret_key.reveal() == K0


def test_a_token_file_is_read_at_each_read(bao, app, tmp_path, refusal):
    """Vault Agent rewrites its sink."""
    path, policy = app
    sink = tmp_path / "sink"
    source = source_from_url(f"vault://secret/{path}?token_file={sink}")
    assert refusal(SourceUnavailable, source.fetch).reason == "identity"
    sink.write_text(bao.token(policy))
    assert source.fetch().secret_key.reveal() == K0
    sink.write_text("s.garbage")
    error = refusal(SourceUnavailable, source.fetch, "s.garbage")
    assert f"the token from {sink}" in str(error)


def test_no_token_at_all(bao, app, refusal):
    """The message says every way to give one."""
    error = refusal(SourceUnavailable, vault(app[0]).fetch)
    assert error.reason == "identity"
    assert "VAULT_TOKEN" in str(error)
    assert "auth=" in str(error)


def test_an_agent_may_add_the_token(bao, app, liar_before_bao, bao_server):
    """Without one the request goes out as it is: a Vault Agent at that address adds its own."""
    path, policy = app
    token, answer = bao.token(policy), liar_before_bao.answer
    liar_before_bao.answer = lambda request: answer(
        replace(request, headers=request.headers | {"x-vault-token": token})
    )
    assert vault(path).fetch().secret_key.reveal() == K0


def test_userpass(bao, app, monkeypatch, clock):
    """A user name in the settings, the password in `VAULT_PASSWORD`."""
    path, policy = app
    users = Users(bao, policy)
    monkeypatch.setenv("VAULT_PASSWORD", PASSWORD)
    assert users.source(path, clock=clock).fetch().secret_key.reveal() == K0


def test_a_password_is_taken_as_it_is(bao, app, monkeypatch, clock):
    """Blanks around it are its own; a line break at its end is an editor's."""
    path, policy = app
    users = Users(bao, policy, password=" spaced out ")
    monkeypatch.setenv("VAULT_PASSWORD", " spaced out \n")
    assert users.source(path, clock=clock).fetch().secret_key.reveal() == K0


def test_approle(bao, app, monkeypatch, clock):
    """`VAULT_ROLE_ID` and `VAULT_SECRET_ID`; alternates go by the same login."""
    path, policy = app
    bao.put(path, document(K1))
    roles = Roles(bao, monkeypatch, policy)
    roles.give_secret_id()
    source = roles.source(path, clock=clock)
    assert source.fetch().secret_key.reveal() == K1
    assert [one.secret_key.reveal() for one in source.alternates()] == [K0]


def test_approle_without_a_secret_id(bao, app, monkeypatch, clock):
    """A role may be bound by addresses alone."""
    path, policy = app
    bound = {"bind_secret_id": False, "secret_id_bound_cidrs": ["127.0.0.0/8"]}
    roles = Roles(bao, monkeypatch, policy, **bound)
    assert roles.source(path, clock=clock).fetch().secret_key.reveal() == K0


def test_a_wrapped_secret_id(bao, app, monkeypatch, clock, liar_before_bao):
    """It is unwrapped once; later logins use what it held."""
    path, policy = app
    roles = Roles(bao, monkeypatch, policy, token_ttl=60, token_max_ttl=60)
    roles.give_wrapped()
    source = roles.source(path, clock=clock, secret_id_wrapped=True)
    assert source.fetch().secret_key.reveal() == K0
    clock.advance(61)
    assert source.fetch().secret_key.reveal() == K0
    assert paths_of(liar_before_bao).count("sys/wrapping/unwrap") == 1
    assert len(logins_in(liar_before_bao)) == 2


def test_a_wrapping_token_that_was_used_before(bao, app, monkeypatch, clock, refusal):
    """Somebody else may have the secret id: the message says so; it is not tried again."""
    path, policy = app
    roles = Roles(bao, monkeypatch, policy)
    wrapping = roles.give_wrapped()
    bao.api("POST", "sys/wrapping/unwrap", {}, token=wrapping)
    source = roles.source(path, clock=clock, secret_id_wrapped="true")
    error = refusal(SourceUnavailable, source.fetch, wrapping)
    assert error.reason == "identity"
    assert "used before, maybe by someone else" in str(error)
    roles.give_wrapped()
    assert source.fetch().secret_key.reveal() == K0


def test_what_was_wrapped_is_no_secret_id(bao, app, monkeypatch, clock, refusal):
    """A wrapped token is none."""
    path, policy = app
    roles = Roles(bao, monkeypatch, policy)
    answer = bao.api("POST", "auth/token/create", {"ttl": "60s"}, wrap="60s")
    monkeypatch.setenv("VAULT_SECRET_ID", answer["wrap_info"]["token"])
    error = refusal(
        SourceUnavailable, roles.source(path, clock=clock, secret_id_wrapped=True).fetch
    )
    assert "no secret id" in str(error)


def test_jwt(bao, app, tmp_path, clock):
    """The file is read at each login: it is replaced about hourly."""
    path, policy = app
    issuer = Issuer(bao, policy, tmp_path)
    issuer.write()
    source = issuer.source(path, clock=clock)
    assert source.fetch().secret_key.reveal() == K0
    issuer.file.write_text("no longer one")
    clock.advance(20)
    assert source.fetch().secret_key.reveal() == K0
    issuer.write()
    clock.advance(41)
    assert source.fetch().secret_key.reveal() == K0


@pytest.mark.parametrize(
    "settings, words",
    [({"audience": "other"}, "another audience"), ({"life": -600}, "has expired")],
)
def test_a_jwt_that_is_refused(bao, app, tmp_path, clock, refusal, settings, words):
    """Why, in our own words; and the file's next content is tried at once."""
    path, policy = app
    issuer = Issuer(bao, policy, tmp_path)
    token = issuer.write(**settings)
    source = issuer.source(path, clock=clock)
    error = refusal(SourceUnavailable, source.fetch, token)
    assert error.reason == "identity"
    assert words in str(error)
    issuer.write()
    assert source.fetch().secret_key.reveal() == K0


def test_a_jwt_file_that_is_not_there(bao, app, tmp_path, clock, refusal):
    """It is about who we are, and named."""
    source = Issuer(bao, app[1], tmp_path).source(app[0], clock=clock)
    error = refusal(SourceUnavailable, source.fetch)
    assert error.reason == "identity"
    assert "jwt_file" in str(error)


@pytest.fixture
def pods(bao, app, authority):
    """A pod, and roles for it and for another."""
    with LyingServer() as api:
        yield Pods(bao, api, app[1], authority)


def test_kubernetes(app, pods, clock):
    """A pod's token, which Kubernetes confirms to the server."""
    source = pods.source(app[0], role="app", clock=clock)
    assert source.fetch().secret_key.reveal() == K0


@pytest.mark.parametrize(
    "role, words",
    [("no-such", "there is no such role"), ("other", "the service account is not the role's")],
)
def test_a_pod_that_is_refused(app, pods, clock, refusal, role, words):
    """Why, in our own words."""
    source = pods.source(app[0], role=role, clock=clock)
    error = refusal(SourceUnavailable, source.fetch, pods.file.read_text())
    assert error.reason == "identity"
    assert words in str(error)


def test_a_pod_that_kubernetes_does_not_confirm(app, pods, clock, refusal):
    """The token was of a pod that is gone."""
    pods.confirm(authenticated=False, error="no such pod")
    source = pods.source(app[0], role="app", clock=clock)
    error = refusal(SourceUnavailable, source.fetch, pods.file.read_text())
    assert error.reason == "identity"


def test_a_pods_own_token_is_the_default(bao, app, refusal, clock):
    """Without `jwt_file` the file that Kubernetes puts into each pod is read."""
    error = refusal(SourceUnavailable, vault("a", auth="kubernetes", role="r", clock=clock).fetch)
    assert "/var/run/secrets/kubernetes.io/serviceaccount/token" in str(error)


@pytest.mark.parametrize(
    "settings, name",
    [
        ({"auth": "approle"}, "VAULT_ROLE_ID"),
        ({"auth": "userpass", "username": "u"}, "VAULT_PASSWORD"),
    ],
)
def test_a_variable_that_is_not_set(bao, app, clock, refusal, settings, name):
    """It is named, and nothing is sent."""
    error = refusal(SourceUnavailable, vault(app[0], clock=clock, **settings).fetch)
    assert error.reason == "identity"
    assert name in str(error)
