"""What a request carries, and where: the token, one header, and nothing at other origins."""

import time

import pytest

from partner_auth import InsecureTransport


def test_every_request_carries_a_fresh_token(client, partner):
    """The claims are the client id and 15 minutes from now."""
    assert client.get(f"{partner.url}/portfolio").status_code == 200
    claims = partner.requests[0].claims
    assert claims["clientId"] == "acme"
    assert claims["exp"] - claims["iat"] == 900
    assert abs(claims["iat"] - time.time()) < 60


def test_the_caller_chooses_lifetime_and_further_claims(connect, partner):
    """What `PartnerAuth` was given is what arrives."""
    client = connect(partner.auth(lifetime=60, claims={"scope": "read"}))
    client.get(f"{partner.url}/portfolio")
    claims = partner.requests[0].claims
    assert (claims["exp"] - claims["iat"], claims["scope"]) == (60, "read")


def test_a_token_is_used_for_many_requests(client, partner):
    """Neither the store is read nor a token signed for each."""
    for _ in range(3):
        client.get(f"{partner.url}/portfolio")
    assert len({one.token for one in partner.requests}) == 1
    assert partner.store.reads == 1


def test_an_authorization_of_the_client_is_replaced(connect, partner):
    """As the clients' own auth does; the header arrives once."""
    client = connect(partner.auth(), headers={"Authorization": "Basic bWU6bWU="})
    assert client.get(f"{partner.url}/portfolio").status_code == 200
    assert len(partner.requests[0].headers.get_all("Authorization")) == 1


def test_an_authorization_of_the_request_is_replaced(client, partner):
    """However it is spelt."""
    got = client.get(f"{partner.url}/portfolio", headers={"authorization": "Basic bWU6bWU="})
    assert got.status_code == 200
    assert len(partner.requests[0].headers.get_all("Authorization")) == 1


def test_a_request_that_is_sent_again_is_signed_once(client, partner):
    """The same request object, sent twice: the second is mended as the first would be."""
    prepared = client.prepare("GET", f"{partner.url}/portfolio")
    assert client.send(prepared).status_code == 200
    partner.rotate()
    assert client.send(prepared).status_code == 200
    assert [one.status for one in partner.requests] == [200, 401, 200]
    assert all(len(one.headers.get_all("Authorization")) == 1 for one in partner.requests)


def test_another_origin_gets_what_the_caller_wrote(client, other):
    """No token, and the caller's own header as it was."""
    client.get(f"{other.url}/portfolio", headers={"Authorization": "Basic bWU6bWU="})
    assert other.requests[0].headers["Authorization"] == "Basic bWU6bWU="


def test_a_refusal_of_another_origin_goes_back_as_it_is(client, partner, other):
    """Nothing more is sent to it, and no store is asked."""
    got = client.get(f"{other.url}/portfolio")
    assert (got.status_code, got.json()) == (401, {"error": "missing_token"})
    assert len(other.requests) == 1
    assert partner.store.reads == 1


def test_plain_http_is_refused_before_anything_is_sent(connect, partner):
    """Without named origins, to a host that is not loopback."""
    client = connect(partner.auth(origins=None))
    with pytest.raises(InsecureTransport, match=r"http://api\.partner\.example") as caught:
        client.get("http://api.partner.example/portfolio")
    assert isinstance(caught.value, client.base_error)
    assert not isinstance(caught.value, client.connection_error)
    assert str(caught.value.request.url) == "http://api.partner.example/portfolio"


def test_plain_http_is_refused_each_time(connect, partner):
    """Not only the first one, each time with an error of its own."""
    client = connect(partner.auth(origins=None))
    errors = []
    for _ in range(2):
        with pytest.raises(InsecureTransport) as caught:
            client.get("http://api.partner.example/")
        errors.append(caught.value)
    assert errors[0] is not errors[1]


def test_plain_http_to_the_host_of_a_named_https_origin_is_refused(connect, partner):
    """On any port, loopback too: nothing arrives."""
    client = connect(partner.auth(origins="https://127.0.0.1:8443"))
    with pytest.raises(InsecureTransport):
        client.get(f"{partner.url}/portfolio")
    assert partner.requests == []


def test_without_origins_the_loopback_is_signed(connect, partner):
    """As every https origin is."""
    client = connect(partner.auth(origins=None))
    assert client.get(f"{partner.url}/portfolio").status_code == 200


def test_https_is_signed(connect, secure):
    """And verified as the client was told to."""
    client = connect(secure.auth(), verify=secure.ca)
    assert client.get(f"{secure.url}/portfolio").status_code == 200


def test_a_host_is_compared_whole(connect, partner):
    """A name is another origin than its address, though both lead to one server."""
    client = connect(partner.auth())
    got = client.get(partner.url.replace("127.0.0.1", "localhost") + "/portfolio")
    assert (got.status_code, partner.requests[0].token) == (401, None)
