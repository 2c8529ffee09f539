"""The command line as a person calls it: `main([...])` in this process, or one of its own."""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import pytest

import partner_auth
from partner_auth.cli import main

PACKAGE = Path(partner_auth.__file__).parent.parent


class Done(NamedTuple):
    """What came of one call."""

    code: int
    out: str
    err: str


class Report:
    """What `doctor --json` found."""

    def __init__(self, done):
        self.code = done.code
        self.json = json.loads(done.out)
        self.checks = self.json["checks"]

    def __getitem__(self, name):
        """Return the one finding of that check."""
        (finding,) = [check for check in self.checks if check["check"] == name]
        return finding

    def __contains__(self, name):
        return any(check["check"] == name for check in self.checks)

    def status(self, name):
        return self[name]["status"]

    def reasons(self, name):
        return [check["reason"] for check in self.checks if check["check"] == name]


@pytest.fixture
def secrets(partner_server):
    """Secrets that no output may hold: a test adds its own."""
    return [partner_server.secret]


@pytest.fixture
def run(capsys, secrets):
    """Call `main`, and see that neither a secret nor, but for `token`, a token was written."""

    def called(*words):
        code = main([str(word) for word in words])
        out, err = capsys.readouterr()
        for secret in secrets:
            assert str(secret) not in out + err
        if words[:1] != ("token",):
            assert not re.search(r"eyJ[\w-]{5,}", out + err)
        return Done(code, out, err)

    return called


@pytest.fixture
def doctor(run):
    """Call `doctor --json` and read the report."""

    def called(*words):
        return Report(run("doctor", "--json", *words))

    return called


@pytest.fixture
def configured(partner_server, monkeypatch):
    """Set the environment as for a program that works; return the partner."""
    monkeypatch.setenv("PARTNER_BASE_URL", f"{partner_server.url}/portfolio")
    monkeypatch.setenv("PARTNER_CLIENT_ID", partner_server.client_id)
    monkeypatch.setenv("PARTNER_SECRET_KEY", partner_server.secret)
    return partner_server


@pytest.fixture
def slow_log():
    """Hold the thread that reads the store up when it tells of that, as a busy machine does."""

    class Slow(logging.Handler):
        def handle(self, record):  # not `emit`, for which other threads would wait as well
            if record.getMessage().startswith("CredentialFetched"):
                time.sleep(0.1)
            return True

    log, slow = logging.getLogger("partner_auth"), Slow()
    log.addHandler(slow)
    log.setLevel(logging.DEBUG)
    yield
    log.removeHandler(slow)
    log.setLevel(logging.NOTSET)


@pytest.fixture
def start():
    """Start the installed module in a process of its own."""
    started = []

    def called(*words, **options):
        env = os.environ | {"PYTHONPATH": str(PACKAGE)} | options.pop("env", {})
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True} | options
        command = [sys.executable, "-P", "-m", "partner_auth", *words]
        started.append(subprocess.Popen(command, env=env, **options))
        return started[-1]

    yield called
    for process in started:
        process.kill()
        process.communicate()
