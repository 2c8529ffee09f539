"""The wheel, its metadata, and what an import of it costs."""

from __future__ import annotations

import email
import importlib.metadata
import inspect
import json
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import partner_auth

ROOT = Path(__file__).parent.parent
PACKAGE = Path(partner_auth.__file__).parent
CLIENTS = ["requests", "httpx", "httpx2"]
MODULES = sorted(
    ".".join(file.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")
    for file in PACKAGE.rglob("*.py")
    if file.name not in ("__main__.py", "niquests.py")  # nox -s niquests imports the other one
)
# Outside libraries of which none comes along unless it is asked for.
LIBRARIES = [*CLIENTS, "aiohttp", "anyio", "boto3", "botocore", "cryptography", "hvac", "jwt"]
LIBRARIES += ["niquests", "opentelemetry", "pytest", "rich", "trio", "urllib3"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Build the wheel from the checkout."""
    folder = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "-d", folder]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (file,) = folder.glob("*.whl")
    with zipfile.ZipFile(file) as archive:
        yield archive


@pytest.fixture(scope="module")
def metadata(wheel):
    """Read the wheel's METADATA."""
    (name,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    return email.message_from_bytes(wheel.read(name))


@pytest.fixture(scope="module")
def project():
    """Read the `project` table of pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def after(statement: str) -> dict[str, list[str]]:
    """Run a statement in a fresh interpreter: which top-level modules and threads came of it?"""
    script = f"""
import json, sys, threading
before = set(sys.modules)
{statement}
modules = {{name.partition(".")[0] for name in set(sys.modules) - before}}
threads = [thread.name for thread in threading.enumerate()]
print(json.dumps({{"modules": sorted(modules), "threads": threads}}))
"""
    env = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
    env["PYTHONPATH"] = str(PACKAGE.parent)
    command = [sys.executable, "-P", "-W", "error", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_all_names_what_is_public():
    """`__all__` lists every name of `partner_auth` without an underscore, but no submodule."""
    seen = {
        name
        for name, value in vars(partner_auth).items()
        if not name.startswith("_") and not inspect.ismodule(value)
    }
    assert seen <= set(partner_auth.__all__) == set(dir(partner_auth))
    assert [name for name in partner_auth.__all__ if not hasattr(partner_auth, name)] == []


def test_every_public_name_has_a_docstring():
    """What is public is explained."""
    public = [name for name in partner_auth.__all__ if not name.startswith("__")]
    assert [name for name in public if not inspect.getdoc(getattr(partner_auth, name))] == []


def test_the_version_is_that_of_the_installed_distribution(project):
    """`__version__`, the metadata and pyproject.toml agree."""
    assert partner_auth.__version__ == project["version"]
    assert importlib.metadata.version("partner-auth") == project["version"]


def test_importing_the_package_brings_nothing_from_outside():
    """`from partner_auth import PartnerAuth` loads the standard library and itself."""
    brought = after("from partner_auth import PartnerAuth")["modules"]
    assert set(brought) - {"partner_auth"} - sys.stdlib_module_names == set()


def test_importing_the_package_brings_nothing_heavy():
    """No event loop machinery either: asyncio alone would cost more than the package."""
    heavy = {"asyncio", "concurrent", "http", "multiprocessing", "ssl", "unittest"}
    assert heavy.isdisjoint(after("from partner_auth import PartnerAuth")["modules"])


def test_making_the_object_brings_nothing_from_outside():
    """A URL of a store does not load the store's library, nor the one that signs."""
    statement = 'from partner_auth import PartnerAuth; PartnerAuth("aws-secretsmanager://prod/x")'
    assert set(LIBRARIES).isdisjoint(after(statement)["modules"])


def test_importing_starts_no_thread():
    """There is one thread before and after."""
    statement = 'from partner_auth import PartnerAuth; PartnerAuth("vault://secret/partner")'
    assert after(statement)["threads"] == ["MainThread"]


@pytest.mark.parametrize("client", CLIENTS)
def test_a_client_s_module_brings_that_client_alone(client):
    """`partner_auth.<client>` loads what `import <client>` loads, and no other client."""
    alone = set(after(f"import {client}")["modules"])
    brought = set(after(f"import partner_auth.{client}")["modules"])
    assert client in brought
    assert brought - alone - {"partner_auth"} - sys.stdlib_module_names == set()


def test_every_module_can_be_imported_first():
    """No module needs another one than its package to have been imported before; none warns."""
    after(f"""
import importlib, os, partner_auth
for name in {MODULES}:
    if os.fork() == 0:  # what a fresh interpreter is after `import partner_auth`, which comes first
        importlib.import_module(name)
        os._exit(0)
    assert os.wait()[1] == 0, name
""")


def test_the_wheel_is_the_package_and_nothing_else(wheel):
    """No tests, no examples: one top-level folder, with py.typed, beside the metadata."""
    names = wheel.namelist()
    assert {name.split("/")[0].split("-")[0] for name in names} == {"partner_auth"}
    assert "partner_auth/py.typed" in names


def test_the_wheel_holds_every_file_of_the_package(wheel):
    """What works from a checkout works from the wheel."""
    package = ROOT / "partner_auth"
    files = {file for file in package.rglob("*.*") if "__pycache__" not in file.parts}
    assert {file.relative_to(ROOT).as_posix() for file in files} <= set(wheel.namelist())


def test_the_wheel_carries_the_licence(wheel, metadata):
    """PEP 639: an expression, and the file itself."""
    assert metadata["License-Expression"] == "MIT"
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in wheel.namelist())


def test_pyjwt_is_the_only_dependency(metadata):
    """Whoever installs no extra gets PyJWT alone."""
    requirements = metadata.get_all("Requires-Dist")
    assert [line for line in requirements if "extra ==" not in line] == ["pyjwt>=2.13"]


def test_all_is_every_extra_but_niquests(project):
    """With niquests comes another urllib3, in the place of the one that requests uses."""
    extras = project["optional-dependencies"]
    (line,) = extras["all"]
    named = set(re.search(r"\[(.*)\]", line)[1].split(","))
    assert named == set(extras) - {"all", "niquests"}


def test_every_remedy_names_an_extra_that_exists(project):
    """`pip install 'partner-auth[…]'` in a message or in the docs can be typed as it is."""
    texts = [*PACKAGE.rglob("*.py"), *ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
    found = {
        extra
        for file in texts
        for names in re.findall(r"partner-auth\[([\w, -]+)\]", file.read_text(encoding="utf-8"))
        for extra in re.split(r",\s*", names)
    }
    assert found <= set(project["optional-dependencies"])


def test_the_pytest_plugin_is_registered():
    """Whoever installs the package has the fixture `partner_server`."""
    (entry,) = importlib.metadata.entry_points(group="pytest11", name="partner_auth")
    assert callable(entry.load().partner_server)
