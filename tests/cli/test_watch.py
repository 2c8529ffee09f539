"""`partner-auth watch`."""

from __future__ import annotations

import json
import signal

import pytest

from partner_auth.cli import _http

URL = "/portfolio"


@pytest.fixture
def store(tmp_path, monkeypatch, secrets):
    """Put a secret where the environment says that it is."""
    file = tmp_path / "partner.json"
    monkeypatch.setenv("PARTNER_AUTH_SOURCE", file.as_uri())

    def hold(secret, **others):
        secrets.append(secret)
        others = {f"secret_key_{label}": other for label, other in others.items()}
        file.write_text(json.dumps({"client_id": "acme", "secret_key": secret} | others))

    return hold


@pytest.fixture
def before(monkeypatch):
    """Have these things done, one before each request of `watch`."""

    def planned(*actions):
        left, ask = list(actions), _http.ask

        def asked(*arguments):
            if left:
                left.pop(0)()
            return ask(*arguments)

        monkeypatch.setattr(_http, "ask", asked)

    return planned


def nothing():
    """Do nothing."""


def events(done):
    """Return the JSON lines."""
    return [json.loads(line) for line in done.out.splitlines()]


def test_without_a_url_the_store_is_read(run, partner_server, store):
    """Each time, and the partner is left alone."""
    store(partner_server.secret)
    done = run("watch", "--times", 2, "--every", "0.01")
    assert (done.code, done.err) == (0, "")
    assert "status   fresh, version" in done.out
    assert done.out.count(" read     version") == 2
    assert partner_server.requests == []


def test_what_a_read_tells_comes_before_what_came_of_it(run, partner_server, store, slow_log):
    """The store's thread is waited for, so the lines stand in order."""
    store(partner_server.secret)
    done = run("watch", "--times", 1)
    assert [line.split()[1] for line in done.out.splitlines()] == ["read", "status"]


def test_with_a_url_a_signed_request_is_sent(run, partner_server, store):
    """And its answer is told when it changes."""
    store(partner_server.secret)
    done = run("watch", "--times", 3, "--every", "0.01", "--url", partner_server.url + URL)
    assert [request.status for request in partner_server.requests] == [200, 200, 200]
    assert done.out.count("answer   200") == 1


def test_a_rotation_is_followed(run, partner_server, store, before):
    """The request is resent and accepted: as in a program, without any client installed."""
    store(partner_server.secret)
    before(nothing, lambda: store(partner_server.rotate(store=False)))
    done = run(
        "watch", "--times", 2, "--every", "0.01", "--url", partner_server.url + URL, "--json"
    )
    names = [event["event"] for event in events(done)]
    assert [request.status for request in partner_server.requests] == [200, 401, 200]
    assert "CredentialRotated" in names
    assert "RequestResent" in names
    assert names.count("Answer") == 1


def test_a_pending_secret_is_found(run, partner_server, store):
    """The partner has changed first; the store knows the next one."""
    old = partner_server.secret
    store(old, next=partner_server.rotate(store=False))
    done = run("watch", "--times", 1, "--url", partner_server.url + URL)
    assert "rotated  version" in done.out
    assert "answer   200" in done.out


def test_a_refusal_is_explained(run, partner_server, store):
    """What was tried, why it ended, and what the partner says."""
    store(partner_server.secret)
    partner_server.reject()
    partner_server.challenge('Bearer realm="partner"')
    done = run("watch", "--times", 1, "--url", partner_server.url + URL)
    said = " ".join(done.out.split())
    assert "nothing that the store knows was accepted | Bearer realm=" in said
    assert "answer 401" in said


def test_a_token_in_the_partner_s_challenge_is_not_shown(run, partner_server, store):
    """Nor in JSON (`run` looks for it)."""
    store(partner_server.secret)
    partner_server.reject()
    partner_server.challenge("you sent eyJhbGciOiJIUzI1NiJ9.eyJpYXQiOjF9.c2lnbmF0dXJl")
    url = partner_server.url + URL
    assert "you sent …" in run("watch", "--times", 1, "--url", url).out
    assert run("watch", "--times", 1, "--url", url, "--json").code == 0


def test_an_outage_of_the_store_is_told(run, partner_server, store, tmp_path):
    """And the watch goes on."""
    store(partner_server.secret)
    (tmp_path / "partner.json").unlink()
    done = run("watch", "--times", 2, "--every", "0.01")
    assert done.code == 0
    assert "failed   FileSource(" in done.out
    assert "nothing is held" in " ".join(done.out.split())


def test_an_outage_of_the_partner_is_told(run, partner_server, store):
    """Once, as an answer that is none."""
    store(partner_server.secret)
    partner_server.down()
    done = run("watch", "--times", 2, "--every", "0.01", "--url", partner_server.url + URL)
    assert done.out.count("answer   none: nobody listens at that host and port") == 1


def test_a_url_that_no_token_goes_to_is_a_failure(run, partner_server, store):
    """It could not begin."""
    store(partner_server.secret)
    done = run("watch", "--times", 1, "--url", "http://api.partner.example/")
    assert done.code == 1
    assert "plain http" in done.err


def test_json_is_an_object_a_line(run, partner_server, store):
    """With a time and the event's own fields."""
    store(partner_server.secret)
    told = events(run("watch", "--times", 1, "--url", partner_server.url + URL, "--json"))
    assert {"time", "event"} <= set(told[0])
    (signed,) = [event for event in told if event["event"] == "TokenSigned"]
    assert signed["client_id"] == "acme"


def test_lines_fit_into_80_columns(run, partner_server, store):
    """In a pipe as on a terminal."""
    store(partner_server.secret)
    partner_server.reject()
    out = run("watch", "--times", 1, "--url", partner_server.url + URL).out
    assert max(map(len, out.splitlines())) <= 80


def test_ctrl_c_ends_it_cleanly(start, configured):
    """Exit code 0, and no traceback."""
    process = start("watch", "--every", "60")
    assert process.stdout.readline()  # it has begun
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err.strip()) == (0, "")
