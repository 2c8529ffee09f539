"""What the tests of concurrency share: a clock, a store, and no reader that outlives its test."""

import pytest

from partner_auth.testing import Clock, MemoryStore
from tests.concurrency.kit import OLD, quiet


@pytest.fixture
def clock():
    """A clock that stands still until it is told to move."""
    return Clock()


@pytest.fixture
def store():
    """A store with the old secret; whoever still reads it at the end is let go."""
    store = MemoryStore("acme", OLD)
    yield store
    store.release()
    quiet()
