"""The wheel in an empty environment with one extra, as a user has it.

Not collected with the suite, since it makes an environment for each: `nox -s packaging`.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parent.parent.parent
PROGRAMS = Path(__file__).parent / "programs"
TYPING = ROOT / "tests" / "typing"
# Each extra, and which of these libraries it brings.
EXTRAS = {
    "none": (),
    "requests": ("requests",),
    "httpx": ("httpx",),
    "httpx2": ("httpx2",),
    "aiohttp": ("aiohttp",),
    "niquests": ("niquests",),
    "aws": ("boto3",),
    "vault": ("hvac", "requests"),
    "crypto": ("cryptography",),
    "otel": ("opentelemetry",),
}
CLIENTS = ["requests", "httpx", "httpx2", "aiohttp", "niquests"]
LIBRARIES = sorted({library for brought in EXTRAS.values() for library in brought})
# What needs one of them when it is made, with the extra that brings it.
MADE = {
    "boto3": ("aws", "PartnerAuth('aws-secretsmanager://prod/partner')"),
    "hvac": ("vault", "PartnerAuth('vault://secret/partner')"),
    "cryptography": ("crypto", "PartnerAuth('env://', algorithm='RS256')"),
}
IMPORTED = {library: f"partner_auth.{library}" for library in [*CLIENTS, "opentelemetry"]}


class Environment(NamedTuple):
    """A virtual environment with the wheel and one extra."""

    extra: str
    python: Path
    folder: Path

    def run(self, *arguments: str | Path, **variables: str) -> str:
        """Run its interpreter away from the checkout, warnings being errors; return its stdout."""
        command = [self.python, "-I", "-W", "error", *arguments]
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=os.environ | variables,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


def each(extras):
    """Run a test in the environments of these extras, those of one in one process of xdist's."""
    marked = [pytest.param(extra, marks=pytest.mark.xdist_group(extra)) for extra in extras]
    return pytest.mark.parametrize(
        "environment", marked, ids=extras, indirect=True, scope="session"
    )


@pytest.fixture(scope="session")
def wheel(tmp_path_factory):
    """Return the wheel that was built, or build it."""
    if os.environ.get("WHEEL"):
        return Path(os.environ["WHEEL"]).resolve(strict=True)
    folder = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "-d", folder]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (file,) = folder.glob("*.whl")
    return file


@pytest.fixture(scope="session")
def environment(request, wheel, tmp_path_factory):
    """Make an environment without pip, and install into it from outside."""
    extra = request.param
    folder = tmp_path_factory.mktemp(f"{extra}-")
    venv.create(folder / "venv", symlinks=True)
    python = folder / "venv" / "bin" / "python"
    wanted = [f"{wheel}[{extra}]" if extra != "none" else wheel]
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", *wanted]
    done = subprocess.run(pip, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return Environment(extra, python, folder)


@each(EXTRAS)
def test_an_extra_brings_what_it_names(environment):
    """No extra brings another one's library: neither by itself nor by what it depends on."""
    script = f"""
from importlib.util import find_spec
import json
print(json.dumps([library for library in {LIBRARIES} if find_spec(library)]))
"""
    brought = json.loads(environment.run("-c", script))
    assert brought == sorted(EXTRAS[environment.extra])


@each(EXTRAS)
def test_nothing_of_an_extra_is_imported_because_it_is_there(environment):
    """`import partner_auth`, and making an object, load the standard library and the package."""
    script = """
import json, sys
before = set(sys.modules)
from partner_auth import PartnerAuth
PartnerAuth("env://")
print(json.dumps(sorted({name.partition(".")[0] for name in set(sys.modules) - before})))
"""
    loaded = json.loads(environment.run("-c", script))
    assert set(loaded) - sys.stdlib_module_names == {"partner_auth"}


@each(EXTRAS)
def test_what_needs_a_missing_extra_says_how_to_install_it(environment):
    """It says so when it is made, long before it is used, with a command that can be typed."""
    script = f"""
import json
from partner_auth import ConfigurationError, PartnerAuth
missing = {{}}
for library, (_, made) in {MADE}.items():
    try:
        eval(made)
    except ConfigurationError as error:
        missing[library] = str(error)
print(json.dumps(missing))
"""
    missing = json.loads(environment.run("-c", script))
    assert set(missing) == set(MADE) - set(EXTRAS[environment.extra])
    for library, message in missing.items():
        assert message.endswith(f"pip install 'partner-auth[{MADE[library][0]}]'")


@each(EXTRAS)
def test_a_client_s_module_without_the_client_names_the_client(environment):
    """`import partner_auth.httpx` without httpx fails as `import httpx` does, and names the extra."""
    script = f"""
import importlib, json
missing = []
for module in {list(IMPORTED.values())}:
    try:
        importlib.import_module(module)
    except ModuleNotFoundError as error:
        assert "pip install 'partner-auth[" in str(error), str(error)
        missing.append(error.name)
print(json.dumps(missing))
"""
    missing = json.loads(environment.run("-c", script))
    assert set(missing) == set(IMPORTED) - set(EXTRAS[environment.extra])


@each(EXTRAS)
def test_a_program_runs_with_one_extra_alone(environment):
    """See `programs/`: each client's lives through a rotation, a store's is told of its absence."""
    environment.run(PROGRAMS / f"with_{environment.extra}.py")


@each(EXTRAS)
def test_the_command_line_runs_with_one_extra_alone(environment):
    """`python -m partner_auth token` needs none."""
    secret = {"PARTNER_CLIENT_ID": "acme", "PARTNER_SECRET_KEY": "made up for this test" * 2}
    token = environment.run("-m", "partner_auth", "token", **secret)
    assert token.count(".") == 2


@pytest.fixture(scope="session")
def user_s_files(environment):
    """Copy what a user of this extra writes to where none of our settings reach."""
    folder = environment.folder / "user"
    folder.mkdir()
    names = ["options.py", "testing_kit.py", f"with_{environment.extra}.py"]
    for file in filter(Path.exists, [TYPING / name for name in names]):
        shutil.copy(file, folder)
    return folder


@each(["none", *CLIENTS])
def test_mypy_knows_the_types_with_one_client_alone(environment, user_s_files):
    """In strict mode nothing that the documentation promises needs an ignore."""
    check("mypy", "--strict", "--python-executable", environment.python, at=user_s_files)


@each(["none", *CLIENTS])
def test_pyright_knows_the_types_with_one_client_alone(environment, user_s_files):
    """The same in its strict mode."""
    (user_s_files / "pyrightconfig.json").write_text('{"typeCheckingMode": "strict"}')
    check("pyright", "--pythonpath", environment.python, at=user_s_files)


def check(checker, *options, at):
    """Let a type checker of this environment look at a folder, where it finds no settings of ours."""
    command = [sys.executable, "-P", "-m", checker, *options, at]
    done = subprocess.run(command, cwd=at, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
