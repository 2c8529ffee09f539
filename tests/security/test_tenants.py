"""Tenants in one process: equal settings share a store's client and login, never a secret."""

import json
import threading

import pytest

from partner_auth import (
    AwsParameterStoreSource,
    AwsSecretsManagerSource,
    ConfigurationError,
    PartnerAuth,
    SourceRejected,
    VaultSource,
)
from tests.sources.lying_server import Reply

TENANTS = [f"tenant-{number}" for number in range(20)]


def secret_of(tenant):
    """Return the key of one tenant."""
    return f"the secret of {tenant}, of more than thirty-two bytes"


def aws(said):
    """Return an answer of AWS."""
    return Reply(200, json.dumps(said), {"Content-Type": "application/x-amz-json-1.1"})


def answer(request):
    """Answer each tenant with its own secret, as the stores do."""
    if request.path.startswith("/v1/auth/approle/login"):
        return Reply(body={"auth": {"client_token": "s.shared", "lease_duration": 3600}})
    if request.path.startswith("/v1/sys/internal/ui/mounts/"):
        return Reply(body={"data": {"path": "secret/", "options": {"version": "2"}}})
    if request.path.startswith("/v1/secret/data/"):
        tenant = request.path.rpartition("/")[2].partition("?")[0]
        space = request.headers.get("x-vault-namespace", "")
        data = {"client_id": space + tenant, "secret_key": secret_of(tenant)}
        return Reply(body={"data": {"data": data, "metadata": {"version": 1}}})
    asked = json.loads(request.body)
    if "SecretId" in asked:
        tenant = asked["SecretId"]
        text = json.dumps({"client_id": tenant, "secret_key": secret_of(tenant)})
        return aws({"SecretString": text, "VersionId": "1"})
    tenant = asked["Name"]
    text = json.dumps({"client_id": tenant, "secret_key": secret_of(tenant)})
    return aws({"Parameter": {"Value": text, "Version": 1}})


def secrets_manager(url, tenant):
    """Return a tenant's source."""
    return AwsSecretsManagerSource(tenant, region="eu-west-1", endpoint_url=url)


def parameter_store(url, tenant):
    """Return a tenant's source."""
    return AwsParameterStoreSource(tenant, region="eu-west-1", endpoint_url=url)


def vault(url, tenant):
    """Return a tenant's source."""
    return VaultSource("secret", tenant, address=url, auth="approle")


@pytest.fixture
def store(liar, monkeypatch):
    """A store that answers each tenant with its own secret."""
    liar.answer = answer
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "bXktc2lnbmluZy1rZXk")
    monkeypatch.setenv("VAULT_ROLE_ID", "role")
    monkeypatch.setenv("VAULT_SECRET_ID", "secret id")
    return liar


@pytest.mark.parametrize("make", [secrets_manager, parameter_store, vault])
def test_twenty_tenants_at_once_get_their_own_secret_each(store, make):
    """And tokens that are signed with it."""
    found = {}

    def work(tenant):
        auth = PartnerAuth(make(store.url, tenant))
        for _ in range(5):
            auth.refresh()
            credential = auth._cache.holding.held.credential
            found.setdefault(tenant, set()).add(
                (credential.client_id, credential.secret_key.reveal(), auth.token())
            )

    threads = [threading.Thread(target=work, args=(tenant,)) for tenant in TENANTS]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(found) == set(TENANTS)
    for tenant, seen in found.items():
        assert {one[:2] for one in seen} == {(tenant, secret_of(tenant))}
    assert len({token for seen in found.values() for *_, token in seen}) >= len(TENANTS)


def test_tenants_with_equal_settings_share_one_client_of_aws(store):
    """Which knows no secret."""
    sources = [secrets_manager(store.url, tenant) for tenant in TENANTS]
    for source in sources:
        source.fetch()
    (account,) = {source._account for source in sources}
    assert [one.endpoint_url for one in account._clients].count(store.url) == 1


def test_tenants_with_equal_settings_share_one_login_to_vault(store):
    """An account that is not theirs alone."""
    for tenant in TENANTS:
        assert vault(store.url, tenant).fetch().secret_key.reveal() == secret_of(tenant)
    assert sum("login" in request.path for request in store.requests) == 1


def test_tenants_in_two_namespaces_share_no_login(store):
    """One's token is never sent for the other."""
    for space in ("one", "two"):
        source = VaultSource("secret", "x", address=store.url, auth="approle", namespace=space)
        assert source.fetch().client_id == f"{space}x"
    logins = [r.headers["x-vault-namespace"] for r in store.requests if "login" in r.path]
    assert logins == ["one", "two"]


@pytest.mark.parametrize("path", ["a/../b", "../b", "a/./b", "a//b", "/a", "a/", "..", "a/\x00"])
def test_no_tenants_name_leads_to_another_tenants_secret(path):
    """urllib3 would take the dots out of the path, and ask for another one."""
    with pytest.raises(ConfigurationError):
        VaultSource("secret", path)


def test_a_tenant_whose_store_is_denied_gets_nothing_of_the_others(store):
    """Neither from a client in common nor from a cache."""
    assert vault(store.url, "tenant-1").fetch()
    denied = {"errors": ["1 error occurred:\n\t* permission denied\n\n"]}
    store.answer = lambda request: (
        Reply(403, denied) if request.path.endswith("/tenant-2") else answer(request)
    )
    auth = PartnerAuth(vault(store.url, "tenant-2"))
    with pytest.raises(SourceRejected):
        auth.token()
    assert auth.status().client_id is None
