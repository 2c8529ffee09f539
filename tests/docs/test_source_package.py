"""The package in examples/sqlite_source, installed: a scheme comes by its entry point."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import jwt
import pytest

PACKAGE = Path(__file__).parents[2] / "examples" / "sqlite_source"
PROGRAM = """
import sys
from partner_auth import PartnerAuth
assert "partner_auth_sqlite" not in sys.modules
auth = PartnerAuth(sys.argv[1])
print(auth.token())
assert repr(auth).startswith("PartnerAuth(SqliteSource(")
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder into which the package was installed."""
    folder = tmp_path_factory.mktemp("site")
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--target", str(folder)]
    subprocess.run([sys.executable, "-m", "pip", "install", *options, str(PACKAGE)], check=True)
    return folder


@pytest.fixture
def database(tmp_path):
    """A database with two versions of one client's secret."""
    path = tmp_path / "partner.db"
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE secrets (client_id, secret_key, version)")
        rows = [("acme", "old " * 10, 1), ("acme", "new " * 10, 2)]
        db.executemany("INSERT INTO secrets VALUES (?, ?, ?)", rows)
    db.close()
    return path


def run(site, url):
    environment = {**os.environ, "PYTHONPATH": str(site)}
    command = [sys.executable, "-W", "error", "-c", PROGRAM, url]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_the_scheme_of_an_installed_package_signs(site, database):
    """Nothing of it is imported before its scheme is named."""
    ended = run(site, f"sqlite://{database}?client=acme")
    assert ended.returncode == 0, ended.stderr
    assert jwt.decode(ended.stdout.strip(), "new " * 10, algorithms=["HS256"])["clientId"] == "acme"


@pytest.mark.parametrize(
    ("rest", "says"),
    [("", "wants a client"), ("?client=other", "no row for that client"), ("?user=x", "client")],
)
def test_its_errors_are_the_hierarchys(site, database, rest, says):
    """Settings at construction, the store's at the read."""
    ended = run(site, f"sqlite://{database}{rest}")
    assert ended.returncode == 1
    assert says in ended.stderr
