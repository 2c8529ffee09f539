"""What holds for every client holds for aiohttp: the same tests, apart from those named here."""

from tests.clients.drivers import Aiohttp as Client
from tests.clients.suite import all_but

__all__ = ["Client"]

OTHERWISE = {
    "without origins there is no middleware": {
        "test_a_refused_hop_after_a_resend_is_mended_alone",
        "test_plain_http_is_refused_before_anything_is_sent",
        "test_plain_http_is_refused_each_time",
        "test_without_origins_the_loopback_is_signed",
    },
    "each hop is judged anew: see test_aiohttp.py": {
        "test_a_foreign_refusal_goes_back_untouched",
        "test_another_named_origin_gets_the_body_again",
        "test_another_named_origin_is_signed_once_it_asks",
        "test_no_token_goes_from_https_to_http",
        "test_no_token_goes_from_https_to_http_without_origins",
    },
    "aiohttp's history holds redirects alone, and its answers no time that they took": {
        "test_a_refusal_that_goes_back_tells_how_long_it_took",
        "test_a_second_refusal_stands_in_the_history_too",
        "test_elapsed_is_that_of_the_last_send",
        "test_the_refused_answer_stands_in_the_history",
        "test_what_was_read_of_a_refusal_stands_in_the_history",
    },
    "its status is another object's: the driver makes a middleware of what it is given": {
        "test_an_accepted_answer_ends_a_rejection",
    },
    "aiohttp's time limit is a TimeoutError, no ClientError": {
        "test_a_pool_of_one_connection_is_free_after_a_refusal_that_broke_off",
    },
    "the driver here is simpler: see test_aiohttp.py": {
        "test_a_redirect_is_an_accepted_answer",
        "test_a_refusal_that_breaks_off_breaks_off_for_the_caller_too",
        "test_a_refusal_that_goes_back_can_be_read_at_last",
        "test_a_request_that_is_sent_again_is_signed_once",
        "test_no_more_than_64_kib_of_a_refusal_are_read",
    },
}

globals().update(all_but(OTHERWISE))
