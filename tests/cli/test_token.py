"""`partner-auth token`."""

from __future__ import annotations

import json
import urllib.request

import pytest


def test_the_token_is_all_of_stdout(run, configured):
    """`$(partner-auth token)` is a token, and the partner accepts it."""
    done = run("token")
    assert (done.code, done.err) == (0, "")
    request = urllib.request.Request(f"{configured.url}/portfolio")
    request.add_header("Authorization", f"Bearer {done.out.strip()}")
    with urllib.request.urlopen(request) as response:
        assert response.status == 200
    assert done.out.count("\n") == 1


def test_json_has_claims_and_expiry(run, configured):
    """And the token, its header, and where the secret came from."""
    told = json.loads(run("token", "--json").out)
    assert told["claims"]["clientId"] == "acme"
    assert told["claims"]["exp"] - told["claims"]["iat"] == 900
    assert told["header"]["alg"] == "HS256"
    assert told["token"].count(".") == 2
    assert told["source"] == "EnvSource()"
    assert told["expires_at"].endswith("+00:00")


def test_lifetime_and_algorithm_can_be_chosen(run, configured):
    """As in `PartnerAuth`."""
    told = json.loads(run("token", "--json", "--lifetime", "60", "--algorithm", "HS512").out)
    assert told["claims"]["exp"] - told["claims"]["iat"] == 60
    assert told["header"]["alg"] == "HS512"


def test_a_source_url_comes_before_the_environment(run, configured, tmp_path):
    """`--source` is what `PartnerAuth(source)` is."""
    file = tmp_path / "other.json"
    file.write_text(json.dumps({"client_id": "other", "secret_key": "x" * 40}))
    told = json.loads(run("token", "--json", "--source", file.as_uri()).out)
    assert told["claims"]["clientId"] == "other"


@pytest.mark.parametrize(
    "url, reason",
    [
        ("http://api.partner.example/", "must not travel over plain http"),
        ("https://elsewhere.example/", "none of `origins`"),
    ],
)
def test_no_token_for_a_url_that_none_goes_to(run, configured, monkeypatch, url, reason):
    """`--url` is held to the rules of a request."""
    monkeypatch.setenv("PARTNER_BASE_URL", "https://api.partner.example")
    done = run("token", "--url", url)
    assert (done.code, done.out) == (1, "")
    assert reason in done.err


def test_a_wrong_setting_is_a_failure(run, configured):
    """With code 1 and a reason."""
    done = run("token", "--algorithm", "none")
    assert (done.code, done.out) == (1, "")
    assert "is none of HS256" in done.err
