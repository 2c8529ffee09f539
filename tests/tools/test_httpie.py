"""HTTPie with the plug-in that it finds by itself, as a person calls it."""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys

import pytest

from partner_auth.testing import PartnerServer


@pytest.fixture
def http(partner_server, tmp_path):
    """Call `http` with the environment of a program that works."""
    env = os.environ | {
        "PYTHONPATH": os.pathsep.join(sys.path),
        "HTTPIE_CONFIG_DIR": str(tmp_path),
        "PARTNER_BASE_URL": partner_server.url,
        "PARTNER_CLIENT_ID": partner_server.client_id,
        "PARTNER_SECRET_KEY": partner_server.secret,
    }

    def called(*words):
        return subprocess.run(
            [sys.executable, "-P", "-m", "httpie", "--ignore-stdin", *words],
            env=env,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    return called


@pytest.fixture
def file(partner_server, tmp_path):
    """Put the partner's secret into a file, and return it; what is written later is another one."""
    path = tmp_path / "partner.json"
    path.write_text(json.dumps({"client_id": "acme", "secret_key": partner_server.secret}))
    return path


def test_the_entry_point_is_declared():
    """HTTPie finds it in the group that it looks into."""
    (entry,) = importlib.metadata.entry_points(group="httpie.plugins.auth.v1", name="partner")
    assert entry.load().auth_type == "partner"


def test_the_environment_is_the_source(http, partner_server):
    """Without `-a`: nobody is asked for a password."""
    done = http("--auth-type", "partner", "--body", f"{partner_server.url}/portfolio")
    assert (done.returncode, done.stderr) == (0, "")
    assert partner_server.requests[0].accepted_by == "current"


def test_a_source_url_may_be_given(http, partner_server, file):
    """By `-a`, and it comes before the environment."""
    url = f"{partner_server.url}/portfolio"
    new = partner_server.rotate(store=False)
    file.write_text(json.dumps({"client_id": "acme", "secret_key": new}))
    assert http("-A", "partner", "--check-status", url).returncode == 4
    assert http("-A", "partner", "-a", file.as_uri(), "--check-status", url).returncode == 0


def test_a_401_is_mended(http, partner_server, file):
    """The partner has changed first, and the store knows the next one."""
    document = json.loads(file.read_text()) | {
        "secret_key_next": partner_server.rotate(store=False)
    }
    file.write_text(json.dumps(document))
    url = f"{partner_server.url}/portfolio"
    assert http("-A", "partner", "-a", file.as_uri(), "--check-status", url).returncode == 0
    assert [request.status for request in partner_server.requests] == [401, 401, 200]


def test_a_secret_in_its_place_is_refused_and_not_shown(http, partner_server):
    """With a message in one line, no traceback, and nothing sent."""
    done = http("-A", "partner", "-a", "hunter2-hunter2-hunter2", partner_server.url)
    assert done.returncode == 1
    assert done.stderr.startswith("http: error: the source is a text but no source URL")
    assert "hunter2" not in done.stdout + done.stderr
    assert partner_server.requests == []


def test_a_store_without_a_secret_is_one_message(http, partner_server):
    """HTTPie says it; the library's log doesn't say it again."""
    done = http("-A", "partner", "-a", "env://NOBODY_", partner_server.url)
    assert done.returncode == 1
    assert done.stderr.count("no credential is configured") == 1
    assert "Traceback" not in done.stderr


def test_plain_http_is_refused(http):
    """HTTPie's default scheme is http, so this is easily typed."""
    done = http("-A", "partner", "-a", "env://", "api.partner.example/portfolio")
    assert done.returncode == 1
    assert "must not travel over plain http" in done.stderr


def test_a_session_keeps_the_source_and_no_token(http, partner_server, file, tmp_path):
    """HTTPie writes what stood behind `-a` into its session's file."""
    url, session = f"{partner_server.url}/portfolio", tmp_path / "session.json"
    http(f"--session={session}", "-A", "partner", "-a", file.as_uri(), url)
    assert http(f"--session={session}", url, "--check-status").returncode == 0
    kept = session.read_text()
    assert json.loads(kept)["auth"] == {"type": "partner", "raw_auth": file.as_uri()}
    assert partner_server.secret not in kept
    assert "eyJ" not in kept


def test_a_redirect_elsewhere_carries_no_token(http, partner_server):
    """`--follow`: the other one gets a request without it."""
    with PartnerServer() as elsewhere:
        elsewhere.public("/portfolio")
        partner_server.redirect("/portfolio", f"{elsewhere.url}/portfolio")
        done = http(
            "-A", "partner", "--follow", "--check-status", f"{partner_server.url}/portfolio"
        )
        assert done.returncode == 0
        assert [request.token for request in elsewhere.requests] == [None]


def test_its_help_says_what_a_may_be(http):
    """Under `--auth-type`."""
    assert "-a may be a source URL" in " ".join(http("--help").stdout.split())
