"""Redirects: the token stays at its origin, and a 401 on a hop is that hop's own."""

import pytest

from tests.conformance.servers import Server, whole


def paths(server):
    """Return what arrived: method, path, status."""
    return [f"{one.method} {one.path} {one.status}" for one in server.requests]


def test_a_redirect_to_the_same_origin_keeps_the_token(client, partner):
    """The client's own rule."""
    partner.redirect("/old", "/portfolio")
    assert client.get(f"{partner.url}/old").status_code == 200
    assert paths(partner) == ["GET /old 302", "GET /portfolio 200"]


def test_a_hop_that_is_refused_is_sent_again_alone(client, partner):
    """Not the first of the chain."""
    partner.public("/old")
    partner.redirect("/old", "/portfolio")
    partner.rotate()
    assert client.get(f"{partner.url}/old").status_code == 200
    assert paths(partner) == ["GET /old 302", "GET /portfolio 401", "GET /portfolio 200"]


def test_an_order_is_not_posted_twice(client, partner):
    """POST, 303, 401: what is resent is the GET that was refused."""
    partner.public("/orders")
    partner.redirect("/orders", "/portfolio", 303)
    partner.rotate()
    got = client.post(f"{partner.url}/orders", content=b"order")
    assert (got.status_code, str(got.request.url)) == (200, f"{partner.url}/portfolio")
    assert paths(partner) == ["POST /orders 303", "GET /portfolio 401", "GET /portfolio 200"]


def test_an_order_of_one_shot_is_mended_after_the_redirect(client, partner):
    """The refused GET has no body any more, so it can be sent again."""
    partner.public("/orders")
    partner.redirect("/orders", "/portfolio", 303)
    partner.rotate()
    got = client.post(f"{partner.url}/orders", content=client.one_shot())
    assert got.status_code == 200
    assert paths(partner) == ["POST /orders 303", "GET /portfolio 401", "GET /portfolio 200"]


def test_a_hop_that_keeps_the_body_is_sent_again_whole(client, partner):
    """POST, 307, 401."""
    partner.public("/orders")
    partner.redirect("/orders", "/echo", 307)
    partner.rotate()
    assert client.post(f"{partner.url}/orders", content=b"order").status_code == 200
    assert paths(partner) == ["POST /orders 307", "POST /echo 401", "POST /echo 200"]
    assert {one.body for one in partner.requests} == {b"order"}


def test_a_resend_that_is_redirected_goes_on_with_the_new_token(client, partner):
    """401, 302, 200: no further 401 with the old one."""
    partner.redirect("/old", "/portfolio")
    partner.rotate()
    assert client.get(f"{partner.url}/old").status_code == 200
    assert paths(partner) == ["GET /old 401", "GET /old 302", "GET /portfolio 200"]


def test_a_resend_that_is_redirected_takes_its_body_along_once(client, partner):
    """401, 307, 200: the body goes up three times, each time whole, and not four."""
    partner.redirect("/orders", "/echo", 307)
    partner.rotate()
    assert client.post(f"{partner.url}/orders", content=b"order").status_code == 200
    assert paths(partner) == ["POST /orders 401", "POST /orders 307", "POST /echo 200"]
    assert {one.body for one in partner.requests} == {b"order"}


def test_the_hop_after_a_resend_is_mended_too(client, partner):
    """401, 302, and a rotation before the last hop: two resends, no more."""
    partner.redirect("/old", "/portfolio")
    partner.rotate()
    partner.fail(401)
    assert client.get(f"{partner.url}/old").status_code == 200
    assert paths(partner)[-2:] == ["GET /old 302", "GET /portfolio 200"]


@pytest.mark.parametrize("named", [True, False])
def test_a_refused_hop_after_a_resend_is_mended_alone(connect, partner, named):
    """401, 302, 401, 200: the hop carries the new token, and its 401 is ours."""
    refused, done = whole(401, b"refused"), whole(200, b"done")
    answers = [done, refused, whole(302, b"", "Location: /there"), refused, done]
    with Server(lambda request: [answers.pop(0)]) as server:
        client = connect(partner.auth(origins=server.url if named else None))
        client.get(f"{server.url}/here")
        partner.store.set("new" * 20)
        assert client.get(f"{server.url}/here").status_code == 200
    sent = [one.headers["Authorization"] for one in server.requests]
    assert [one.path for one in server.requests] == ["/here", "/here", "/here", "/there", "/there"]
    assert sent[0] == sent[1] != sent[2] == sent[3]


def test_a_redirect_that_is_not_followed_goes_back(connect, partner):
    """The 401 before it is mended all the same."""
    client = connect(partner.auth(), redirects=False)
    partner.redirect("/old", "/portfolio")
    client.get(f"{partner.url}/portfolio")
    partner.clear()
    partner.rotate()
    got = client.get(f"{partner.url}/old")
    assert got.status_code == 302
    assert paths(partner) == ["GET /old 401", "GET /old 302"]
    for refused in got.history:  # requests keeps none where a redirect could be followed
        assert refused.request.headers["Authorization"] == f"Bearer {partner.requests[0].token}"


def test_no_token_arrives_at_a_foreign_origin(client, partner, other):
    """The client strips it, and nothing of ours puts it back."""
    other.public("/portfolio")
    partner.redirect("/away", f"{other.url}/portfolio")
    assert client.get(f"{partner.url}/away").status_code == 200
    assert "Authorization" not in other.requests[0].headers


@pytest.mark.parametrize("named", [True, False])
def test_a_foreign_refusal_goes_back_untouched(connect, partner, other, named):
    """Nothing more is sent to it, nor to the partner; without `origins` too, and no warning."""
    client = connect(partner.auth() if named else partner.auth(origins=None))
    partner.redirect("/away", f"{other.url}/portfolio")
    got = client.get(f"{partner.url}/away")
    assert (got.status_code, got.json()) == (401, {"error": "missing_token"})
    assert (len(partner.requests), len(other.requests)) == (1, 1)
    assert partner.store.reads == 1


def test_a_foreign_refusal_after_a_resend_goes_back_untouched(client, partner, other):
    """Though the partner's own 401 was mended just before."""
    partner.redirect("/away", f"{other.url}/portfolio")
    partner.rotate()
    assert client.get(f"{partner.url}/away").status_code == 401
    assert paths(partner) == ["GET /away 401", "GET /away 302"]
    assert [one.token for one in other.requests] == [None]


def test_a_redirect_is_an_accepted_answer(connect, partner, other):
    """It ends a rejection, whatever the place that it leads to says."""
    auth = partner.auth()
    client = connect(auth)
    partner.public("/away")
    partner.redirect("/away", f"{other.url}/portfolio")
    partner.reject()
    client.get(f"{partner.url}/portfolio")
    assert auth.status().state == "rejected"
    client.get(f"{partner.url}/away")
    assert auth.status().state == "fresh"


def test_another_named_origin_is_signed_once_it_asks(connect, partner, other):
    """The hop arrives unsigned, as the client sends it; its 401 is signed and sent once more."""
    client = connect(partner.auth(origins=[partner.url, other.url]))
    other.accept(partner.secret)
    partner.redirect("/moved", f"{other.url}/portfolio")
    assert client.get(f"{partner.url}/moved").status_code == 200
    assert paths(other) == ["GET /portfolio 401", "GET /portfolio 200"]
    assert other.requests[0].token is None
    assert partner.store.reads == 1  # it said nothing of our credential


def test_another_named_origin_that_refuses_gets_no_endless_resends(connect, partner, other):
    """Four sends at most, the unsigned one included."""
    client = connect(partner.auth(origins=[partner.url, other.url]))
    partner.redirect("/moved", f"{other.url}/portfolio")
    assert client.get(f"{partner.url}/moved").status_code == 401
    assert len(other.requests) <= 4


def test_another_named_origin_gets_the_body_again(connect, partner, other):
    """POST, 307: to the first origin, unsigned to the other, and signed to the other."""
    client = connect(partner.auth(origins=[partner.url, other.url]))
    other.accept(partner.secret)
    partner.redirect("/moved", f"{other.url}/echo", 307)
    assert client.post(f"{partner.url}/moved", content=b"order").status_code == 200
    assert [one.body for one in [*partner.requests, *other.requests]] == [b"order"] * 3


def test_no_token_goes_from_https_to_http(connect, secure, other):
    """Even where http on loopback would be signed; its 401 goes back."""
    client = connect(secure.auth(), verify=secure.ca)
    secure.redirect("/away", f"{other.url}/portfolio")
    assert client.get(f"{secure.url}/away").status_code == 401
    assert [one.token for one in other.requests] == [None]


def test_no_token_goes_from_https_to_http_without_origins(connect, secure, other):
    """Nor there."""
    client = connect(secure.auth(origins=None), verify=secure.ca)
    secure.redirect("/away", f"{other.url}/portfolio")
    assert client.get(f"{secure.url}/away").status_code == 401
    assert [one.token for one in other.requests] == [None]


def test_a_loop_of_redirects_ends_with_the_clients_own_error(connect, partner):
    """Each hop with a token."""
    client = connect(partner.auth(), max_redirects=3)
    partner.redirect("/loop", "/loop")
    with pytest.raises(client.library.TooManyRedirects):
        client.get(f"{partner.url}/loop")
    assert {one.accepted_by for one in partner.requests} == {"current"}
