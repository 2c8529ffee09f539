"""What the caller told its client holds for the resend; hooks see what the client shows them."""

import time

import pytest

from partner_auth.events import RequestResent
from tests.conformance.clients import OF_HTTPX, SYNC
from tests.conformance.servers import Server, whole


@pytest.mark.parametrize("client_name", ["requests"])
def test_the_adapter_is_given_the_same_again(connect, partner, certificate, client_name):
    """Time limits, verify, cert, proxies and stream: all that an adapter's `send` takes."""
    client = connect(partner.auth(), spy=True)
    partner.reject()
    given = {
        "timeout": (3, 7),
        "verify": "/etc/partner.pem",
        "cert": str(certificate),
        "proxies": {"https": "http://proxy.example"},
        "stream": True,
    }
    with client.get(f"{partner.url}/portfolio", **given) as got:
        assert got.status_code == 401
    assert client.spy.given == [given, given]


@pytest.mark.parametrize("client_name", OF_HTTPX)
def test_the_transport_is_given_the_same_again(connect, partner, client_name):
    """The extensions, where httpx keeps the time limits; reading the 401 leaves no trace there."""
    client = connect(partner.auth(), spy=True)
    partner.reject()
    timeout = client.library.Timeout(3, read=7)
    given = {"timeout": timeout, "extensions": {"sni_hostname": "partner"}}
    assert client.get(f"{partner.url}/portfolio", **given).status_code == 401
    assert client.spy.given == [{"sni_hostname": "partner", "timeout": timeout.as_dict()}] * 2


@pytest.mark.parametrize("client_name", OF_HTTPX)
def test_a_resend_without_a_time_limit_has_none(connect, partner, client_name):
    """As the refused request had none."""
    client = connect(partner.auth(), spy=True)
    partner.reject()
    client.get(f"{partner.url}/portfolio", timeout=None)
    first, again = (given["timeout"] for given in client.spy.given)
    assert first == again == dict.fromkeys(("connect", "read", "write", "pool"))


def test_a_resend_that_is_not_answered_in_time_is_the_clients_own_error(connect, partner):
    """The time limit counts for each send, as in the client itself."""

    def answer(request):
        if len(server.requests) > 1:
            yield 5.0
        yield whole(401, b"refused")

    with Server(answer) as server:
        client = connect(partner.auth(origins=server.url))
        began = time.monotonic()
        with pytest.raises(client.base_error):
            client.get(server.url, timeout=0.3)
        assert time.monotonic() - began < 4
        assert len(server.requests) == 2


def test_a_connection_that_breaks_at_the_resend_is_the_clients_own_error(client, partner):
    """And decides nothing: the next request is mended."""
    partner.rotate()
    partner.fail(401)
    partner.drop()
    with pytest.raises(client.base_error):
        client.get(f"{partner.url}/portfolio")
    assert client.get(f"{partner.url}/portfolio").status_code == 200


@pytest.mark.parametrize("client_name", ["requests"])
def test_a_response_hook_of_requests_sees_the_last_answer_once(connect, partner, client_name):
    """Ours is the first; a request's own hook takes the session's place, as it does in requests."""
    seen = []
    client = connect(partner.auth(), on_answer=lambda answer: seen.append(answer.status_code))
    partner.reject()
    client.get(f"{partner.url}/portfolio")
    partner.restore()
    partner.rotate()
    client.get(f"{partner.url}/portfolio")
    hook = {"response": lambda answer, **_: seen.append(("own", answer.status_code))}
    partner.rotate()
    client.get(f"{partner.url}/portfolio", hooks=hook)
    assert seen == [401, 200, ("own", 200)]


@pytest.mark.parametrize("client_name", ["requests"])
def test_a_raising_hook_of_requests_does_not_keep_a_rotation_from_being_mended(
    connect, partner, client_name
):
    """`raise_for_status` as a hook: it sees the mended answer."""
    client = connect(partner.auth(), on_answer=lambda answer: answer.raise_for_status())
    client.get(f"{partner.url}/portfolio")
    partner.rotate()
    assert client.get(f"{partner.url}/portfolio").status_code == 200
    partner.reject()
    with pytest.raises(client.library.HTTPError):
        client.get(f"{partner.url}/portfolio")


@pytest.mark.parametrize("client_name", OF_HTTPX)
def test_a_response_hook_of_httpx_sees_each_answer(connect, partner, client_name):
    """The client calls it below the auth: for the 401 and for the last one."""
    seen = []
    client = connect(partner.auth(), on_answer=lambda answer: seen.append(answer.status_code))
    client.get(f"{partner.url}/portfolio")
    partner.rotate()
    client.get(f"{partner.url}/portfolio")
    assert seen == [200, 401, 200]


@pytest.mark.parametrize("client_name", OF_HTTPX)
def test_a_raising_hook_of_httpx_comes_before_the_auth(connect, partner, client_name):
    """Only what sits below the hooks escapes it: the signing transports."""
    client = connect(partner.auth(), on_answer=lambda answer: answer.raise_for_status())
    client.get(f"{partner.url}/portfolio")
    partner.rotate()
    with pytest.raises(client.library.HTTPStatusError):
        client.get(f"{partner.url}/portfolio")
    assert [one.status for one in partner.requests] == [200, 401]


@pytest.mark.parametrize("client_name", OF_HTTPX)
@pytest.mark.parametrize("allowed", [0, 1])
def test_httpx_counts_a_resend_as_a_redirect(connect, partner, client_name, allowed):
    """Each 401 in the history counts against `max_redirects`, as for any auth of httpx."""
    client = connect(partner.auth(), max_redirects=allowed)
    client.get(f"{partner.url}/portfolio")
    partner.rotate()
    if allowed:
        assert client.get(f"{partner.url}/portfolio").status_code == 200
    else:
        with pytest.raises(client.library.TooManyRedirects):
            client.get(f"{partner.url}/portfolio")
    assert client.get(f"{partner.url}/portfolio").status_code == 200


def test_a_redirect_of_requests_and_a_resend_count_apart(connect, partner):
    """One redirect and one resend, with one redirect allowed: requests counts redirects alone."""
    client = connect(partner.auth(), max_redirects=2)
    partner.redirect("/old", "/portfolio")
    client.get(f"{partner.url}/portfolio")
    partner.rotate()
    assert client.get(f"{partner.url}/old").status_code == 200


def test_the_history_of_a_redirected_resend_is_what_the_client_keeps(client, partner):
    """The redirects alone in requests; in httpx both, the 401 with the token that it carried."""
    partner.redirect("/old", "/portfolio")
    partner.rotate()
    got = client.get(f"{partner.url}/old")
    statuses = [one.status_code for one in got.history]
    assert statuses == ([302] if client.library.__name__ == "requests" else [401, 302])
    sent = [one.token for one in partner.requests]
    assert [one.request.headers["Authorization"] for one in [*got.history, got]] == [
        f"Bearer {token}" for token in sent[-len(statuses) - 1 :]
    ]


def interrupts(resends):
    """Return a callback that is interrupted at the first resend."""

    def on_event(event):
        if isinstance(event, RequestResent) and not resends:
            resends.append(event)
            raise KeyboardInterrupt

    return on_event


@pytest.mark.parametrize("client_name", SYNC)
@pytest.mark.parametrize("kind", ["none", "huge"])
def test_an_interrupt_in_the_midst_of_a_recovery_frees_the_connection(
    connect, partner, client_name, kind
):
    """Else a pool of one would wait for it for ever."""
    partner.hostile(kind)
    client = connect(partner.auth(on_event=interrupts([])), one_connection=True)
    client.get(f"{partner.url}/portfolio")
    partner.rotate()
    with pytest.raises(KeyboardInterrupt):
        client.get(f"{partner.url}/portfolio")
    assert client.get(f"{partner.url}/portfolio").status_code == 200


@pytest.mark.parametrize("client_name", SYNC)
def test_an_interrupt_at_a_second_resend_frees_the_connection(connect, partner, client_name):
    """That of the answer to the first one."""
    partner.hostile("huge")
    partner.store.pending = partner.rotate(store=False)

    def interrupt(event):
        if isinstance(event, RequestResent) and event.sends == 3:
            raise KeyboardInterrupt

    client = connect(partner.auth(on_event=interrupt), one_connection=True)
    with pytest.raises(KeyboardInterrupt):
        client.get(f"{partner.url}/portfolio")
    partner.public("/public")
    assert client.get(f"{partner.url}/public").status_code == 404
