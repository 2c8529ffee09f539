"""Clients that are none of Python's send our token to the test kit's partner."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from partner_auth.testing import PartnerServer

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def shell(partner_server, tmp_path):
    """Return a function that runs a line in a shell that is set up as the documentation says."""
    for name in ("bash", "curl"):
        if shutil.which(name) is None:
            pytest.skip(f"{name} is not installed")
    secret = tmp_path / "partner.json"

    def run(line):
        secret.write_text(json.dumps({"client_id": "acme", "secret_key": partner_server.secret}))
        commands = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        env = os.environ | {
            "PATH": commands,
            "PARTNER_AUTH_SOURCE": f"file://{secret}",
            "PARTNER_BASE_URL": partner_server.url,
        }
        bash = ["bash", "-euo", "pipefail", "-c", line]
        done = subprocess.run(bash, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def documented(page, word):
    """Return the first command of a page that begins with a word."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return re.search(rf"^\$ ({word} .*)$", text, re.MULTILINE)[1]


@pytest.mark.parametrize("client", ["axios", "fetch"])
def test_a_client_of_node_is_let_in_with_our_token(node, client):
    """Axios and Node's own fetch need nothing but the header."""
    with PartnerServer() as server:
        token = server.auth().token(server.url)
        answer = node(do=client, url=f"{server.url}/portfolio", token=token)
        assert answer["status"] == 200
        assert isinstance(answer["data"], dict)
        assert server.requests[0].token == token


@pytest.mark.parametrize("client", ["axios", "fetch"])
def test_a_client_of_node_is_turned_away_after_a_rotation(node, client):
    """The token is of the secret that was; the one after it is of the secret that is."""
    with PartnerServer() as server:
        auth, url = server.auth(), f"{server.url}/portfolio"
        before = auth.token(server.url)
        server.rotate()
        assert node(do=client, url=url, token=before)["status"] == 401
        auth.refresh()
        assert node(do=client, url=url, token=auth.token(server.url))["status"] == 200


def test_curl_is_let_in_as_the_documentation_says(partner_server, shell):
    """`curl -H "Authorization: Bearer $(partner-auth token)"` works as it stands."""
    line = documented("docs/tools/command-line.md", "curl")
    line = line.replace("https://api.partner.example", partner_server.url)
    assert "$(partner-auth token)" in line
    assert isinstance(json.loads(shell(line)), dict)
    assert [request.status for request in partner_server.requests] == [200]


def test_curl_sends_a_token_of_the_secret_that_the_store_holds_now(partner_server, shell):
    """Each call of the command reads the store, so that a rotation is seen by the next one."""
    line = 'curl -sf -H "Authorization: Bearer $(partner-auth token --url "$URL")" "$URL"'
    line = f"URL={partner_server.url}/portfolio; {line}"
    shell(line)
    partner_server.rotate()
    shell(line)
    assert [request.status for request in partner_server.requests] == [200, 200]
