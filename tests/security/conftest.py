"""What the tests of leaks are handed: a search, and all that is shown meanwhile."""

import secrets
import string

import pytest

from tests.security.searching import Search, Shown
from tests.security.stores import Stores
from tests.sources.lying_server import LyingServer


@pytest.fixture
def search():
    """Looks for the secrets and tokens that it was told of."""
    return Search()


@pytest.fixture
def shown():
    """Everything that is written down or raised while the test runs."""
    with Shown() as shown:
        yield shown


@pytest.fixture
def secret_of(search):
    """Make a new random secret, of letters of one kind, and have it looked for."""

    def make(kind="plain"):
        secret = ALPHABETS[kind]()
        search.hide(secret)
        return secret

    return make


def _of(alphabet, size=40):
    return "".join(secrets.choice(alphabet) for _ in range(size))


ODD = string.ascii_letters + "\"\\'/<>&%+= {}$#"
ALPHABETS = {
    "plain": lambda: secrets.token_urlsafe(36),
    # a part in ASCII, which every encoding shows alike, and one of anything
    "odd": lambda: _of(ODD, 20) + _of(f"{ODD}é中𝄞", 20),
    "hex": lambda: secrets.token_hex(32),
    "bytes": lambda: bytes([0xFF, 0xC0]) + secrets.token_bytes(46),
}


@pytest.fixture
def liar():
    """A server that says what it is told to."""
    with LyingServer() as server:
        yield server


@pytest.fixture
def stores(tmp_path, liar, secret_of):
    """Every kind of source over one document; our own keys to the stores are secrets as well."""
    stores = Stores(tmp_path, liar)
    stores.setenv("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
    for name in ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_TOKEN", "VAULT_TOKEN"):
        stores.setenv(name, secret_of())
    yield stores
    liar.release()
    stores.close()
