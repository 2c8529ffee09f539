"""A real OpenBao in trouble while requests flow: what callers see, and what `status()` tells."""

from __future__ import annotations

import pytest

from partner_auth import SourceRejected
from tests.sources.bao_fixtures import K0, K1, K2, document, running, vault
from tests.sources.bao_logins import Roles
from tests.stores.kit import SELDOM, eventually, failures, is_well, tells


@pytest.fixture
def path(bao, partner):
    """A secret that both the store and the partner know."""
    path = bao.fresh("app")
    bao.put(path, document(K0))
    partner.accept(K0)
    return path


# Not now


def test_no_request_fails_while_the_store_is_sealed(bao, path, flowing):
    """What is held serves; `status()` says what is wrong, and that it is over once it is."""
    with flowing(vault(path)) as traffic:
        with bao.sealed():
            eventually(tells(traffic.auth, "sealed"))
            traffic.flow()
            assert traffic.auth.status().state == "stale"
        eventually(lambda: is_well(traffic.auth))
        traffic.flow()
    assert not traffic.failures


def test_a_secret_that_changed_behind_the_seal_is_used_after_it(bao, path, partner, flowing):
    """While it is sealed the 401s go back, and never our error; soon after it all is well."""
    with flowing(vault(path), **SELDOM) as traffic:
        bao.put(path, document(K1))
        with bao.sealed():
            partner.rotate(K1, store=False)
            assert set(failures(traffic.flow())) == {401}
            assert tells(traffic.auth, "sealed")()
        eventually(lambda: not failures(traffic.flow(10)), within=3)
        assert not failures(traffic.flow())
    assert set(traffic.failures) == {401}


def test_no_request_waits_for_a_store_that_hangs(bao, path, flowing):
    """A read that gets no answer holds up nobody as long as a credential is held."""
    with flowing(vault(path, timeout=0.8)) as traffic:
        with bao.stopped():
            eventually(tells(traffic.auth, "VaultSource"))
            traffic.flow()
        eventually(lambda: is_well(traffic.auth))
    assert not traffic.failures
    assert max(outcome.took for outcome in traffic.outcomes) < 0.75


def test_a_revoked_login_is_made_again(bao, path, flowing, monkeypatch):
    """Our own token says nothing about the partner's secret: one login, and on."""
    monkeypatch.delenv("VAULT_TOKEN")
    roles = Roles(bao, monkeypatch, bao.policy(f"secret/data/{path}"))
    roles.give_secret_id()
    with flowing(roles.source(path)) as traffic:
        bao.api("PUT", f"sys/leases/revoke-prefix/auth/{roles.mount}")
        bao.put(path, document(K1))
        eventually(lambda: traffic.auth.status().version == "2")
        traffic.flow()
        assert is_well(traffic.auth)
    assert not traffic.failures


# Other data


def test_a_store_that_comes_back_with_another_secret(partner, flowing, home, tmp_path, monkeypatch):
    """Restarted from other data it is read at the first 401, and all who were refused go on."""
    partner.accept(K0)
    monkeypatch.setenv("VAULT_TOKEN", "root-token-for-tests")
    with running(tmp_path) as first:
        first.put("app", document(K0))
        traffic = flowing(vault("app", address=first.url), **SELDOM)
        address = f"-dev-listen-address=127.0.0.1:{first.port}"
        with traffic:
            first.stop()
            (tmp_path / "again").mkdir()
            with running(tmp_path / "again", address) as second:
                second.url = first.url
                second.put("app", document(K1))
                partner.rotate(K1, store=False)
                traffic.flow()
                assert traffic.auth.status().version == "1"
    assert not traffic.failures


# No


@pytest.mark.parametrize("verb", ["deleted", "destroyed"])
def test_a_deleted_secret_is_a_revocation(bao, path, flowing, verb):
    """The next read takes it from all callers at once, with the reason."""
    with flowing(vault(path), cooldown=0.1) as traffic:
        traffic.flow()
        assert not traffic.failures
        if verb == "deleted":
            bao.api("DELETE", f"secret/data/{path}")
        else:
            bao.api("PUT", f"secret/destroy/{path}", {"versions": [1]})
        eventually(lambda: traffic.auth.status().state == "empty")
        # a request that was under way may still bring its answer
        eventually(lambda: {one.what for one in traffic.flow(20)[-10:]} == {"SourceRejected"})
        assert tells(traffic.auth, verb)()
        bao.put(path, document(K0))
        eventually(lambda: not failures(traffic.flow(10)), within=3)
    assert set(traffic.failures) == {"SourceRejected"}


def test_refresh_makes_a_deletion_take_effect(bao, path, flowing):
    """Who can't wait for the next read asks for it, and is told."""
    with flowing(vault(path), **SELDOM) as traffic:
        bao.api("DELETE", f"secret/data/{path}")
        assert not failures(traffic.flow(10))
        with pytest.raises(SourceRejected, match="deleted"):
            traffic.auth.refresh()
        assert traffic.auth.status().client_id is None


# Versions


def test_the_version_before_serves_until_the_partner_switches(bao, path, partner, flowing):
    """Store first: the new version is refused, the one before is tried, and nobody notices."""
    with flowing(vault(path)) as traffic:
        bao.put(path, document(K1))
        eventually(lambda: traffic.auth.status().version == "2")
        traffic.flow()
        assert traffic.auth.status().origins[partner.url].version == "1"
        partner.rotate(K1, store=False)
        traffic.flow()
        assert traffic.auth.status().origins[partner.url].version == "2"
    assert not traffic.failures


@pytest.mark.parametrize("verb", ["delete", "destroy"])
def test_a_version_that_is_gone_is_passed_over(bao, path, partner, flowing, verb):
    """What the partner takes may be two versions back, behind one that was a mistake."""
    with flowing(vault(path), **SELDOM) as traffic:
        bao.put(path, document(K2))
        bao.api("PUT" if verb == "destroy" else "POST", f"secret/{verb}/{path}", {"versions": [2]})
        bao.put(path, document(K1))
        traffic.auth.refresh()
        traffic.flow()
        assert traffic.auth.status().origins[partner.url].version == "1"
    assert not traffic.failures


def test_a_pending_field_serves_when_the_partner_is_first(bao, path, partner, flowing):
    """Partner first: the store said beforehand what comes."""
    with flowing(vault(path), **SELDOM) as traffic:
        bao.put(path, document(K0, secret_key_next=K1))
        partner.rotate(K1, store=False)
        traffic.flow()
        bao.put(path, document(K1))
        traffic.auth.refresh()
        traffic.flow()
    assert not traffic.failures
