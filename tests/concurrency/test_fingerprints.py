"""A source that can tell locally whether it has changed: asked at most once a second."""

import json
import os

import pytest

from partner_auth import Credential, FileSource
from tests.concurrency.kit import FOREVER, NEW, NEWER, OLD, eventually, exact, quiet, signer_of


def written(path, secret):
    """Replace a credential file by rename."""
    beside = path.with_suffix(".new")
    beside.write_text(json.dumps({"client_id": "acme", "secret_key": secret}), encoding="utf-8")
    beside.replace(path)


@pytest.fixture
def path(tmp_path):
    """A file with the old secret."""
    written(tmp_path / "partner.json", OLD)
    return tmp_path / "partner.json"


class Printed:
    """A source whose fingerprint is what a test says."""

    def __init__(self):
        self.reads = self.asked = 0
        self.secret, self.print = OLD, "a"

    def fetch(self):
        self.reads += 1
        return Credential("acme", self.secret)

    def fingerprint(self):
        self.asked += 1
        if isinstance(self.print, Exception):
            raise self.print
        return self.print


def test_a_changed_file_is_seen_within_a_second(path, clock):
    """A request at least a second after the last look finds the new secret in the file."""
    auth = exact(FileSource(path), clock)
    auth.token()
    written(path, NEW)
    clock.advance(1)
    auth.token()
    eventually(lambda: signer_of(auth.token()) == NEW)


def test_a_changed_file_holds_up_nobody(path, clock):
    """The request that finds the change is served with what is held."""
    auth = exact(FileSource(path), clock)
    auth.token()
    path.unlink()
    os.mkfifo(path)
    clock.advance(1)
    assert signer_of(auth.token()) == OLD


@pytest.mark.parametrize("failures", [1, 12])
def test_a_file_that_becomes_whole_is_read_promptly(path, clock, failures):
    """Half a document is not now; the whole one is found within a second, whatever the pause."""
    auth = exact(FileSource(path), clock, fresh_for=10, max_stale=9000)
    auth.token()
    path.write_text('{"client_id": "acme", "secret_k', encoding="utf-8")
    for _ in range(failures):
        clock.advance(61)
        assert signer_of(auth.token()) == OLD
        quiet()
    assert auth.status().last_error
    written(path, NEW)
    clock.advance(1)
    auth.token()
    eventually(lambda: signer_of(auth.token()) == NEW)


def test_a_file_that_comes_back_is_read_promptly(path, clock):
    """A file that is gone for a while is not now; the next one is found within a second."""
    auth = exact(FileSource(path), clock)
    auth.token()
    path.unlink()
    clock.advance(1)
    assert signer_of(auth.token()) == OLD
    quiet()
    written(path, NEW)
    clock.advance(1)
    auth.token()
    eventually(lambda: signer_of(auth.token()) == NEW)


def test_the_fingerprint_is_asked_at_most_once_a_second(clock):
    """Whatever the traffic: a hundred requests in five seconds ask five times."""
    source = Printed()
    auth = exact(source, clock)
    for _ in range(100):
        auth.token()
        clock.advance(0.05)
    assert source.asked == 5
    assert source.reads == 1


def test_a_first_read_takes_one_fingerprint(clock):
    """Where nothing is held there is nothing that could have changed."""
    source = Printed()
    exact(source, clock).token()
    assert source.asked == 1


def test_no_fingerprint_is_asked_while_the_store_is_read(store, clock):
    """What that read brings is newer."""
    asked = []
    store.fingerprint = lambda: asked.append(store.reads)
    auth = exact(store, clock)
    auth.token()
    store.delay(FOREVER)
    clock.advance(901)
    auth.token()
    store.wait_for_reads(2)
    before = len(asked)
    for _ in range(3):
        clock.advance(2)
        auth.token()
    assert len(asked) == before


def test_a_change_while_the_store_is_read_is_seen(store, clock):
    """The fingerprint is taken before the read, so what changes during it is a change."""
    store.fingerprint = lambda: store.print
    store.print = "a"
    store.delay(FOREVER, times=1)
    auth = exact(store, clock)
    auth.refresh(wait=False)
    store.wait_for_reads(1)
    store.set(NEW)
    store.print = "b"
    store.release()
    eventually(lambda: auth.status().state == "fresh")
    assert signer_of(auth.token()) == OLD
    clock.advance(1)
    auth.token()
    eventually(lambda: signer_of(auth.token()) == NEW)


@pytest.mark.parametrize("told", [OSError("no such file"), "a"], ids=["error", "the same"])
def test_an_error_means_unchanged(clock, told):
    """A fingerprint that can't be taken is no reason to read the store."""
    source = Printed()
    auth = exact(source, clock)
    auth.token()
    source.print = told
    for _ in range(5):
        clock.advance(1)
        auth.token()
    quiet()
    assert source.reads == 1


def test_a_change_after_an_error_is_seen(clock):
    """An error in between does not make the source forget what it had seen."""
    source = Printed()
    auth = exact(source, clock)
    auth.token()
    for told in (OSError("for a moment"), "b"):
        source.print = told
        clock.advance(1)
        auth.token()
    eventually(lambda: source.reads == 2)
    quiet()


def test_a_change_after_an_error_at_the_read_is_seen(clock):
    """Where none could be taken at the read the next one is what later ones are compared to."""
    source = Printed()
    source.print = OSError("for a moment")
    auth = exact(source, clock)
    auth.token()
    for told in ("a", "a", "b"):
        source.print = told
        clock.advance(1)
        assert source.reads == 1
        auth.token()
    eventually(lambda: source.reads == 2)
    quiet()


def test_a_comparison_that_raises_means_unchanged(clock):
    """A value that can't be compared is no reason to fail a request."""

    class Sulky:
        def __eq__(self, other):
            raise ValueError

        __hash__ = None

    source = Printed()
    source.print = Sulky()
    auth = exact(source, clock)
    auth.token()
    source.print = Sulky()
    clock.advance(1)
    assert signer_of(auth.token()) == OLD
    quiet()
    assert source.reads == 1


def test_one_change_is_one_read(clock):
    """A source that has changed once is read once."""
    source = Printed()
    auth = exact(source, clock)
    auth.token()
    source.print, source.secret = "b", NEWER
    for _ in range(10):
        clock.advance(1)
        auth.token()
        quiet()
    assert (source.reads, signer_of(auth.token())) == (2, NEWER)
