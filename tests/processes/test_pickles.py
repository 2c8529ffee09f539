"""Pickles carry the recipe, never what is held; copies are the object itself."""

import base64
import copy
import multiprocessing
import operator
import pickle

import httpx
import pytest
import requests

from partner_auth import (
    Credential,
    EnvSource,
    FileSource,
    PartnerAuth,
    RefreshPolicy,
    StaticSource,
)
from partner_auth.testing import Clock, MemoryStore
from tests.concurrency.kit import OLD, exact, signer_of


def fetch():
    """A source at the top level of a module."""
    return Credential("acme", OLD)


def further(credential):
    """Further claims, likewise."""
    return {"scope": "read"}


def over_there(thing):
    """Return what the other end gets."""
    return pickle.loads(pickle.dumps(thing))


@pytest.fixture
def variables(monkeypatch):
    """A credential in the environment, which a child process inherits."""
    monkeypatch.setenv("PARTNER_CLIENT_ID", "acme")
    monkeypatch.setenv("PARTNER_SECRET_KEY", OLD)


@pytest.fixture
def path(tmp_path):
    """A file with the key alone."""
    (tmp_path / "key").write_text(OLD, encoding="utf-8")
    return tmp_path / "key"


def traces(secret):
    """Return what of a secret could be found in bytes: itself, and as base64 has it."""
    raw = secret.encode()
    return [raw, *(base64.b64encode(raw[at:])[:24] for at in range(3))]


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("source", ["env", "file", "url", "function"])
@pytest.mark.usefixtures("variables")
def test_a_pickle_carries_neither_secret_nor_token(path, source, protocol):
    """What is held stays where it is; the other end reads for itself."""
    made = {
        "env": EnvSource(),
        "file": FileSource(path, client_id="acme"),
        "url": f"file://{path}?client_id=acme",
        "function": fetch,
    }[source]
    auth = PartnerAuth(made, origins="https://api.partner.example", claims=further)
    token = auth.token()
    pickled = pickle.dumps(auth, protocol)
    assert not [trace for secret in (OLD, token) for trace in traces(secret) if trace in pickled]
    again = over_there(auth)
    assert again.status().state == "empty"
    assert signer_of(again.token()) == OLD


@pytest.mark.usefixtures("variables")
def test_a_pickle_carries_the_options():
    """The other end signs as this one does."""
    clock = Clock()
    auth = PartnerAuth(
        origins=["https://api.partner.example", "https://b.partner.example"],
        lifetime=60,
        algorithm="HS512",
        claims={"scope": "read"},
        key_id="k1",
        rejects=[401, 403],
        refresh=RefreshPolicy(jitter=0, fresh_for=60),
        clock=clock,
    )
    again = over_there(auth)
    assert repr(again) == repr(auth)
    assert again.token() == auth.token()
    assert again.status() == auth.status()


@pytest.mark.usefixtures("variables")
def test_a_pickle_keeps_the_client_s_own_class():
    """What was made for one client is that client's again."""
    import partner_auth.requests

    again = over_there(partner_auth.requests.PartnerAuth())
    assert type(again) is partner_auth.requests.PartnerAuth


@pytest.mark.usefixtures("variables")
def test_a_session_with_it_pickles_and_copies():
    """People copy sessions, and send them to workers."""
    session = requests.Session()
    session.auth = PartnerAuth()
    token = session.auth.token()
    assert signer_of(over_there(session).auth.token()) == OLD
    assert copy.deepcopy(session).auth.token() == token


def test_a_copy_is_the_object_itself():
    """A copy shares what is held, also while the store is read."""
    store = MemoryStore("acme", OLD)
    auth = exact(store)
    store.delay(float("inf"))
    auth.refresh(wait=False)
    store.wait_for_reads(1)
    assert copy.copy(auth) is auth
    assert copy.deepcopy({"auth": [auth]})["auth"][0] is auth
    assert httpx.Client(auth=copy.deepcopy(auth)).auth is auth
    store.release()


@pytest.mark.parametrize(
    ("what", "named"),
    [
        (Credential("acme", OLD), "Secret"),
        (Credential("acme", OLD).secret_key, "Secret"),
        (StaticSource(Credential("acme", OLD)), "StaticSource"),
        (PartnerAuth(Credential("acme", OLD)), "StaticSource"),
        (PartnerAuth(lambda: Credential("acme", OLD)), "top level"),
        (PartnerAuth("env://", claims=lambda _credential: {}), "claims"),
        (PartnerAuth("env://", on_event=lambda _event: None), "on_event"),
    ],
    ids=["credential", "secret", "static", "held", "lambda", "claims", "on_event"],
)
def test_what_can_not_be_pickled_says_so(what, named):
    """A secret is refused, and so is a function that the other end could not find."""
    with pytest.raises(TypeError, match=named) as caught:
        pickle.dumps(what)
    assert OLD not in str(caught.value)


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
@pytest.mark.usefixtures("variables")
def test_a_worker_process_reads_for_itself(method):
    """An object that is sent to a worker signs there with what the worker read."""
    auth = PartnerAuth()
    auth.token()
    with multiprocessing.get_context(method).Pool(1) as pool:
        token = pool.apply(operator.methodcaller("token"), (auth,))
        status = pool.apply(operator.methodcaller("status"), (auth,))
    assert (signer_of(token), status.state) == (OLD, "empty")
