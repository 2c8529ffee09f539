"""What holds for every client holds for niquests' sessions: the same tests."""

from tests.clients.suite import all_but
from tests.niquests.drivers import Niquests as Client

__all__ = ["Client"]

OTHERWISE = {
    "the driver here counts no bytes": {"test_no_more_than_64_kib_of_a_refusal_are_read"},
}

globals().update(all_but(OTHERWISE))
