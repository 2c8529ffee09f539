"""What a Vault source reads, from which mount and version, and what it says where it can't."""

import json
from urllib.parse import quote

import pytest

from partner_auth.exceptions import CredentialInvalid, SourceRejected, SourceUnavailable
from partner_auth.sources import source_from_url
from tests.sources import bao_fixtures
from tests.sources.bao_fixtures import K0, K1, K2, K3, document, vault

bao, bao_server, home = bao_fixtures.bao, bao_fixtures.bao_server, bao_fixtures.home
liar_before_bao = bao_fixtures.liar_before_bao


def keys(credentials):
    """Return the keys in clear."""
    return [credential.secret_key.reveal() for credential in credentials]


def test_a_secret_of_kv_version_2_is_read_with_its_version(bao):
    """The current version's data become the credential, its number the version."""
    path = bao.fresh("app")
    bao.put(path, document(K0))
    bao.put(path, document(K1))
    credential = vault(path).fetch()
    assert (credential.client_id, credential.secret_key.reveal()) == ("acme", K1)
    assert credential.version == "2"


def test_a_secret_of_kv_version_1_is_read(bao):
    """The server is asked which version a mount has; version 1 has no version of a secret."""
    mount = bao.mount(bao.fresh("kv1"), 1)
    bao.put_v1("app", document(K0), mount)
    credential = vault(mount, "app").fetch()
    assert (credential.secret_key.reveal(), credential.version) == (K0, None)


@pytest.mark.parametrize("version", [1, 2])
def test_a_mount_may_have_several_segments(bao, version):
    """Where mount and path part is the server's knowledge: a URL need not say it."""
    mount = bao.mount(f"{bao.fresh('team')}/kv", version)
    if version == 2:
        bao.put("deep/app", document(K0), mount)
    else:
        bao.put_v1("deep/app", document(K0), mount)
    for source in (
        source_from_url(f"vault://{mount}/deep/app"),
        vault(mount, "deep/app"),
        vault(mount.split("/")[0], "kv/deep/app"),
    ):
        assert source.fetch().secret_key.reveal() == K0


def test_reading_takes_one_right(bao, monkeypatch):
    """A token that may read `MOUNT/data/PATH` and nothing else is enough, for alternates too."""
    path = bao.fresh("app")
    bao.put(path, document(K0))
    bao.put(path, document(K1))
    monkeypatch.setenv("VAULT_TOKEN", bao.reader(path))
    source = vault(path)
    assert source.fetch().secret_key.reveal() == K1
    assert keys(source.alternates()) == [K0]


def test_reading_version_1_takes_one_right(bao, monkeypatch):
    """Guessing version 2 first would be a 403 here."""
    mount = bao.mount(bao.fresh("kv1"), 1)
    bao.put_v1("app", document(K0), mount)
    monkeypatch.setenv("VAULT_TOKEN", bao.token(bao.policy(f"{mount}/app")))
    assert vault(mount, "app").fetch().secret_key.reveal() == K0


def test_where_the_mount_is_is_asked_once(bao, liar_before_bao):
    """The answer is kept: the second read is one request."""
    path = bao.fresh("app")
    bao.put(path, document(K0))
    source = vault(path)
    source.fetch()
    before = len(liar_before_bao.requests)
    source.fetch()
    assert [r.path for r in liar_before_bao.requests[before:]] == [f"/v1/secret/data/{path}"]


def test_a_mount_that_was_upgraded_is_noticed(bao, liar_before_bao):
    """From version 1 to 2 while the program runs: its own mistake is never shown, and made once."""
    mount = bao.mount(bao.fresh("kv"), 1)
    bao.put_v1("app", document(K0), mount)
    source = vault(mount, "app")
    source.fetch()
    bao.api("POST", f"sys/mounts/{mount}/tune", {"options": {"version": "2"}})
    bao.put("app", document(K1), mount)
    assert source.fetch().secret_key.reveal() == K1
    before = len(liar_before_bao.requests)
    source.fetch()
    assert len(liar_before_bao.requests) == before + 1


def test_a_mount_that_was_made_anew_is_noticed(bao):
    """From version 2 to 1 likewise."""
    mount = bao.mount(bao.fresh("kv"), 2)
    bao.put("app", document(K0), mount)
    source = vault(mount, "app")
    source.fetch()
    bao.api("DELETE", f"sys/mounts/{mount}")
    bao.mount(mount, 1)
    bao.put_v1("app", document(K1), mount)
    assert source.fetch().secret_key.reveal() == K1


def test_a_namespace_may_be_named(bao, monkeypatch):
    """By the variable, or by `namespace=`, which wins; the root one is an empty text."""
    space = bao.fresh("team")
    bao.api("POST", f"sys/namespaces/{space}")
    bao.mount("kv", 2, namespace=space)
    bao.put("app", document(K1), "kv", namespace=space)
    assert vault("kv", "app", namespace=space).fetch().secret_key.reveal() == K1
    assert source_from_url(f"vault://kv/app?namespace={space}/").fetch().client_id == "acme"
    monkeypatch.setenv("VAULT_NAMESPACE", space)
    assert vault("kv", "app").fetch().secret_key.reveal() == K1
    path = bao.fresh("app")
    bao.put(path, document(K0))
    assert vault(path, namespace="").fetch().secret_key.reveal() == K0


def test_names_go_to_the_server_as_they_are(bao):
    """Blanks, `?`, `#`, `%` and letters beyond ASCII are part of a path."""
    path = f"{bao.fresh('ä')} b?c#d%2Fe+f"
    bao.api("POST", "secret/data/" + quote(path, safe=""), {"data": document(K0)})
    assert vault(path).fetch().secret_key.reveal() == K0
    assert source_from_url("vault://secret/" + quote(path, safe="")).fetch().client_id == "acme"


def test_fields_may_have_other_names(bao):
    """The common parameters hold for Vault as well."""
    path = bao.fresh("app")
    bao.put(path, {"partner": {"id": "acme", "key": K0.encode().hex()}})
    url = (
        f"vault://secret/{path}?client_id_field=partner.id&secret_key_field=partner.key"
        "&secret_key_encoding=hex"
    )
    assert source_from_url(url).fetch().secret_key.encoded() == K0.encode()


def test_a_credentials_own_times_are_taken(bao):
    """`expires_at` and `refresh_at` in the secret are the credential's."""
    path = bao.fresh("app")
    bao.put(path, document(K0, expires_at=4_000_000_000, key_id="k1"))
    credential = vault(path).fetch()
    assert (credential.expires_at, credential.key_id) == (4_000_000_000, "k1")


def test_the_former_version_is_an_alternate(bao):
    """The last two versions before the current one that have another key, newest first."""
    path = bao.fresh("app")
    for key in (K0, K1, K2, K3):
        bao.put(path, document(key))
    alternates = vault(path).alternates()
    assert keys(alternates) == [K2, K1]
    assert [one.version for one in alternates] == ["3", "2"]


def test_a_version_with_the_same_key_is_no_alternate(bao):
    """Another field was edited, or the same was written again."""
    path = bao.fresh("app")
    bao.put(path, document(K0))
    bao.put(path, document(K1))
    bao.put(path, document(K1, note="edited"))
    assert keys(vault(path).alternates()) == [K0]


def test_deleted_and_destroyed_versions_are_passed_over(bao):
    """They cost a read each and end nothing."""
    path = bao.fresh("app")
    for key in (K0, K1, K2, K3):
        bao.put(path, document(key))
    bao.api("POST", f"secret/delete/{path}", {"versions": [3]})
    bao.api("PUT", f"secret/destroy/{path}", {"versions": [2]})
    assert keys(vault(path).alternates()) == [K0]


def test_at_most_three_former_versions_are_looked_at(bao, liar_before_bao):
    """A secret written over and over with one key costs no more."""
    path = bao.fresh("app")
    bao.put(path, document(K0))
    for _ in range(6):
        bao.put(path, document(K1))
    source = vault(path)
    source.fetch()
    before = len(liar_before_bao.requests)
    assert source.alternates() == []
    queries = [r.path.partition("?")[2] for r in liar_before_bao.requests[before:]]
    assert queries == ["", "version=6", "version=5", "version=4"]


def test_a_first_version_has_no_alternate(bao):
    """Versions 0 and -1 would mean the current one, and are not asked for."""
    path = bao.fresh("app")
    bao.put(path, document(K0))
    assert vault(path).alternates() == []


def test_the_fields_next_and_previous_come_first(bao):
    """What the secret itself says is likelier than what it once said."""
    path = bao.fresh("app")
    bao.put(path, document(K0))
    bao.put(path, document(K1, secret_key_next=K2))
    assert keys(vault(path).alternates()) == [K2, K0]


def test_version_1_has_the_fields_alone(bao):
    """There are no former versions."""
    mount = bao.mount(bao.fresh("kv1"), 1)
    bao.put_v1("app", document(K0, secret_key_previous=K1), mount)
    assert keys(vault(mount, "app").alternates()) == [K1]
    bao.put_v1("plain", document(K0), mount)
    assert vault(mount, "plain").alternates() == []


def test_a_former_version_that_is_no_credential_is_passed_over(bao):
    """It was put there before the secret had its form."""
    path = bao.fresh("app")
    bao.put(path, document(K0))
    bao.put(path, {"todo": "ask the partner"})
    bao.put(path, document(K1))
    assert keys(vault(path).alternates()) == [K0]


def test_a_secret_that_is_not_there(bao, refusal):
    """`not_found` names mount and path."""
    error = refusal(SourceRejected, vault("no/such").fetch)
    assert error.reason == "not_found"
    assert "holds no secret at 'no/such'" in str(error)
    assert str(error).startswith("VaultSource('secret', 'no/such'): ")


def test_a_path_written_as_the_api_has_it(bao, refusal):
    """`data/` in a path is hinted at."""
    path = bao.fresh("app")
    bao.put(path, document(K0))
    error = refusal(SourceRejected, vault(f"data/{path}").fetch)
    assert "leave 'data/' out" in str(error)


def test_a_mount_that_is_not_there(bao, refusal):
    """It is told apart from a secret that is not there."""
    error = refusal(SourceRejected, vault("nowhere", "app").fetch)
    assert error.reason == "not_found"
    assert "no secrets engine is mounted at 'nowhere/data/app'" in str(error)


def test_a_mount_without_a_path(bao, refusal):
    """A path that is all mount names no secret."""
    mount = bao.mount(f"{bao.fresh('team')}/kv", 2)
    team, kv = mount.split("/")
    error = refusal(SourceRejected, vault(team, kv).fetch)
    assert "is a mount: name a secret below it" in str(error)


def test_a_namespace_that_is_not_there(bao, refusal):
    """It is told apart from a secret that is not there."""
    error = refusal(SourceRejected, vault("app", namespace="no/such").fetch)
    assert error.reason == "not_found"
    assert "no such namespace" in str(error)


def test_a_deleted_version(bao, refusal):
    """A soft-deleted current version is a revocation; it is named."""
    path = bao.fresh("app")
    bao.put(path, document(K0))
    bao.put(path, document(K1))
    bao.api("DELETE", f"secret/data/{path}")
    error = refusal(SourceRejected, vault(path).fetch, K0, K1)
    assert error.reason == "deleted"
    assert f"version 2 of '{path}' in 'secret/' was deleted" in str(error)
    assert refusal(SourceRejected, vault(path).alternates).reason == "deleted"


def test_a_destroyed_version(bao, refusal):
    """A destroyed current version likewise."""
    path = bao.fresh("app")
    bao.put(path, document(K0))
    bao.api("PUT", f"secret/destroy/{path}", {"versions": [1]})
    error = refusal(SourceRejected, vault(path).fetch, K0)
    assert error.reason == "destroyed"


def test_a_deleted_secret_that_comes_back(bao, refusal):
    """Undeleted, it is read again."""
    path = bao.fresh("app")
    bao.put(path, document(K0))
    source = vault(path)
    source.fetch()
    bao.api("DELETE", f"secret/data/{path}")
    refusal(SourceRejected, source.fetch)
    bao.api("POST", f"secret/undelete/{path}", {"versions": [1]})
    assert source.fetch().secret_key.reveal() == K0


def test_a_policy_that_denies(bao, monkeypatch, refusal):
    """`denied` is about our right, and shows the policy that is missing."""
    path = bao.fresh("app")
    bao.put(path, document(K0))
    token = bao.reader("another")
    monkeypatch.setenv("VAULT_TOKEN", token)
    error = refusal(SourceRejected, vault(path).fetch, token, K0)
    assert error.reason == "denied"
    assert f'path "secret/data/{path}" {{ capabilities = ["read"] }}' in str(error)


def test_a_right_that_is_given_later(bao, monkeypatch, refusal):
    """What was assumed about the mount while nothing was allowed is not kept."""
    mount = bao.mount(f"{bao.fresh('team')}/kv", 1)
    bao.put_v1("app", document(K0), mount)
    name = bao.fresh("late")
    token = bao.token(name)
    monkeypatch.setenv("VAULT_TOKEN", token)
    source = source_from_url(f"vault://{mount}/app")
    assert refusal(SourceRejected, source.fetch).reason == "denied"
    rules = f'path "{mount}/app" {{ capabilities = ["read"] }}'
    bao.api("PUT", f"sys/policies/acl/{name}", {"policy": rules})
    assert source.fetch().secret_key.reveal() == K0


def test_data_that_are_no_credential(bao, refusal):
    """`CredentialInvalid` names the fields that are there, and no value."""
    path = bao.fresh("app")
    bao.put(path, {"client_id": "acme", "apikey": K0})
    error = refusal(CredentialInvalid, vault(path).fetch, K0)
    assert "no field 'secret_key', only apikey, client_id" in str(error)


def test_a_large_secret_is_no_credential(bao, refusal):
    """64 KiB are the limit of every store."""
    path = bao.fresh("app")
    bao.put(path, document(K0, blob="x" * 70_000))
    refusal(CredentialInvalid, vault(path).fetch, K0)


def test_a_dead_token_is_not_a_denial(bao, monkeypatch, refusal):
    """It says nothing about the secret: not now, and where the token came from."""
    path = bao.fresh("app")
    bao.put(path, document(K0))
    token = bao.reader(path)
    monkeypatch.setenv("VAULT_TOKEN", token)
    source = vault(path)
    source.fetch()
    bao.revoke(token)
    error = refusal(SourceUnavailable, source.fetch, token)
    assert error.reason == "identity"
    assert "does not know the token from VAULT_TOKEN" in str(error)


def test_a_new_token_is_taken_at_the_next_read(bao, monkeypatch, refusal):
    """The variable is read at each read."""
    path = bao.fresh("app")
    bao.put(path, document(K0))
    monkeypatch.setenv("VAULT_TOKEN", "s.garbage")
    source = vault(path)
    refusal(SourceUnavailable, source.fetch)
    monkeypatch.setenv("VAULT_TOKEN", bao.reader(path))
    assert source.fetch().secret_key.reveal() == K0


def test_a_token_that_was_used_up(bao, monkeypatch, refusal):
    """`num_uses`: its last use is a read like any other, and after it we are unknown."""
    path = bao.fresh("app")
    bao.put(path, document(K0))
    token = bao.reader(path, num_uses=2)  # where it is mounted; the secret
    monkeypatch.setenv("VAULT_TOKEN", token)
    source = vault(path)
    assert source.fetch().secret_key.reveal() == K0
    assert refusal(SourceUnavailable, source.fetch, token).reason == "identity"


def test_the_document_reaches_the_parser_as_it_was_written(bao):
    """Control characters, quotes and letters beyond ASCII in a key survive."""
    path = bao.fresh("app")
    key = 'quote " backslash \\ tab \t ü € 🔑 ' + "x" * 32
    bao.put(path, json.loads(json.dumps(document(key))))
    assert vault(path).fetch().secret_key.reveal() == key
