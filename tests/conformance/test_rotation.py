"""A rotation is mended, and the caller sees nothing of it but the history."""

import time

import pytest

from partner_auth.events import RequestRejected


def token_of(request):
    """Return the token that a client's request object carries."""
    return request.headers["Authorization"].removeprefix("Bearer ")


def test_a_rotation_costs_one_resend(client, partner):
    """The refused request is sent once more, with the new secret."""
    partner.rotate()
    assert client.get(f"{partner.url}/portfolio").status_code == 200
    assert [one.status for one in partner.requests] == [401, 200]


def test_the_requests_after_it_are_right_at_once(client, partner):
    """The new secret stays in use."""
    partner.rotate()
    for _ in range(2):
        client.get(f"{partner.url}/portfolio")
    assert [one.status for one in partner.requests] == [401, 200, 200]


def test_the_refused_answer_stands_in_the_history(client, partner):
    """With the token that it was refused with."""
    partner.rotate()
    got = client.get(f"{partner.url}/portfolio")
    assert [one.status_code for one in got.history] == [401]
    assert token_of(got.history[0].request) == partner.requests[0].token


def test_the_answers_request_is_the_one_that_was_sent_again(client, partner):
    """With the token that it was accepted with, and all else as it was."""
    partner.rotate()
    got = client.post(f"{partner.url}/echo?a=1", content=b"order", headers={"X-Order": "7"})
    assert token_of(got.request) == partner.requests[1].token
    assert (got.request.method, str(got.request.url)) == ("POST", f"{partner.url}/echo?a=1")
    assert partner.requests[1].headers["X-Order"] == "7"


def test_a_second_refusal_stands_in_the_history_too(client, partner):
    """Oldest first, each with its own token: the current one afresh, then the pending one."""
    partner.store.pending = partner.rotate(store=False)
    got = client.get(f"{partner.url}/portfolio")
    assert [one.status for one in partner.requests] == [401, 401, 200]
    assert [one.status_code for one in got.history] == [401, 401]
    sent = [token_of(one.request) for one in [*got.history, got]]
    assert sent == [one.token for one in partner.requests]


def test_elapsed_is_that_of_the_last_send(client, partner):
    """Neither zero nor the sum of both."""
    partner.rotate()
    partner.delay(0.2)
    began = time.monotonic()
    got = client.get(f"{partner.url}/portfolio")
    took = time.monotonic() - began
    for one in [got.history[0], got]:
        assert 0.2 <= one.elapsed.total_seconds() <= took - 0.2


def test_a_refusal_that_lasts_goes_back(client, partner):
    """With the partner's own words, after the tries that the rule allows."""
    partner.reject()
    got = client.get(f"{partner.url}/portfolio")
    assert (got.status_code, got.json()) == (401, {"error": "rejecting"})
    assert len(partner.requests) == 2


def test_an_accepted_answer_ends_a_rejection(connect, partner):
    """The next 401 is the first of another one."""
    auth = partner.auth()
    client = connect(auth)
    partner.reject()
    client.get(f"{partner.url}/portfolio")
    assert auth.status().state == "rejected"
    partner.restore()
    client.get(f"{partner.url}/portfolio")
    assert auth.status().state == "fresh"


def test_other_codes_can_mean_that_the_token_was_refused(connect, partner):
    """`rejects=(401, 403)`: the 403 is mended."""
    client = connect(partner.auth(rejects=(401, 403)))
    partner.fail(403)
    assert client.get(f"{partner.url}/portfolio").status_code == 200
    assert [one.status for one in partner.requests] == [403, 200]


@pytest.mark.parametrize("status", [403, 407, 429, 500, 503])
def test_other_codes_go_back_as_they_are(client, partner, status):
    """They say nothing of the token."""
    partner.fail(status)
    assert client.get(f"{partner.url}/portfolio").status_code == status
    assert len(partner.requests) == 1


def test_a_lack_of_rights_goes_back_as_it_is(client, partner):
    """RFC 6750 §3.1: a new token can't help, and no store is asked."""
    partner.rotate()
    partner.challenge('Bearer realm="partner", error="insufficient_scope"')
    assert client.get(f"{partner.url}/portfolio").status_code == 401
    assert (len(partner.requests), partner.store.reads) == (1, 1)


def test_a_stray_challenge_means_nothing(client, partner):
    """Careless servers name other schemes with a 401 about a bearer token."""
    partner.rotate()
    partner.challenge('Basic realm="login"')
    assert client.get(f"{partner.url}/portfolio").status_code == 200


def test_the_partners_clock_is_learned_from_its_date(client, partner):
    """A clock that is five minutes behind refuses our token as issued in the future, once."""
    partner.skew(-300)
    partner.store.set(partner.rotate(store=False))
    for _ in range(2):
        assert client.get(f"{partner.url}/portfolio").status_code == 200
    assert [one.status for one in partner.requests[-2:]] == [200, 200]


def test_the_event_carries_the_partners_challenge(connect, partner):
    """What an engineer asks when a refusal goes back."""
    events = []
    client = connect(partner.auth(on_event=events.append))
    partner.challenge('Bearer error="invalid_token", error_description="no such key"')
    partner.reject()
    client.get(f"{partner.url}/portfolio")
    [rejected] = [one for one in events if isinstance(one, RequestRejected)]
    assert "no such key" in rejected.challenge


def test_a_head_request_is_mended(client, partner):
    """Its 401 has no body to read, whatever its headers say."""
    partner.hostile("gzip")
    partner.rotate()
    assert client.request("HEAD", f"{partner.url}/portfolio").status_code == 200


def test_a_streamed_answer_is_mended_and_left_unread(client, partner):
    """The caller reads the last answer piece by piece, undecoded if it likes."""
    partner.rotate()
    with client.stream("GET", f"{partner.url}/portfolio") as answer:
        assert answer.status_code == 200
        assert answer.raw().startswith(b'{"positions"')


def test_a_rotation_over_tls_is_mended(connect, secure):
    """On the same connection."""
    client = connect(secure.auth(), verify=secure.ca)
    client.get(f"{secure.url}/portfolio")
    secure.rotate()
    assert client.get(f"{secure.url}/portfolio").status_code == 200
    assert secure.connections == 1


def test_an_honest_refusal_leaves_the_connection_in_use(client, partner):
    """Its body is read to the end, so that no other connection is opened."""
    partner.rotate()
    client.get(f"{partner.url}/portfolio")
    client.get(f"{partner.url}/portfolio")
    assert len({one.connection for one in partner.requests}) == 1
