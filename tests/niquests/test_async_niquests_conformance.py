"""What holds for every client holds for niquests' asynchronous sessions: the same tests."""

from tests.clients.suite import all_but
from tests.niquests.drivers import AsyncNiquests as Client

__all__ = ["Client"]

OTHERWISE = {
    "the driver here counts no bytes": {"test_no_more_than_64_kib_of_a_refusal_are_read"},
    "its status is another object's: the driver makes an AsyncPartnerAuth of what it is given": {
        "test_a_redirect_is_an_accepted_answer",
        "test_an_accepted_answer_ends_a_rejection",
    },
    "such a session signs in `request()` alone: see docs/clients/niquests.md": {
        "test_a_request_that_is_sent_again_is_signed_once",
    },
}

globals().update(all_but(OTHERWISE))
