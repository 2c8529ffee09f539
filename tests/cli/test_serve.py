"""`partner-auth serve`."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from partner_auth import PartnerAuth


class Practice:
    """A partner for practice in a process of its own, and what it has written so far."""

    def __init__(self, process):
        self.process = process
        self.text = ""
        self.until("quit ")
        self.url = re.search(r"PARTNER_BASE_URL=(\S+)", self.text)[1]
        self.source = re.search(r"PARTNER_AUTH_SOURCE=(\S+)", self.text)[1]
        self.file = Path(self.source.removeprefix("file://"))

    def until(self, text):
        """Read lines up to one with this text, and return that."""
        for line in self.process.stdout:
            self.text += line
            if text in line:
                return line
        raise AssertionError(self.text)

    def type(self, line):
        """Type a line, and return what it says to it."""
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()
        return self.until("done:").strip()

    def get(self, token):
        """Send a GET and return the status."""
        request = urllib.request.Request(f"{self.url}/portfolio")
        request.add_header("Authorization", f"Bearer {token}")
        try:
            with urllib.request.urlopen(request, timeout=10) as response:
                return response.status
        except urllib.error.HTTPError as error:
            with error:
                return error.code


@pytest.fixture
def practice(start):
    """Start it."""
    return Practice(start("serve", stdin=subprocess.PIPE))


@pytest.fixture
def token(practice):
    """Make a token of what its store holds now."""
    return lambda: PartnerAuth(practice.source).token()


def test_what_it_prints_is_all_that_a_program_needs(practice, token):
    """The two variables lead to a partner that accepts the token."""
    assert practice.get(token()) == 200
    assert (
        practice.until("GET /portfolio") == "GET /portfolio 200: accepted, by the current secret\n"
    )


def test_the_secret_is_in_a_file_of_its_owner_alone(practice):
    """Others on the machine can't read it, and it isn't printed."""
    assert practice.file.stat().st_mode & 0o077 == 0
    assert practice.file.parent.stat().st_mode & 0o077 == 0
    assert json.loads(practice.file.read_text())["secret_key"] not in practice.text


def test_rotate_changes_both(practice, token):
    """The old token is refused, a new one accepted."""
    old = token()
    practice.type("rotate")
    assert (practice.get(old), practice.get(token())) == (401, 200)


def test_overlap_and_retire(practice, token):
    """Both are accepted, and then the new one alone."""
    old = token()
    practice.type("overlap")
    assert (practice.get(old), practice.get(token())) == (200, 200)
    practice.type("retire")
    assert practice.get(old) == 401


def test_partner_first_then_store(practice, token):
    """In between the store knows the secret as the next one."""
    practice.type("partner")
    assert practice.get(token()) == 401
    known = json.loads(practice.file.read_text())
    practice.type("store")
    assert practice.get(token()) == 200
    assert json.loads(practice.file.read_text())["secret_key"] == known["secret_key_next"]


def test_reject_and_restore(practice, token):
    """It refuses all, and no more."""
    practice.type("reject")
    assert practice.get(token()) == 401
    practice.type("restore")
    assert practice.get(token()) == 200


def test_skew(practice, token):
    """Its clock is set wrong, for tokens too."""
    assert practice.type("skew -300") == "done: the partner's clock is -300 s from yours"
    assert practice.get(token()) == 401


@pytest.mark.parametrize(
    "line, answer", [("help", "rotate   partner and"), ("skew x", "wants sec")]
)
def test_a_word_that_it_does_not_know_is_answered(practice, line, answer):
    """By the words that it knows, or what is missing."""
    practice.process.stdin.write(f"{line}\n")
    practice.process.stdin.flush()
    assert practice.until(answer)


@pytest.mark.parametrize("way", ["quit", "ctrl-c"])
def test_it_leaves_nothing_behind(practice, way):
    """Exit code 0, no traceback, and the secret is gone."""
    if way == "quit":
        practice.process.stdin.write("quit\n")
    else:
        practice.process.send_signal(signal.SIGINT)
    _, err = practice.process.communicate(timeout=60)
    assert (practice.process.returncode, err.strip()) == (0, "")
    assert not practice.file.parent.exists()


def test_it_serves_on_without_a_keyboard(practice, token):
    """`partner-auth serve < /dev/null &`."""
    practice.process.stdin.close()
    practice.process.stdin = None
    assert practice.get(token()) == 200


def test_it_wants_the_client_id_that_it_is_told(start):
    """As your program sends it."""
    practice = Practice(start("serve", "--client-id", "you", stdin=subprocess.PIPE))
    assert PartnerAuth(practice.source).token()
    assert json.loads(practice.file.read_text())["client_id"] == "you"


def test_it_serves_on_the_port_that_it_is_told(start, run):
    """Which another one can't take at the same time."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused = run("serve", "--port", str(port))
    assert (refused.code, refused.out) == (1, "")
    assert f"port {port}: Address already in use" in refused.err
    assert Practice(start("serve", "--port", str(port), stdin=subprocess.PIPE)).url.endswith(
        f":{port}"
    )


@pytest.mark.parametrize("port", ["0", "-5", "65536", "http", "\uff11"])
def test_a_port_is_a_number_that_a_port_can_have(run, port):
    """Anything else is wrong usage."""
    assert run("serve", f"--port={port}").code == 2
