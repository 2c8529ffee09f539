"""`partner-auth doctor`: what the partner says, and which secret it accepts."""

from __future__ import annotations

import base64
import json
import socket

import pytest

from partner_auth.testing import PartnerServer

KEY = "the-partners-secret-0123456789-0123456789"


@pytest.fixture
def store(tmp_path, monkeypatch, partner_server, secrets):
    """Hold these secrets where the environment says; the partner's URL is there too."""
    file = tmp_path / "partner.json"
    monkeypatch.setenv("PARTNER_AUTH_SOURCE", file.as_uri())
    monkeypatch.setenv("PARTNER_BASE_URL", f"{partner_server.url}/portfolio")

    def hold(secret, **others):
        document = {"client_id": "acme", "secret_key": secret}
        document |= {f"secret_key_{label}": other for label, other in others.items()}
        secrets.extend([secret, *others.values()])
        file.write_text(json.dumps(document))

    hold(partner_server.secret)
    return hold


def test_the_current_secret_is_accepted(doctor, partner_server, store):
    """And that it was looked at is proved by a request without a token."""
    report = doctor()
    assert report["answer"]["reason"] == "200: the partner accepts the current secret"
    assert report.json["accepted"] == "current"
    assert [request.status for request in partner_server.requests] == [200, 401]


def test_the_pending_secret_is_accepted(doctor, partner_server, store):
    """The partner has changed first: a warning, for the library finds it by itself."""
    store(KEY, next=partner_server.secret, previous="p" * 40)
    report = doctor()
    assert report.code == 0
    assert report.status("answer") == "warning"
    assert report.json["accepted"] == "pending"


def test_the_previous_secret_is_accepted(doctor, partner_server, store):
    """The store has changed first."""
    store(KEY, next="n" * 40, previous=partner_server.secret)
    assert doctor().json["accepted"] == "previous"


def test_no_secret_is_accepted(doctor, partner_server, store):
    """A failure, with what the partner said and what was tried."""
    store(KEY, next="n" * 40)
    partner_server.challenge('Bearer error="invalid_token"')
    report = doctor()
    assert report.code == 1
    reason = report["answer"]["reason"]
    assert """401 'Bearer error="invalid_token"' '{"error": "unknown_secret"}'""" in reason
    assert "it refuses the current secret, the pending secret (version 'next')" in reason
    assert "sandbox" in report["answer"]["remedy"]
    assert report.json["accepted"] is None


@pytest.mark.parametrize(
    "stored, remedy",
    [
        (KEY + "\n ", "take it off in the store"),
        (f"'{KEY}'", "take them off"),
        (base64.b64encode(KEY.encode()).decode(), "secret_key_encoding=base64"),
        (base64.b64encode(KEY.encode()).decode().rstrip("="), "secret_key_encoding=base64"),
        (KEY.encode().hex(), "secret_key_encoding=hex"),
    ],
    ids=["white space", "quotes", "base64", "base64 without padding", "hex"],
)
def test_a_key_stored_wrongly_is_found_out(doctor, partner_server, store, stored, remedy):
    """The partner accepts it once it is mended: a failure with the very remedy."""
    partner_server.accept(KEY)
    store(stored)
    report = doctor()
    assert report.code == 1
    assert remedy in report["answer"]["remedy"]
    assert "the partner accepts the current secret" in report["answer"]["reason"]


def test_the_number_of_requests_is_bounded(doctor, partner_server, store):
    """A partner that refuses all gets nine at most."""
    odd = '" the-secret-in-two\nlines-with-\u200binvisible-signs" \n'
    store(odd, next="n" * 40, previous="p" * 40)
    partner_server.skew(300)
    doctor()
    assert len(partner_server.requests) == 8  # and one without a token, had one been accepted


@pytest.mark.parametrize("skew, word", [(300, "behind"), (-300, "ahead of")])
def test_a_wrong_clock_is_found_out(doctor, partner_server, store, skew, word):
    """A warning twice: how far it is off, and that the token works once it is set."""
    partner_server.skew(skew)
    report = doctor()
    assert f"s {word} the partner's clock" in report["clock"]["reason"]
    assert report.status("clock") == "warning"
    assert report.code == 0


def test_a_token_from_the_future_is_accepted_with_the_clock_set(doctor, partner_server, store):
    """As the library does after one 401."""
    partner_server.skew(-300)
    report = doctor()
    assert "the current secret, clock set" in report["answer"]["reason"]
    assert "NTP" in report["answer"]["remedy"]


def test_an_expired_token_is_explained(doctor, partner_server, store):
    """The partner's clock runs ahead by more than the token's lifetime."""
    partner_server.skew(1000)
    report = doctor()
    assert "clock set" in report["answer"]["reason"]


@pytest.mark.parametrize("dates", [(), ("nonsense",)])
def test_no_date_says_nothing_about_the_clock(doctor, partner_server, store, dates):
    """No Date is a warning; one that can't be read teaches nothing."""
    partner_server.dates(*dates)
    assert doctor().status("clock") == ("ok" if dates else "warning")


def test_clocks_that_are_days_apart_are_a_failure(doctor, partner_server, store):
    """No honest clock: the library would not follow it."""
    partner_server.skew(3 * 86_400)
    assert doctor().status("clock") == "failure"


def test_a_path_that_wants_no_token_proves_nothing(doctor, partner_server, store):
    """200, with a token or without."""
    partner_server.public("/portfolio")
    report = doctor()
    assert report.status("answer") == "warning"
    assert "nobody looked at the token" in report["answer"]["reason"]
    assert report.json["accepted"] is None


def test_a_missing_path_still_shows_that_the_token_is_good(doctor, partner_server, store):
    """404 with it and 401 without it."""
    report = doctor("--url", f"{partner_server.url}/nowhere")
    assert report.json["accepted"] == "current"
    assert report["path"]["reason"].startswith("404: the token is good")


def test_a_403_is_about_rights(doctor, partner_server, store):
    """The token is good, the client may not."""
    partner_server.answer("/portfolio", {"error": "forbidden"}, status=403)
    report = doctor()
    assert report.status("answer") == "ok"
    assert report.status("rights") == "warning"


def test_a_401_about_rights_is_none_about_the_token(doctor, partner_server, store):
    """`insufficient_scope`: nothing else is tried."""
    partner_server.forbid("/portfolio")
    partner_server.challenge('Bearer error="insufficient_scope"')
    assert "no right there" in doctor()["answer"]["reason"]
    assert len(partner_server.requests) == 1


def test_a_redirect_is_not_followed(doctor, partner_server, store):
    """No token goes elsewhere."""
    with PartnerServer() as elsewhere:
        partner_server.redirect("/portfolio", f"{elsewhere.url}/portfolio")
        report = doctor()
        assert elsewhere.requests == []
    assert report.status("redirect") == "warning"


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_partner_says_nothing_about_the_token(doctor, partner_server, store, status):
    """A warning: try again."""
    partner_server.fail(status)
    report = doctor()
    assert report.status("answer") == "warning"
    assert f"{status} " in report["answer"]["reason"]


@pytest.mark.parametrize("kind", ["endless", "huge", "cut", "bad-gzip", "drip"])
def test_a_hostile_answer_is_bounded(doctor, partner_server, store, kind):
    """It neither hangs nor fills the memory, and the report is whole."""
    store(KEY)
    partner_server.hostile(kind)
    assert doctor().status("answer") == "failure"


def test_a_partner_that_echoes_the_token_does_not_bring_it_into_the_report(
    doctor, partner_server, store
):
    """Neither its challenge nor its body may show it (`run` looks for it)."""
    partner_server.reject()
    plain = partner_server._outgoing

    def echoing(incoming, *rest):
        partner_server.challenge(f"seen {incoming.headers['Authorization']}")
        return plain(incoming, *rest)

    partner_server._outgoing = echoing
    assert "'seen …'" in doctor()["answer"]["reason"]


def test_control_characters_of_the_partner_s_do_not_reach_the_terminal(run, partner_server, store):
    """What a stranger sends is printed, not obeyed."""
    store(KEY)
    partner_server.challenge("\x1b[2J\x1b]0;title\x07 Bearer")
    out = run("doctor").out
    assert "\x1b" not in out
    assert "\x07" not in out


def test_nobody_listens(doctor, partner_server, store):
    """A failure that says so, and what to look at."""
    partner_server.down()
    report = doctor()
    assert report["connection"]["reason"] == "nobody listens at that host and port"
    assert report.code == 1


def test_a_proxy_that_does_not_answer_is_named(doctor, store, monkeypatch):
    """Nobody listens there; the partner is not at fault."""
    monkeypatch.setenv("HTTP_PROXY", "http://me:hunter2@127.0.0.1:9")
    reason = doctor()["connection"]["reason"]
    assert reason == "nobody listens at that host and port (through the proxy 127.0.0.1:9)"


def test_a_host_that_is_not_known(doctor, store, monkeypatch):
    """The name is at fault, or DNS."""

    def unknown(*_):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    report = doctor("--url", "https://api.partner.example/")
    assert "name of the partner's host is not known" in report["connection"]["reason"]


def test_a_dropped_connection_is_a_failure(doctor, partner_server, store):
    """No answer is no answer."""
    partner_server.drop()
    assert doctor().status("connection") == "failure"
