"""The store in memory that feeds a test's `PartnerAuth`."""

import concurrent.futures
import math
import time

import pytest

from partner_auth._credentials import Credential
from partner_auth.exceptions import SourceRejected, SourceUnavailable
from partner_auth.sources._protocol import CredentialSource
from partner_auth.testing import MemoryStore


@pytest.fixture
def store():
    """Hold one secret."""
    return MemoryStore("acme", "first")


def held(store):
    """Read the store and return the secret and its version."""
    credential = store.fetch()
    return credential.secret_key.reveal(), credential.version


def test_it_is_a_source(store):
    """It goes wherever a `CredentialSource` is asked for."""
    assert isinstance(store, CredentialSource)
    assert store.fetch().client_id == "acme"


def test_each_secret_has_a_version(store):
    """The same one again is no new version."""
    store.set("second")
    store.set("second")
    assert held(store) == ("second", "2")
    store.set("first")
    assert held(store) == ("first", "3")


def test_a_whole_credential_is_held_as_it_is(store):
    """Its id, version and times are the test's own."""
    mine = Credential("globex", b"bytes", version="v7", key_id="k", expires_at=9.0)
    store.set(mine)
    assert store.fetch() is mine
    assert store.fetch().version == "v7"


@pytest.mark.parametrize(
    "pending,previous,expected",
    [(None, None, []), ("p", None, ["p"]), (None, "q", ["q"]), ("p", b"q", ["p", b"q"])],
)
def test_alternates_are_what_it_knows(store, pending, previous, expected):
    """Pending comes first."""
    store.pending, store.previous = pending, previous
    assert [credential.secret_key.reveal() for credential in store.alternates()] == expected
    assert (store.pending, store.previous) == (pending, previous)


def test_a_new_secret_leaves_the_alternates_alone(store):
    """A store that knows the previous one is told so."""
    store.pending = "second"
    store.set("second")
    assert (store.pending, store.previous) == ("second", None)


def test_reads_are_counted_apart(store):
    """A fetch and a look at the alternates are two things."""
    store.fetch()
    store.fetch()
    store.alternates()
    assert (store.reads, store.alternate_reads) == (2, 1)


@pytest.mark.parametrize("error", [SourceUnavailable("down"), OSError("down"), KeyError])
def test_it_fails_until_it_is_mended(store, error):
    """With any error, an object or a class, in both kinds of read."""
    kind = error if isinstance(error, type) else type(error)
    store.fail(error)
    for read in (store.fetch, store.alternates):
        with pytest.raises(kind):
            read()
    store.fail(None)
    assert held(store) == ("first", "1")


def test_it_fails_as_often_as_it_is_told(store):
    """Then it is well again."""
    store.fail(SourceUnavailable("down"), times=2)
    for _ in range(2):
        with pytest.raises(SourceUnavailable):
            store.fetch()
    assert store.fetch()


def test_each_failure_is_an_error_of_its_own(store):
    """One object raised in many threads would mix their tracebacks; reason and text are kept."""
    store.fail(SourceRejected("it is gone", reason="deleted"))
    seen = []
    for _ in range(2):
        with pytest.raises(SourceRejected, match="it is gone") as caught:
            store.fetch()
        seen.append(caught.value)
    assert seen[0] is not seen[1]
    assert seen[1].reason == "deleted"


def test_a_read_gives_what_was_held_when_it_began(store):
    """However late it lands: the worst that a read under way can do."""
    store.delay(math.inf)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        read = pool.submit(held, store)
        store.wait_for_reads(1)
        store.set("second")
        store.release()
        assert read.result(5) == ("first", "1")
    assert held(store) == ("second", "2")


def test_a_failure_too_was_decided_when_the_read_began(store):
    """An outage that begins during a read does not end it."""
    store.delay(math.inf)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        read = pool.submit(held, store)
        store.wait_for_reads(1)
        store.fail(SourceUnavailable("down"))
        store.release()
        assert read.result(5) == ("first", "1")


def test_reads_can_be_slow(store):
    """In real time, as many as are said."""
    store.delay(0.1, times=1)
    start = time.monotonic()
    store.fetch()
    slow = time.monotonic() - start
    store.fetch()
    assert slow >= 0.1 > time.monotonic() - start - slow


def test_waiting_for_reads_has_an_end(store):
    """A test that waits for a read that never comes fails and says so."""
    with pytest.raises(TimeoutError, match=r"0 reads after .* s, not 1"):
        store.wait_for_reads(1, timeout=0.01)


def test_it_shows_no_secret(store):
    """Neither it nor what it gives."""
    assert repr(store) == "MemoryStore('acme')"
    assert "first" not in repr(store.fetch())
