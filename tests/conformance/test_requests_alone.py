"""What only requests has: hooks by hand, adapters of the user's own, netrc, unprepared URLs."""

import io
import pickle

import pytest
import requests
import responses
from requests.adapters import BaseAdapter, HTTPAdapter
from urllib3 import HTTPConnectionPool

from partner_auth import ConfigurationError
from partner_auth._requests_family import Hook
from tests.conformance.servers import Server, whole


@pytest.fixture
def session(partner):
    """A session that signs for the partner, and has done so once."""
    with requests.Session() as session:
        session.auth = partner.auth()
        session.get(f"{partner.url}/portfolio")
        partner.clear()
        yield session


def prepared(session, url):
    """Return a request that the session's auth has signed."""
    return session.prepare_request(requests.Request("GET", url))


def hook_of(request):
    """Return the hook that signing put first."""
    return request.hooks["response"][0]


# -- applied by hand


def test_applied_again_it_adds_nothing(session, partner):
    """One header, one hook, one resend."""
    request = prepared(session, f"{partner.url}/portfolio")
    partner.rotate()
    for _ in range(3):
        assert session.auth(request) is request
    assert len(request.hooks["response"]) == 1
    assert session.send(request).status_code == 200
    assert [one.status for one in partner.requests] == [401, 200]


def test_another_object_takes_the_place_of_the_first(session, partner, other):
    """It signs and mends, and the first has no more to do with it."""
    request = prepared(session, f"{partner.url}/portfolio")
    second = partner.auth()
    second(request)
    reads = partner.store.reads
    partner.rotate()
    assert session.send(request).status_code == 200
    assert len(request.hooks["response"]) == 1
    assert partner.store.reads == reads + 1


def test_applied_by_hand_it_comes_before_the_users_hooks(partner):
    """They were there first, and see the last answer alone."""
    seen = []
    request = requests.Request(
        "GET", f"{partner.url}/portfolio", hooks={"response": lambda got, **_: seen.append(got)}
    ).prepare()
    partner.auth()(request)
    partner.rotate()
    with requests.Session() as session:
        session.send(request)
    assert [one.status_code for one in seen] == [200]


def test_a_single_hook_that_is_no_list_stays(partner):
    """As requests takes such a one, too."""
    seen = []
    request = requests.Request("GET", f"{partner.url}/portfolio").prepare()
    request.hooks = {"response": lambda got, **_: seen.append(got.status_code)}
    partner.auth()(request)
    with requests.Session() as session:
        session.send(request)
    assert seen == [200]


def test_a_request_without_hooks_gets_one(partner):
    """As one that was put together by hand."""
    request = requests.Request("GET", f"{partner.url}/portfolio").prepare()
    request.hooks = {}
    partner.auth()(request)
    partner.rotate()
    with requests.Session() as session:
        assert session.send(request).status_code == 200


def test_a_url_without_a_path_is_no_other_origins_beginning(partner):
    """`http://host:1` begins what `http://host:12` is; each is judged by itself."""
    auth = partner.auth()
    longer = requests.Request("GET", f"{partner.url}/").prepare()
    signed = []
    for url in (partner.url, f"{partner.url}0", "https://stranger.example", partner.url):
        longer.url = url
        longer.headers.pop("Authorization", None)
        signed.append("Authorization" in auth(longer).headers)
    assert signed == [True, False, False, True]


# -- the hook


def test_a_hook_that_is_called_by_hand_mends(session, partner):
    """Without the arguments that a session passes."""
    request = prepared(session, f"{partner.url}/portfolio")
    hook, request.hooks = hook_of(request), requests.hooks.default_hooks()
    partner.rotate()
    refused = session.send(request)
    assert refused.status_code == 401
    assert hook(refused).status_code == 200


def test_a_hook_returns_the_very_answer_that_it_leaves_alone(session, partner):
    """No wrapper, no copy."""
    request = prepared(session, f"{partner.url}/portfolio")
    got = session.send(request)
    assert hook_of(request)(got) is got


def test_a_hook_shows_no_token(session, partner):
    """It stands in every request's repr of hooks."""
    hook = hook_of(prepared(session, f"{partner.url}/portfolio"))
    assert isinstance(hook, Hook)
    assert repr(hook) == "<partner_auth response hook>"


def test_an_unpickled_refusal_is_looked_at_and_goes_back(session, partner):
    """It has no connection to resend through; the store is read, so the next request is right."""
    request = prepared(session, f"{partner.url}/portfolio")
    hook, request.hooks = hook_of(request), requests.hooks.default_hooks()
    partner.rotate()
    loaded = pickle.loads(pickle.dumps(session.send(request)))
    assert hook(loaded) is loaded
    partner.clear()
    assert session.get(f"{partner.url}/portfolio").status_code == 200
    assert [one.status for one in partner.requests] == [200]


class Stub(BaseAdapter):
    """An adapter of the user's own, which answers from memory, as those of WSGI or files do."""

    def __init__(self, *, with_request):
        super().__init__()
        self.with_request, self.status = with_request, 401
        self.tokens = []

    def send(self, request, **_):
        self.tokens.append(request.headers.get("Authorization"))
        response = requests.Response()
        response.status_code = self.status
        response.url = request.url
        response.raw = io.BytesIO(b"refused")
        if self.with_request:
            response.request = request
        return response

    def close(self):
        pass


@pytest.mark.parametrize("with_request", [True, False])
def test_a_refusal_of_an_adapter_without_connection_goes_back(session, partner, with_request):
    """The store is read, nothing is sent again, and the answer is as the adapter made it."""
    stub = Stub(with_request=with_request)
    session.mount("http://", stub)
    got = session.get(f"{partner.url}/portfolio")
    assert (got.status_code, got.content, len(stub.tokens)) == (401, b"refused", 1)
    assert partner.store.reads == 2


def test_an_answer_of_an_adapter_without_connection_ends_a_rejection(session, partner):
    """Though it names no request: it was one of ours."""
    stub = Stub(with_request=False)
    session.mount("http://", stub)
    session.get(f"{partner.url}/portfolio")
    assert session.auth.status().state == "rejected"
    stub.status = 200
    got = session.get(f"{partner.url}/portfolio")
    assert (got.status_code, session.auth.status().state) == (200, "fresh")
    assert partner.store.reads == 2


@pytest.mark.parametrize("body", [None, b"bytes", "text"])
def test_a_recorder_is_resent_through(partner, body):
    """`responses` brings a connection and a raw of its own."""
    auth = partner.auth(origins="https://api.partner.example")
    url = "https://api.partner.example/orders"
    with responses.RequestsMock() as recorder, requests.Session() as session:
        recorder.post(url, status=401, body="refused")
        recorder.post(url, status=200, body="done")
        session.auth = auth
        got = session.post(url, data=body)
        assert (got.status_code, got.text) == (200, "done")
        assert got.history[0].text == "refused"
        assert [call.request.body for call in recorder.calls] == [body, body]


def test_a_request_for_an_asynchronous_session_is_refused(session, partner):
    """A niquests `AsyncSession` hands its hooks what must be awaited."""

    class Awaitable:
        status_code = 401

        def __await__(self):
            raise AssertionError

    hook = hook_of(prepared(session, f"{partner.url}/portfolio"))
    with pytest.raises(ConfigurationError, match="AsyncPartnerAuth"):
        hook(Awaitable())


# -- connections


class Watched(HTTPAdapter):
    """An adapter that notes each connection's time limit as it comes back to its pool."""

    def __init__(self):
        super().__init__()
        limits = self.limits = []

        class Pool(HTTPConnectionPool):
            def _put_conn(self, conn):
                limits.append(conn.sock and conn.sock.gettimeout())
                super()._put_conn(conn)

        self.poolmanager.pool_classes_by_scheme = {"http": Pool}


@pytest.mark.parametrize("limit", [7, None])
def test_a_connection_comes_back_with_its_own_time_limit(session, partner, limit):
    """The one for reading a refused answer is gone before another thread can get it."""
    watched = Watched()
    session.mount("http://", watched)
    partner.rotate()
    assert session.get(f"{partner.url}/portfolio", timeout=limit).status_code == 200
    assert watched.limits == [limit, limit]


# -- histories


def test_each_refusal_has_a_history_of_its_own(session, partner):
    """An empty one; the last answer has them all."""
    partner.store.pending = partner.rotate(store=False)
    got = session.get(f"{partner.url}/portfolio")
    assert [one.status_code for one in got.history] == [401, 401]
    assert [one.history for one in got.history] == [[], []]


def test_the_adapters_own_history_comes_first(session, partner):
    """What an adapter of the user's put there stays."""
    marked = requests.Response()

    class Marking(HTTPAdapter):
        def send(self, *args, **kwargs):
            response = super().send(*args, **kwargs)
            response.history = [marked]
            return response

    session.mount("http://", Marking())
    partner.rotate()
    got = session.get(f"{partner.url}/portfolio", allow_redirects=False)
    assert (got.history[0], len(got.history)) == (marked, 2)


# -- netrc


@pytest.fixture
def netrc(tmp_path, monkeypatch):
    """A file with credentials for every server of this machine."""
    file = tmp_path / "netrc"
    file.write_text("machine 127.0.0.1 login me password mine\n")
    monkeypatch.setenv("NETRC", str(file))


def test_netrc_does_not_replace_the_token(session, partner, netrc):
    """`auth=` wins on the first request."""
    assert session.get(f"{partner.url}/portfolio").status_code == 200
    assert partner.requests[0].token


def test_netrc_on_a_redirect_is_mended(session, partner, netrc):
    """Basic comes in place of our token on the hop; that 401 is signed and sent again."""
    partner.redirect("/old", "/portfolio")
    assert session.get(f"{partner.url}/old").status_code == 200
    assert [one.status for one in partner.requests] == [302, 401, 200]
    assert partner.requests[1].headers["Authorization"].startswith("Basic ")


def test_netrc_of_a_foreign_host_is_left_alone(session, partner, other, netrc):
    """Its 401 goes back; no token follows."""
    partner.redirect("/away", f"{other.url}/portfolio")
    assert session.get(f"{partner.url}/away").status_code == 401
    [landed] = other.requests
    assert landed.headers["Authorization"].startswith("Basic ")


# -- cookies


def test_a_cookie_of_the_caller_wins_over_the_refusals(session, partner):
    """Where requests tells them apart: a header that was written by hand stays as it is."""
    partner.cookies("session", "theirs")
    partner.reject()
    session.get(f"{partner.url}/portfolio", headers={"Cookie": "session=mine"})
    assert [one.headers["Cookie"] for one in partner.requests] == ["session=mine"] * 2


def test_a_request_without_a_jar_takes_the_refusals_cookie(session, partner):
    """One that was put together by hand has none."""
    request = prepared(session, f"{partner.url}/portfolio")
    request._cookies = None
    partner.cookies("session", "1")
    hook, request.hooks = hook_of(request), requests.hooks.default_hooks()
    refused = session.get_adapter(partner.url).send(request)
    assert hook(refused).status_code == 200


def test_a_cookie_that_the_refusal_takes_back_is_not_sent_again(partner):
    """The jar knows what has expired."""
    given, taken_back = (f"Set-Cookie: session=1; Path=/; Max-Age={age}" for age in (60, 0))
    answers = [[whole(200, b"", given)], [whole(401, b"", taken_back)], [whole(200, b"")]]
    with Server(lambda request: answers.pop(0)) as server, requests.Session() as session:
        session.auth = partner.auth(origins=server.url)
        for _ in range(2):
            assert session.get(server.url).status_code == 200
        assert [one.headers["Cookie"] for one in server.requests] == [None, "session=1", None]
