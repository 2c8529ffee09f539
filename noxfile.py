"""What needs many environments. What a person types day by day is in the Makefile."""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path

import nox

nox.options.sessions = ["tests"]
PROJECT = os.environ.get("WHEEL") or "."  # a built wheel; never the checkout itself
# The interpreter would look into the current folder first, and find the checkout.
SAFE = {"PYTHONSAFEPATH": "1"}
PYTHONS = ["3.11", "3.12", "3.13"]
CONFORMANCE = [
  "anyio>=4.10", "cryptography>=43", "h2>=4.1", "pytest>=9", "pytest-xdist>=3.8", "trio>=0.32",
]  # fmt: skip
OLDEST = [
    "tests/core",
    "tests/conformance/test_bodies.py",
    "tests/conformance/test_errors.py",
    "tests/conformance/test_httpx_alone.py",
    "tests/conformance/test_posing.py",
    "tests/conformance/test_rotation.py",
    "tests/clients/test_aiohttp.py",
    "tests/sources/test_aws.py",
    "tests/sources/test_vault.py",
    "tests/tools/test_opentelemetry.py",
]


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """Run the suite; arguments after -- go to pytest."""
    session.install(f"{PROJECT}[all]", "--group", "test")
    session.run("pytest", *session.posargs, env=SAFE)


@nox.session(python=PYTHONS[0])
def lowest(session: nox.Session) -> None:
    """Run what touches clients and stores with the oldest versions that users may have; or what is named."""
    lines = (_floor(line) for line in _requirements() if "partner-auth" not in line)
    constraints = Path(session.create_tmp()) / "lowest.txt"
    constraints.write_text("\n".join(line for line in lines if line), encoding="utf-8")
    session.install(f"{PROJECT}[all]", "--group", "suite", "--constraint", str(constraints))
    session.run("pytest", *(session.posargs or [*OLDEST, "-n", "3"]), env=SAFE)


@nox.session(python=PYTHONS[0])
def niquests(session: nox.Session) -> None:
    """Test the doors of niquests, which replaces the urllib3 that requests and boto3 use."""
    # the conformance suite's drivers derive from those of the other clients
    session.install(f"{PROJECT}[niquests,requests,httpx,httpx2]", *CONFORMANCE)
    session.run("pytest", "tests/niquests", "-n", "3", *session.posargs, env=SAFE)


@nox.session(python=PYTHONS[0])
def packaging(session: nox.Session) -> None:
    """Install the wheel with each extra alone: what it brings, what it says is missing, types."""
    session.install(
        PROJECT, "--group", "typing", "hatchling>=1.27", "pytest>=9", "pytest-xdist>=3.8"
    )
    apart = ["-n", "2", "--dist", "loadgroup", *session.posargs]
    session.run("pytest", "tests/packaging/each_extra_alone.py", *apart, env=SAFE)


def _requirements() -> list[str]:
    project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    return [*project["dependencies"], *(line for extra in extras.values() for line in extra)]


def _floor(requirement: str) -> str | None:
    match = re.fullmatch(r"([\w-]+)(?:\[[\w,]+\])?>=([\w.]+)", requirement)
    return f"{match[1]}=={match[2]}" if match else None
