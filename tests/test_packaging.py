"""The wheel and the sdist, their metadata, what is public, and what an import costs."""

from __future__ import annotations

import ast
import email
import importlib
import importlib.metadata
import inspect
import json
import os
import re
import subprocess
import sys
import tarfile
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
PUBLIC = [
    module
    for module in [*MODULES, "partner_auth.niquests"]
    if not any(part.startswith("_") for part in module.split("."))
]
# What only the package's own files use, in a module that is public.
OWN = {
    "partner_auth.exceptions": {"Failure", "raised_by_client", "warn"},
    "partner_auth.niquests": {"AsyncHook"},
}
# Outside libraries of which none comes along unless it is asked for.
LIBRARIES = [*CLIENTS, "aiohttp", "anyio", "boto3", "botocore", "cryptography", "hvac", "jwt"]
LIBRARIES += ["niquests", "opentelemetry", "pytest", "rich", "trio", "urllib3"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Open the wheel that is under test, or build it from the checkout."""
    given = os.environ.get("WHEEL")
    file = ROOT / given if given else built(ROOT, tmp_path_factory.mktemp("wheel"), "wheel")
    with zipfile.ZipFile(file) as archive:
        yield archive


@pytest.fixture(scope="module")
def sdist(tmp_path_factory):
    """Build the sdist from the checkout and unpack it."""
    folder = tmp_path_factory.mktemp("sdist")
    file = built(ROOT, folder, "sdist")
    with tarfile.open(file) as archive:
        archive.extractall(folder, filter="data")
    return folder / file.name.removesuffix(".tar.gz")


@pytest.fixture(scope="module")
def metadata(wheel):
    """Read the wheel's METADATA."""
    (name,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    return email.message_from_bytes(wheel.read(name))


@pytest.fixture(scope="module")
def project():
    """Read the `project` table of pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def built(source: Path, folder: Path, target: str) -> Path:
    """Build a wheel or an sdist."""
    build = [sys.executable, "-m", "hatchling", "build", "--target", target, "-d", folder]
    subprocess.run(build, cwd=source, check=True, capture_output=True)
    (file,) = folder.iterdir()
    return file


def contents(archive: zipfile.ZipFile) -> dict[str, bytes]:
    """Return a wheel's files, but for the two that tell which hatchling built it."""
    names = [name for name in archive.namelist() if not name.endswith(("/WHEEL", "/RECORD"))]
    return {name: archive.read(name) for name in names}


def files_of(folder: Path, command: list[str]) -> set[str]:
    """Return what git says of the files in a folder."""
    done = subprocess.run(["git", *command], cwd=folder, check=True, capture_output=True, text=True)
    return set(done.stdout.splitlines())


def body(module: str) -> list[ast.stmt]:
    """Return a module's statements, unread by Python: niquests may be missing."""
    path = PACKAGE.parent.joinpath(*module.split("."))
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return ast.parse(file.read_text(encoding="utf-8")).body


def listed(module: str) -> list[str]:
    """Return a module's `__all__`, [] where there is none."""
    for statement in body(module):
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "__all__":
            return ast.literal_eval(statement.value)
    return []


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


@pytest.mark.parametrize("module", PUBLIC)
def test_all_of_a_public_module_names_what_it_defines(module):
    """Each class and function without an underscore is in `__all__`, or known as our own."""
    kinds = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    defined = {thing.name for thing in body(module) if isinstance(thing, kinds)}
    public = {name for name in defined if not name.startswith("_")}
    assert public - set(listed(module)) == OWN.get(module, set())
    assert listed(module) == sorted(set(listed(module)))


@pytest.mark.parametrize("module", [name for name in PUBLIC if name != "partner_auth.niquests"])
def test_all_of_a_public_module_can_be_imported(module):
    """There are some names in it, and each is there, those too that come only when asked for."""
    imported = importlib.import_module(module)
    assert [name for name in listed(module) if hasattr(imported, name)] == listed(module) != []


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


def test_the_sdist_holds_all_that_the_project_is(sdist):
    """Whoever packages it elsewhere finds tests, docs and tools; nothing that git ignores is in it."""
    held = {file.relative_to(sdist).as_posix() for file in sdist.rglob("*") if file.is_file()}
    tracked = files_of(ROOT, ["ls-files"]) - files_of(ROOT, ["ls-files", "--deleted"])
    others = files_of(ROOT, ["ls-files", "--others", "--exclude-standard"])
    assert tracked - held == set()
    assert held - tracked - others == {"PKG-INFO"}


def test_the_sdist_builds_the_same_wheel(sdist, wheel, tmp_path):
    """What a build from source installs is, byte for byte, what the wheel installs."""
    with zipfile.ZipFile(built(sdist, tmp_path, "wheel")) as other:
        assert contents(other) == contents(wheel)


def test_the_tested_package_is_the_wheel_s_where_one_is_given():
    """With `WHEEL=` the checkout is out of the way, however pytest was called."""
    given = os.environ.get("WHEEL")
    assert not given or PACKAGE != ROOT / "partner_auth"


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
