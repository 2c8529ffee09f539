"""Responses, requests and sessions of signed requests pickle and copy, with nothing of ours."""

import copy
import pickle

import pytest
import requests

from partner_auth import EnvSource, PartnerAuth


def loaded(thing):
    """Return what comes out of a pickle, and the pickle."""
    data = pickle.dumps(thing)
    return pickle.loads(data), data


def test_a_response_pickles(client, partner):
    """With its content and request, and without the auth object, a lock or the secret."""
    got, data = loaded(client.get(f"{partner.url}/portfolio"))
    assert got.json()["positions"]
    assert str(got.request.url) == f"{partner.url}/portfolio"
    assert b"PartnerAuth" not in data
    assert partner.secret.encode() not in data


def test_a_mended_response_pickles(client, partner):
    """With its history."""
    partner.rotate()
    got, data = loaded(client.get(f"{partner.url}/portfolio"))
    assert got.status_code == 200
    if "history" in vars(got):  # httpx leaves it out
        assert [one.json() for one in got.history] == [{"error": "unknown_secret"}]
    assert b"PartnerAuth" not in data


def test_a_refusal_that_went_back_pickles(client, partner):
    """Its body was withheld, and given back."""
    partner.reject()
    got, _ = loaded(client.post(f"{partner.url}/echo", content=client.one_shot()))
    assert (got.status_code, got.json()) == (401, {"error": "rejecting"})


def test_a_response_copies(client, partner):
    """Shallow and deep."""
    got = client.get(f"{partner.url}/portfolio")
    for copied in copy.copy(got), copy.deepcopy(got):
        assert copied.json() == got.json()


def test_a_request_pickles_and_can_be_sent(client, partner):
    """It carries the token that it was signed with."""
    sent = client.get(f"{partner.url}/portfolio").request
    again, data = loaded(sent)
    assert b"PartnerAuth" not in data
    assert again.headers["Authorization"] == sent.headers["Authorization"]


@pytest.fixture
def environment(monkeypatch, partner):
    """The partner's secret, where any process of this machine finds it."""
    monkeypatch.setenv("PARTNER_CLIENT_ID", partner.client_id)
    monkeypatch.setenv("PARTNER_SECRET_KEY", partner.secret)
    return PartnerAuth(EnvSource(), origins=partner.url)


@pytest.mark.parametrize("copied", [lambda it: loaded(it)[0], copy.copy, copy.deepcopy])
def test_the_object_pickles_and_copies(environment, connect, partner, copied):
    """What comes out signs: for workers of a pool, and for SDKs that copy their settings."""
    connect(environment).get(f"{partner.url}/portfolio")
    client = connect(copied(environment))
    assert client.get(f"{partner.url}/portfolio").status_code == 200


def test_the_object_pickles_without_token_or_secret(environment, connect, partner):
    """Source and options alone."""
    connect(environment).get(f"{partner.url}/portfolio")
    _, data = loaded(environment)
    assert partner.secret.encode() not in data
    assert partner.requests[0].token.encode() not in data


@pytest.mark.parametrize("copied", [lambda it: loaded(it)[0], copy.deepcopy])
def test_a_session_of_requests_pickles_and_copies(environment, partner, copied):
    """Its auth comes along, and signs."""
    with requests.Session() as session:
        session.auth = environment
        session.get(f"{partner.url}/portfolio")
        with copied(session) as again:
            assert again.get(f"{partner.url}/portfolio").status_code == 200


@pytest.mark.parametrize(
    "copied",
    [lambda it: loaded(it)[0], copy.deepcopy, lambda it: it.copy()],
    ids=["pickled", "deep", "its own"],
)
def test_a_prepared_request_of_requests_pickles_and_copies(environment, partner, copied):
    """A copy is mended; what was pickled is sent as it is."""
    with requests.Session() as session:
        session.auth = environment
        prepared = session.prepare_request(requests.Request("GET", f"{partner.url}/portfolio"))
        assert session.send(copied(prepared)).status_code == 200


@pytest.mark.parametrize("client_name", ["requests"])
def test_a_copied_request_of_requests_is_mended(connect, partner, client_name):
    """Its hook comes along with a copy."""
    client = connect(partner.auth())
    prepared = copy.deepcopy(client.prepare("GET", f"{partner.url}/portfolio"))
    partner.rotate()
    assert client.send(prepared).status_code == 200
