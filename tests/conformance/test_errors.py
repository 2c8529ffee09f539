"""What the library raises inside a client is that client's own error too."""

import pickle
import traceback

import pytest

from partner_auth import (
    ConfigurationError,
    CredentialInvalid,
    PartnerAuthError,
    SourceRejected,
    SourceUnavailable,
)

TRANSIENT = SourceUnavailable("the store is down", reason="throttled")
FINAL = [
    SourceRejected("the secret is gone", reason="deleted"),
    CredentialInvalid("no JSON object in there"),
]


def refused(connect, partner, error):
    """Return what a client raises when the store raises `error` at the first request."""
    partner.store.fail(error)
    client = connect(partner.auth())
    with pytest.raises(type(error)) as caught:
        client.get(f"{partner.url}/portfolio")
    assert partner.requests == []
    return client, caught.value


def test_an_outage_of_the_store_is_the_clients_connection_error(connect, partner):
    """SDKs retry that, and rightly so."""
    client, error = refused(connect, partner, TRANSIENT)
    assert isinstance(error, client.connection_error)
    assert (str(error), error.reason) == ("the store is down", "throttled")


@pytest.mark.parametrize("cause", FINAL, ids=lambda error: type(error).__name__)
def test_other_failures_are_the_clients_base_error(connect, partner, cause):
    """And no connection error, which an SDK would retry and whose text it would hide."""
    client, error = refused(connect, partner, cause)
    assert isinstance(error, client.base_error)
    assert not isinstance(error, getattr(client.library, "RequestError", client.connection_error))
    assert str(error) == str(cause)


@pytest.mark.parametrize("cause", [TRANSIENT, *FINAL], ids=lambda error: type(error).__name__)
def test_an_error_names_its_request(connect, partner, cause):
    """As the client's own errors do."""
    _, error = refused(connect, partner, cause)
    assert str(error.request.url) == f"{partner.url}/portfolio"
    assert getattr(error, "response", None) is None


def test_a_configuration_error_stays_plain(connect, partner):
    """No retry and no `except` of the client's should swallow it."""

    def claims(_credential):
        raise LookupError

    client = connect(partner.auth(claims=claims))
    with pytest.raises(ConfigurationError) as caught:
        client.get(f"{partner.url}/portfolio")
    assert type(caught.value) is ConfigurationError
    assert not isinstance(caught.value, client.base_error)


def test_each_caller_has_an_error_of_its_own(connect, partner):
    """One object raised twice would mix the tracebacks."""
    client, first = refused(connect, partner, TRANSIENT)
    with pytest.raises(SourceUnavailable) as caught:
        client.get(f"{partner.url}/portfolio")
    assert caught.value is not first


@pytest.mark.parametrize("cause", [TRANSIENT, *FINAL], ids=lambda error: type(error).__name__)
def test_an_error_pickles_without_its_request(connect, partner, cause):
    """Kind, text and reason come along, and both of its classes."""
    client, error = refused(connect, partner, cause)
    data = pickle.dumps(error)
    loaded = pickle.loads(data)
    assert type(loaded) is type(error)
    assert isinstance(loaded, client.base_error)
    assert (str(loaded), getattr(loaded, "reason", None)) == (
        str(error),
        getattr(error, "reason", None),
    )
    assert b"portfolio" not in data


def test_an_error_shows_no_other_error_and_no_secret(connect, partner):
    """Neither behind it nor in the locals of our frames, where crash reporters look."""
    _, error = refused(connect, partner, TRANSIENT)
    assert (error.__context__, error.__cause__) == (None, None)
    report = traceback.TracebackException.from_exception(error, capture_locals=True)
    shown = "".join(report.format())
    assert partner.secret not in shown
    assert "Bearer" not in shown


def test_a_store_that_is_down_at_a_401_gives_the_401(client, partner):
    """Never our error in its place; what is held is tried."""
    partner.rotate(store=False)
    partner.store.fail(TRANSIENT)
    assert client.get(f"{partner.url}/portfolio").status_code == 401
    assert [one.status for one in partner.requests] == [401, 401]


def test_a_store_that_says_no_at_a_401_gives_the_401_and_then_its_error(client, partner):
    """A revocation: what was held is not tried, and the next request says why."""
    partner.rotate(store=False)
    partner.store.fail(FINAL[0])
    assert client.get(f"{partner.url}/portfolio").status_code == 401
    with pytest.raises(SourceRejected, match="the secret is gone"):
        client.get(f"{partner.url}/portfolio")
    assert len(partner.requests) == 1


def test_what_the_library_raises_is_caught_by_its_own_name(connect, partner):
    """`except PartnerAuthError` works in every client."""
    _, error = refused(connect, partner, TRANSIENT)
    assert isinstance(error, PartnerAuthError)
    assert type(error).__module__ == "partner_auth.exceptions"
