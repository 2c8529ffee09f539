"""The environment as a source, and the files that its variables name."""

import os
import pickle

import pytest

from partner_auth.exceptions import (
    ConfigurationError,
    CredentialInvalid,
    SourceRejected,
)
from partner_auth.sources import EnvSource, source_from_url

KEY = "tdVbYHdm3T4OSi1yDu8sAOq5GCZjY3GR"


@pytest.fixture
def variables(monkeypatch):
    """Set variables without their prefix."""

    def set_variables(prefix="PARTNER_", **values):
        for name, value in values.items():
            monkeypatch.setenv(prefix + name, str(value))

    return set_variables


@pytest.fixture
def file(tmp_path):
    """Write a file and return its path."""

    def write(name, content):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def keys(source):
    """Return key, version and key id of each alternate."""
    return [(a.secret_key.reveal(), a.version, a.key_id) for a in source.alternates()]


def test_two_variables_are_a_credential(variables):
    """PARTNER_CLIENT_ID and PARTNER_SECRET_KEY."""
    variables(CLIENT_ID="acme", SECRET_KEY=KEY)
    credential = EnvSource().fetch()
    assert (credential.client_id, credential.secret_key.reveal()) == ("acme", KEY)
    assert (credential.version, credential.key_id) == (None, None)


def test_variables_are_read_at_each_fetch(variables):
    """One that the program sets later counts."""
    source = EnvSource()
    variables(CLIENT_ID="acme", SECRET_KEY="old")
    source.fetch()
    variables(SECRET_KEY="new")
    assert source.fetch().secret_key.reveal() == "new"


def test_the_prefix_is_the_users(variables):
    """env://ACME_ reads ACME_CLIENT_ID and ACME_SECRET_KEY alone."""
    variables(CLIENT_ID="other", SECRET_KEY="other")
    variables("ACME_", CLIENT_ID="acme", SECRET_KEY=KEY, KEY_ID="k1")
    credential = source_from_url("env://ACME_").fetch()
    assert (credential.client_id, credential.key_id) == ("acme", "k1")


def test_files_may_hold_the_values(variables, file):
    """X_FILE is the path of a file with X; its last line break is not part of it."""
    variables(
        CLIENT_ID_FILE=file("id", "acme\n"),
        SECRET_KEY_FILE=file("key", KEY + "\n"),
        KEY_ID_FILE=file("kid", "k1\n"),
    )
    credential = EnvSource().fetch()
    assert (credential.client_id, credential.key_id) == ("acme", "k1")
    assert credential.secret_key.reveal() == KEY


def test_generations_are_never_mixed(variables, swapped):
    """Two files in a Secret that the kubelet swaps meanwhile are read of one generation."""
    with swapped() as (mount, is_swapping):
        variables(
            CLIENT_ID_FILE=mount.path / "client_id", SECRET_KEY_FILE=mount.path / "secret_key"
        )
        pairs = set()
        while is_swapping():
            credential = EnvSource().fetch()
            pairs.add((credential.client_id, credential.secret_key.reveal()))
    assert not [(name, key) for name, key in pairs if name[5:] != key[4:]]
    assert len(pairs) > 1


def test_a_key_may_be_a_document(variables):
    """ECS puts a whole JSON secret into one variable."""
    variables(SECRET_KEY='{"client_id": "acme", "secret_key": "k", "expires_at": 1800000000}')
    credential = EnvSource().fetch()
    assert (credential.client_id, credential.secret_key.reveal()) == ("acme", "k")
    assert credential.expires_at == 1_800_000_000


def test_a_variable_wins_over_the_document(variables):
    """PARTNER_CLIENT_ID is nearer to the program than the JSON in PARTNER_SECRET_KEY."""
    variables(CLIENT_ID="nearer", SECRET_KEY='{"client_id": "acme", "secret_key": "k"}')
    assert EnvSource().fetch().client_id == "nearer"


def test_fields_of_the_document_are_the_users(variables):
    """client_id_field and secret_key_field are taken as elsewhere."""
    variables(SECRET_KEY='{"id": "acme", "keys": {"now": "k"}}')
    credential = source_from_url("env://?client_id_field=id&secret_key_field=keys.now").fetch()
    assert (credential.client_id, credential.secret_key.reveal()) == ("acme", "k")


def test_a_client_id_may_come_with_the_source(variables):
    """client_id= wins over the variable, which may then be missing."""
    variables(SECRET_KEY=KEY)
    assert EnvSource(client_id="acme").fetch().client_id == "acme"
    variables(CLIENT_ID="other")
    assert EnvSource(client_id="acme").fetch().client_id == "acme"


def test_a_key_may_be_encoded(variables):
    """secret_key_encoding= is taken as elsewhere, for alternates too."""
    variables(CLIENT_ID="acme", SECRET_KEY="6b6579", SECRET_KEY_NEXT="6e657874")
    source = EnvSource(secret_key_encoding="hex")
    assert source.fetch().secret_key.reveal() == b"key"
    assert keys(source) == [(b"next", "next", None)]


def test_undecodable_bytes_are_the_key_as_they_stand(monkeypatch):
    """The environment may hold any byte but NUL."""
    raw = bytes(range(200, 240))
    monkeypatch.setitem(os.environb, b"PARTNER_SECRET_KEY", raw)
    assert EnvSource(client_id="acme").fetch().secret_key.reveal() == raw


def test_an_undecodable_client_id_is_refused(monkeypatch, variables, refusal):
    """A claim is a text."""
    variables(SECRET_KEY=KEY)
    monkeypatch.setitem(os.environb, b"PARTNER_CLIENT_ID", b"\xff\xfa")
    error = refusal(CredentialInvalid, EnvSource().fetch, KEY)
    assert str(error) == "EnvSource(): the client id is not in UTF-8"


def test_nothing_set_names_every_way(refusal):
    """The message is the first thing that a new user sees."""
    error = refusal(SourceRejected, EnvSource().fetch)
    assert error.reason == "not_configured"
    for way in (
        "PARTNER_CLIENT_ID and PARTNER_SECRET_KEY",
        "PARTNER_CLIENT_ID_FILE and PARTNER_SECRET_KEY_FILE",
        "PARTNER_AUTH_SOURCE",
        "PartnerAuth(source=)",
    ):
        assert way in str(error)


def test_nothing_set_is_no_error_before_the_read():
    """Making the source reads nothing."""
    assert repr(EnvSource("ACME_")) == "EnvSource('ACME_')"


def test_empty_variables_are_not_set(variables, file, refusal):
    """Compose files and shells leave empty what they don't know."""
    variables(CLIENT_ID="", SECRET_KEY="", SECRET_KEY_FILE="")
    assert refusal(SourceRejected, EnvSource().fetch).reason == "not_configured"
    variables(CLIENT_ID="acme", SECRET_KEY_FILE=file("key", KEY))
    assert EnvSource().fetch().secret_key.reveal() == KEY


def test_half_of_it_is_a_mistake(variables, refusal):
    """A client id without a key, or a key without a client id, names what is missing."""
    variables(CLIENT_ID="acme")
    error = refusal(CredentialInvalid, EnvSource().fetch)
    assert "PARTNER_CLIENT_ID is set, PARTNER_SECRET_KEY is not" in str(error)
    variables(CLIENT_ID="", SECRET_KEY=KEY)
    error = refusal(CredentialInvalid, EnvSource().fetch, KEY)
    assert "give the client id by PARTNER_CLIENT_ID" in str(error)


@pytest.mark.parametrize("name", ["CLIENT_ID", "SECRET_KEY", "KEY_ID"])
def test_both_a_variable_and_its_file_are_refused(name, variables, file, refusal):
    """Which of them is meant is not ours to guess; the value does not show."""
    variables(CLIENT_ID="acme", SECRET_KEY=KEY, KEY_ID="k1")
    variables(**{f"{name}_FILE": file("x", KEY)})
    error = refusal(ConfigurationError, EnvSource().fetch, KEY)
    assert f"both PARTNER_{name} and PARTNER_{name}_FILE are set" in str(error)


def test_a_missing_file_names_variable_and_path(variables, tmp_path, refusal):
    """It is "not found", so that a chain goes on and a held credential stays in use."""
    variables(CLIENT_ID="acme", SECRET_KEY_FILE=tmp_path / "nowhere")
    error = refusal(SourceRejected, EnvSource().fetch)
    assert error.reason == "not_found"
    assert f"PARTNER_SECRET_KEY_FILE: there is no '{tmp_path}/nowhere'" in str(error)
    assert EnvSource().absence_is_transient


@pytest.mark.parametrize("path", ["/dev/zero", "/dev/tty", "/"])
def test_a_file_must_be_a_regular_one(path, variables, refusal):
    """A device or directory is refused at once, without reading it."""
    variables(CLIENT_ID="acme", SECRET_KEY_FILE=path)
    error = refusal(ConfigurationError, EnvSource().fetch)
    assert f"PARTNER_SECRET_KEY_FILE: {path!r} is no regular file" in str(error)


def test_a_pipe_is_not_waited_for(variables, tmp_path, refusal):
    """A FIFO without a writer would block for ever."""
    os.mkfifo(tmp_path / "pipe")
    variables(CLIENT_ID="acme", SECRET_KEY_FILE=tmp_path / "pipe")
    refusal(ConfigurationError, EnvSource().fetch)


def test_a_file_has_a_bounded_size(variables, file, refusal):
    """More than 64 KiB is no credential."""
    variables(CLIENT_ID="acme", SECRET_KEY_FILE=file("key", KEY * 2049))
    assert "longer than 64 KiB" in str(refusal(CredentialInvalid, EnvSource().fetch, KEY))


def test_alternates_are_next_and_previous(variables, file):
    """Each as a variable or a file, likeliest first, with its own key id or the common one."""
    variables(CLIENT_ID="acme", SECRET_KEY=KEY, KEY_ID="k2", KEY_ID_NEXT="k3")
    variables(SECRET_KEY_PREVIOUS="old", SECRET_KEY_NEXT_FILE=file("next", "new\n"))
    assert keys(EnvSource()) == [("new", "next", "k3"), ("old", "previous", "k2")]


def test_alternates_may_be_documents(variables):
    """ECS can put another stage of the secret into a variable."""
    variables(SECRET_KEY='{"client_id": "acme", "secret_key": "k"}')
    variables(SECRET_KEY_PREVIOUS='{"client_id": "acme", "secret_key": "old"}')
    assert keys(EnvSource()) == [("old", "previous", None)]


def test_alternates_may_stand_in_the_key_s_document(variables):
    """A variable goes before the field of the same meaning."""
    document = (
        '{"client_id": "a", "secret_key": "k", "secret_key_next": "n", "secret_key_previous": "p"}'
    )
    variables(SECRET_KEY=document)
    assert keys(EnvSource()) == [("n", "next", None), ("p", "previous", None)]
    variables(SECRET_KEY_NEXT="nearer")
    assert keys(EnvSource()) == [("nearer", "next", None), ("p", "previous", None)]


@pytest.mark.parametrize("values", [{}, {"CLIENT_ID": "acme", "SECRET_KEY": KEY}], ids=repr)
def test_there_may_be_no_alternates(values, variables):
    """Nothing is set: there are none."""
    variables(**values)
    assert keys(EnvSource()) == []


def test_a_broken_alternate_does_not_spoil_the_other(variables, tmp_path):
    """The file of one is missing, the other is used."""
    variables(CLIENT_ID="acme", SECRET_KEY=KEY)
    variables(SECRET_KEY_NEXT_FILE=tmp_path / "nowhere", SECRET_KEY_PREVIOUS="old")
    assert keys(EnvSource()) == [("old", "previous", None)]


def test_an_alternate_in_utf16_says_so(variables, file, refusal):
    """As the key itself does."""
    variables(
        CLIENT_ID="acme", SECRET_KEY=KEY, SECRET_KEY_NEXT_FILE=file("n", KEY.encode("utf-16"))
    )
    assert "UTF-16" in str(refusal(CredentialInvalid, EnvSource().alternates, KEY))


def test_alternates_that_are_all_broken_say_so(variables, refusal):
    """The message names the variable."""
    variables(CLIENT_ID="acme", SECRET_KEY=KEY, SECRET_KEY_NEXT='{"secret_key": ')
    error = refusal(CredentialInvalid, EnvSource().alternates, KEY)
    assert str(error).startswith("EnvSource(): PARTNER_SECRET_KEY_NEXT: it begins with {")


@pytest.mark.parametrize("name", ["CLIENT_ID", "SECRET_KEY", "SECRET_KEY_NEXT", "KEY_ID"])
def test_a_variable_that_changes_changes_the_fingerprint(name, variables):
    """A program that sets os.environ is heard within a second."""
    before = EnvSource().fingerprint()
    variables(**{name: "x"})
    changed = EnvSource().fingerprint()
    assert before != changed
    assert changed == EnvSource().fingerprint()


def test_a_file_that_changes_changes_the_fingerprint(variables, file):
    """A Docker or Kubernetes secret that is swapped is seen within a second."""
    variables(SECRET_KEY_FILE=file("key", "old"))
    before = EnvSource().fingerprint()
    assert before == EnvSource().fingerprint()
    file("new", "new").replace(file("key", "old"))
    assert before != EnvSource().fingerprint()


def test_a_fingerprint_shows_no_key(variables):
    """It is held by the cache, whose state may be logged."""
    variables(SECRET_KEY=KEY)
    assert KEY not in repr(EnvSource().fingerprint())


def test_a_pickle_carries_the_settings_alone(variables):
    """No value of a variable goes along."""
    variables(CLIENT_ID="acme", SECRET_KEY=KEY)
    source = EnvSource(secret_key_encoding="base64")
    source.fetch()
    pickled = pickle.dumps(source)
    assert KEY.encode() not in pickled
    assert repr(pickle.loads(pickled)) == repr(source)


@pytest.mark.parametrize("prefix", ["ACME-", "1ACME_", "A B", "ACME_\n", "É_", None, 7])
def test_a_prefix_is_part_of_a_name(prefix, refusal):
    """Only letters, digits and _ can be in a variable's name everywhere."""
    refusal(ConfigurationError, lambda: EnvSource(prefix))


def test_a_key_in_place_of_a_prefix_is_not_shown(refusal):
    """Nor is it in a frame of ours."""
    key = f"{KEY}-"
    refusal(ConfigurationError, lambda: EnvSource(key), key)


def test_the_prefix_may_be_empty(variables):
    """CLIENT_ID and SECRET_KEY are then read."""
    variables("", CLIENT_ID="acme", SECRET_KEY=KEY)
    assert EnvSource("").fetch().client_id == "acme"
