"""A file or a directory as a source, as Kubernetes, Docker and systemd deliver them."""

import contextlib
import json
import os
import pickle
import resource
import socket
from datetime import UTC, datetime
from pathlib import Path

import pytest

from partner_auth.exceptions import (
    ConfigurationError,
    CredentialInvalid,
    SourceRejected,
    SourceUnavailable,
)
from partner_auth.sources import FileSource, source_from_url
from partner_auth.sources._regular import settled

KEY = "tdVbYHdm3T4OSi1yDu8sAOq5GCZjY3GR"
NOBODY = 65_534


@pytest.fixture
def folder(tmp_path):
    """Write files of the given names into a folder, as Docker and systemd do."""

    def write(**files):
        path = tmp_path / "folder"
        path.mkdir(exist_ok=True)
        for name, content in files.items():
            (path / name).write_text(content)
        return path

    return write


@pytest.fixture
def file(tmp_path):
    """Write a file, by rename or in place."""

    def write(content, name="partner.json"):
        path = tmp_path / name
        text = content if isinstance(content, (str, bytes)) else json.dumps(content)
        (tmp_path / "new").write_bytes(text if isinstance(text, bytes) else text.encode())
        return (tmp_path / "new").replace(path)

    return write


@contextlib.contextmanager
def rights(path, mode):
    """Be its owner with these rights and no others: root may read everything."""
    path.chmod(mode)
    root = os.geteuid() == 0
    if root:
        for above in [*path.parents][:-2]:  # pytest's own folders, one more with xdist
            above.chmod(above.stat().st_mode | 0o055)
        for one in (path, *(path.iterdir() if path.is_dir() else ())):
            os.chown(one, NOBODY, -1)
        os.seteuid(NOBODY)
    try:
        yield path
    finally:
        if root:
            os.seteuid(0)
        path.chmod(0o755)


def found(source):
    """Return client id and key."""
    credential = source.fetch()
    return credential.client_id, credential.secret_key.reveal()


def keys(source):
    """Return the alternates' keys, each with its version."""
    return [(a.secret_key.reveal(), a.version) for a in source.alternates()]


def test_a_file_holds_json(file):
    """It is read at each fetch."""
    source = FileSource(file({"client_id": "acme", "secret_key": "old"}))
    assert found(source) == ("acme", "old")
    file({"client_id": "acme", "secret_key": "new"})
    assert found(source) == ("acme", "new")


def test_a_file_holds_the_key_alone(file):
    """The client id then comes with the source; the line break at the end goes."""
    path = file(KEY + "\n", "partner.key")
    assert found(source_from_url(f"file://{path}?client_id=acme")) == ("acme", KEY)


def test_a_file_holds_any_bytes(file):
    """Bytes that are no UTF-8 are the key as they stand."""
    raw = bytes(range(200, 240))
    assert found(FileSource(file(raw), client_id="acme")) == ("acme", raw)


def test_a_file_s_version_is_its_time(file):
    """Unless the document names one, events say from when the file is."""
    path = file({"client_id": "acme", "secret_key": KEY})
    os.utime(path, (1_800_000_000, 1_800_000_000))
    at = datetime.fromtimestamp(1_800_000_000, UTC).isoformat()
    assert FileSource(path).fetch().version == at == "2027-01-15T08:00:00+00:00"
    path = file({"client_id": "acme", "secret_key": KEY, "version": "v7"})
    assert FileSource(path).fetch().version == "v7"


def test_an_odd_time_does_no_harm(file):
    """A version is only shown; a file may be of the year 11476."""
    path = file(KEY)
    os.utime(path, (300_000_000_000, 300_000_000_000))
    assert found(FileSource(path, client_id="acme")) == ("acme", KEY)


def test_a_time_before_1970_is_none(file):
    """Not every system can name it."""
    path = file({"client_id": "acme", "secret_key": KEY})
    os.utime(path, (-1, -1))
    assert FileSource(path).fetch().version == "1970-01-01T00:00:00+00:00"


def test_the_rest_of_a_document_survives_the_version(file):
    """Key id and times come along."""
    document = {"client_id": "a", "secret_key": "k", "key_id": "k1", "expires_at": 1_900_000_000}
    credential = FileSource(file(document)).fetch()
    assert (credential.key_id, credential.expires_at) == ("k1", 1_900_000_000)


def test_a_folder_holds_a_file_for_each_field(folder):
    """Line breaks at the end of files go; further fields are taken where they are."""
    path = folder(
        client_id="acme\n", secret_key=KEY + "\n", key_id="k1\n", expires_at="1900000000\n"
    )
    assert found(source_from_url(f"file://{path}/")) == ("acme", KEY)
    credential = FileSource(path).fetch()
    assert (credential.key_id, credential.expires_at) == ("k1", 1_900_000_000.0)


def test_a_folder_s_files_may_have_other_names(folder):
    """The options name them; other files are not read."""
    path = folder(**{"acme.id": "acme", "acme.key": KEY, "client_id": "x", "secret_key": "{"})
    options = {"client_id_field": "acme.id", "secret_key_field": "acme.key"}
    assert found(FileSource(path, **options)) == ("acme", KEY)


def test_a_folder_needs_no_client_id_that_is_given(folder):
    """client_id= wins, here too."""
    assert found(FileSource(folder(secret_key=KEY), client_id="acme")) == ("acme", KEY)


def test_a_field_of_a_folder_is_no_document(folder):
    """A key may begin with a brace."""
    assert found(FileSource(folder(client_id="acme", secret_key="{" + KEY))) == ("acme", "{" + KEY)


def test_a_kubernetes_mount_is_read_in_one_generation(mount):
    """All fields come from the folder that `..data` names, and its name is the version."""
    credential = FileSource(mount.path).fetch()
    assert (credential.client_id, credential.secret_key.reveal()) == ("acme", "old")
    assert credential.version == "2026_01_01_1"


def test_a_file_of_a_kubernetes_mount_may_be_named_itself(mount):
    """`/etc/partner/partner.json` is a link to a link."""
    mount.write(**{"partner.json": '{"client_id": "acme", "secret_key": "new"}'})
    assert found(FileSource(mount.path / "partner.json")) == ("acme", "new")


def test_generations_are_never_mixed(swapped):
    """Through forty swaps by the kubelet each read has the id and key of one generation."""
    with swapped() as (mount, is_swapping):
        source = FileSource(mount.path)
        pairs = set()
        while is_swapping():
            pairs.add(found(source))
    assert not [(name, key) for name, key in pairs if name[5:] != key[4:]]
    assert len(pairs) > 1


def test_alternates_are_next_and_previous(folder, file, mount):
    """Fields of a document or files of a folder, likeliest first."""
    document = {
        "client_id": "a",
        "secret_key": "k",
        "secret_key_previous": "p",
        "secret_key_next": "n",
    }
    expected = [("n", "next"), ("p", "previous")]
    assert keys(FileSource(file(document))) == expected
    assert keys(FileSource(folder(**document))) == expected
    mount.write(**document)
    assert keys(FileSource(mount.path)) == expected


def test_an_alternate_that_can_t_be_read_spoils_nothing(folder):
    """Neither the credential in use nor the other alternate."""
    path = folder(client_id="acme", secret_key=KEY, secret_key_previous="old")
    (path / "secret_key_next").mkdir()
    assert found(FileSource(path)) == ("acme", KEY)
    assert keys(FileSource(path)) == [("old", "previous")]


def test_alternates_do_without_the_key_in_use(folder):
    """They are a read of their own."""
    assert keys(FileSource(folder(client_id="acme", secret_key_next="n"))) == [("n", "next")]


def test_there_may_be_no_alternates(folder, file):
    """A key alone has none, and a folder may have none."""
    assert keys(FileSource(file(KEY), client_id="acme")) == []
    assert keys(FileSource(folder(client_id="acme", secret_key=KEY))) == []


def test_alternates_of_a_missing_file_are_an_error(tmp_path, refusal):
    """The caller knows what to make of it."""
    refusal(SourceRejected, FileSource(tmp_path / "nowhere").alternates)


@pytest.mark.parametrize("path", ["nowhere", "nowhere/partner.json", "file/partner.json"])
def test_what_is_missing_is_not_found(path, tmp_path, refusal):
    """The file, a folder above it, or a file where a folder is meant."""
    (tmp_path / "file").touch()
    error = refusal(SourceRejected, FileSource(tmp_path / path).fetch)
    assert error.reason == "not_found"
    assert f"there is no '{tmp_path / path}'" in str(error)
    assert FileSource(tmp_path).absence_is_transient


def test_an_empty_folder_is_not_found(folder, refusal):
    """Kubernetes mounts an optional Secret that does not exist as an empty folder."""
    (folder() / "..2026_01_01").mkdir()
    error = refusal(SourceRejected, FileSource(folder()).fetch)
    assert error.reason == "not_found"
    assert "write the files client_id and secret_key into it" in str(error)


def test_a_field_that_is_missing_names_the_files_that_are_there(folder, refusal):
    """The message says which option would name it; no content shows."""
    error = refusal(CredentialInvalid, FileSource(folder(client_id=KEY, api_key=KEY)).fetch, KEY)
    assert "no file 'secret_key', only api_key, client_id: give secret_key_field=" in str(error)
    error = refusal(CredentialInvalid, FileSource(folder(secret_key=KEY, client_id="")).fetch, KEY)
    assert "'client_id' is empty" in str(error)
    source = FileSource(folder(), client_id_field="id")
    error = refusal(CredentialInvalid, source.fetch, KEY)
    assert "no file 'id', only api_key, client_id, secret_key: give client_id_field=" in str(error)


def test_what_may_not_be_read_is_denied(file, refusal):
    """The message asks for the right, and names the file."""
    with rights(file(KEY), 0) as path:
        error = refusal(SourceRejected, FileSource(path, client_id="acme").fetch, KEY)
    assert error.reason == "denied"
    assert f"{str(path)!r} may not be read" in str(error)


def test_a_folder_that_may_not_be_entered_is_denied(folder, refusal):
    """It is not taken for an empty one."""
    with rights(folder(client_id="acme", secret_key=KEY), 0o600) as path:
        errors = [refusal(SourceRejected, FileSource(path / n).fetch) for n in ("", "secret_key")]
    assert [error.reason for error in errors] == ["denied", "denied"]


def test_a_folder_may_be_unlistable(folder):
    """The files are asked for by name."""
    with rights(folder(client_id="acme", secret_key=KEY), 0o100) as path:
        assert found(FileSource(path)) == ("acme", KEY)


def test_a_folder_that_may_not_be_listed_names_the_missing_file_alone(folder, refusal):
    """What else is there can't be told."""
    with rights(folder(client_id="acme"), 0o100) as path:
        error = refusal(SourceRejected, FileSource(path).fetch)
    assert error.reason == "not_found"
    assert "no file 'secret_key' and may not be listed" in str(error)


@pytest.mark.parametrize("path", ["/dev/zero", "/dev/tty", "/dev/null"])
def test_a_device_is_refused(path, refusal):
    """Nothing is read from it: some never end, some belong to somebody."""
    assert "no regular file" in str(refusal(ConfigurationError, FileSource(path).fetch))


def test_a_pipe_is_refused_without_waiting(tmp_path, refusal):
    """A FIFO without a writer would block for ever."""
    os.mkfifo(tmp_path / "pipe")
    refusal(ConfigurationError, FileSource(tmp_path / "pipe").fetch)


def test_a_socket_is_refused(tmp_path, refusal):
    """It can't be opened at all, which is no outage."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
        refusal(ConfigurationError, FileSource(tmp_path / "socket").fetch)


def test_a_file_system_that_fails_is_not_now(refusal):
    """Nothing is said about the credential; the message names what the system says."""
    error = refusal(SourceUnavailable, FileSource("/proc/self/mem").fetch)
    assert error.reason == "unreachable"
    assert "'/proc/self/mem' can't be read for now (Input/output error)" in str(error)


def test_too_many_open_files_are_not_now(file, refusal):
    """They say nothing about the credential either."""
    source = FileSource(file(KEY), client_id="acme")
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, limits[1]))
    try:
        error = refusal(SourceUnavailable, source.fetch, KEY)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert "Too many open files" in str(error)
    assert found(source) == ("acme", KEY)


def test_a_read_leaves_no_file_open(file, refusal):
    """Whatever it came to; the lowest descriptor that is free stays so."""

    def lowest():
        with Path(os.devnull).open("rb") as opened:
            return opened.fileno()

    before = lowest()
    found(FileSource(file(KEY), client_id="acme"))
    refusal(ConfigurationError, FileSource("/dev/null", client_id="acme").fetch)
    assert lowest() == before


def test_a_loop_of_links_is_refused(tmp_path, refusal):
    """Waiting does not end it."""
    (tmp_path / "loop").symlink_to("loop")
    refusal(ConfigurationError, FileSource(tmp_path / "loop").fetch)


def test_a_folder_where_a_field_is_wanted_is_refused(folder, refusal):
    """A field is a file."""
    path = folder(client_id="acme")
    (path / "secret_key").mkdir()
    error = refusal(ConfigurationError, FileSource(path).fetch)
    assert f"{str(path / 'secret_key')!r} is no regular file (a directory, pipe or device)" in str(
        error
    )


@pytest.mark.parametrize("name", ["a/b", "/etc/passwd"])
def test_a_field_of_a_folder_is_no_path(name, folder, refusal):
    """An option that somebody fills in reaches no other folder."""
    source = FileSource(folder(client_id="acme"), secret_key_field=name)
    assert "name of a file, not a path" in str(refusal(ConfigurationError, source.fetch))


def test_more_than_64_kib_is_refused(file, folder, refusal):
    """A file that big is a wrong path."""
    path = file(KEY * 2049)
    error = refusal(CredentialInvalid, FileSource(path, client_id="acme").fetch, KEY)
    assert f"{str(path)!r} is longer than 64 KiB" in str(error)
    source = FileSource(folder(client_id="acme", secret_key=KEY * 2049))
    refusal(CredentialInvalid, source.fetch, KEY)
    assert found(FileSource(file("k" * 65_536), client_id="acme")) == ("acme", "k" * 65_536)


def test_half_a_document_is_invalid(file, refusal):
    """It says nothing about the credential that is held; the message guesses why."""
    whole = json.dumps({"client_id": "acme", "secret_key": KEY})
    error = refusal(CredentialInvalid, FileSource(file(whole[:-5])).fetch, KEY)
    assert "ends too early (still being written?)" in str(error)


@pytest.mark.parametrize(
    "states, reads", [("aa", 1), ("abb", 2), ("abcc", 3), ("abcdefg", 5)], ids=str
)
def test_what_changes_while_it_is_read_is_read_again(states, reads):
    """At most four times more: half of it may be of before, and some writers never rest."""
    state, read = iter(states), iter(range(1, 9))
    assert settled(lambda: next(state), lambda: next(read)) == reads


def change_by_rename(path):
    """Write the same length beside it, give it the same time, and rename."""
    beside = path.parent / "beside"
    beside.write_text(path.read_text())
    os.utime(beside, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
    beside.replace(path)


def change_in_place(path):
    """Append to it."""
    path.write_text(path.read_text() + "\n")


def change_by_time(path):
    """Touch it."""
    os.utime(path, (1, 1))


def change_by_removal(path):
    """Remove it."""
    path.unlink()


@pytest.mark.parametrize(
    "change", [change_by_rename, change_in_place, change_by_time, change_by_removal]
)
@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_change_shows_in_the_fingerprint(change, kind, file, folder):
    """Of a file, and of any field of a folder; without a change it stays the same."""
    path = folder(client_id="acme", secret_key=KEY) if kind == "folder" else file(KEY)
    source = FileSource(path, client_id="acme")
    before = source.fingerprint()
    assert source.fingerprint() == before
    change(path / "secret_key" if kind == "folder" else path)
    assert source.fingerprint() != before


@pytest.mark.parametrize("name", ["client_id", "secret_key", "secret_key_next", "key_id"])
def test_a_field_that_appears_shows_in_the_fingerprint(name, folder):
    """Also that of an alternate."""
    source = FileSource(folder())
    before = source.fingerprint()
    folder(**{name: "x"})
    assert source.fingerprint() != before


@pytest.mark.parametrize("name", ["", "secret_key"])
def test_a_swap_by_the_kubelet_shows_in_the_fingerprint(name, mount):
    """Of the folder and of one file in it, each time, even if nothing else differs."""
    source = FileSource(mount.path / name)
    seen = [source.fingerprint()]
    for _ in range(3):
        mount.write(client_id="acme", secret_key="old")
        seen.append(source.fingerprint())
    assert len(set(seen)) == 4


def test_a_link_that_turns_shows_in_the_fingerprint(tmp_path):
    """The path behind it counts too: file systems use the numbers of removed files again."""
    (tmp_path / "one").write_text(KEY)
    (tmp_path / "two").hardlink_to(tmp_path / "one")
    link = tmp_path / "link"
    link.symlink_to("one")
    before = FileSource(link).fingerprint()
    link.unlink()
    link.symlink_to("two")
    assert FileSource(link).fingerprint() != before


def test_a_file_that_appears_shows_in_the_fingerprint(tmp_path):
    """A source may be made before its file is there."""
    source = FileSource(tmp_path / "later")
    before = source.fingerprint()
    (tmp_path / "later").touch()
    assert source.fingerprint() != before


def test_a_fingerprint_opens_nothing(file):
    """It is asked once a second on a thread that sends requests: no right to read is needed."""
    path = file(KEY)
    source = FileSource(path)
    before = source.fingerprint()
    with rights(path, 0):
        assert source.fingerprint() == before


@pytest.mark.parametrize("path", ["", "a\0b", b"/x", 7, None], ids=repr)
def test_a_path_is_a_text_or_a_path(path, refusal):
    """Anything else is refused at once, by its type."""
    refusal(ConfigurationError, lambda: FileSource(path))


def test_a_relative_path_counts_from_here(tmp_path, monkeypatch):
    """A daemon that changes its folder later reads the same file."""
    monkeypatch.chdir(tmp_path)
    assert repr(FileSource("a/../b")) == f"FileSource('{tmp_path}/a/../b')"


def test_a_relative_path_needs_a_folder_to_count_from(tmp_path, monkeypatch, refusal):
    """If that was removed, the message asks for a whole path."""
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    error = refusal(ConfigurationError, lambda: FileSource("x"))
    assert "give a whole path" in str(error)


def test_a_pickle_carries_the_settings_alone(file):
    """Nothing that was read goes along."""
    source = FileSource(file(KEY), client_id="acme")
    source.fetch()
    pickled = pickle.dumps(source)
    assert KEY.encode() not in pickled
    assert repr(pickle.loads(pickled)) == repr(source)


def test_making_a_source_reads_nothing(tmp_path):
    """A file may come later."""
    assert (
        repr(FileSource(tmp_path / "x", client_id="a"))
        == f"FileSource('{tmp_path}/x', client_id='a')"
    )
