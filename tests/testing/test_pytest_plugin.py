"""The fixture, as pytest finds it in a user's project."""

import os
import subprocess
import sys

import pytest

FOUR_TESTS = """
import pytest, requests

URLS = []

@pytest.mark.parametrize("turn", range(4))
def test_portfolio(partner_server, turn):
    assert requests.get(partner_server.url, timeout=5).status_code == 401
    assert len(partner_server.requests) == 1
    for url in URLS:
        with pytest.raises(requests.ConnectionError):
            requests.get(url, timeout=5)
    URLS[:] = [partner_server.url]
"""


def run(*arguments, cwd=None, **environment):
    """Run this Python with the package under test, and return what it did."""
    path = os.pathsep.join(entry for entry in sys.path if entry)
    return subprocess.run(
        [sys.executable, "-W", "error", *arguments],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": path} | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def run_pytest(folder, *arguments):
    """Run pytest on a user's project with this plug-in alone, so without this project's own."""
    (folder / "test_user.py").write_text(FOUR_TESTS)
    plugins = ["-p", "partner_auth.pytest_plugin", "-p", "no:cacheprovider", *arguments]
    return run("-m", "pytest", "-q", *plugins, cwd=folder, PYTEST_DISABLE_PLUGIN_AUTOLOAD="1")


def test_each_test_has_a_partner_of_its_own(tmp_path):
    """It knows of no other test, and the one before is closed."""
    result = run_pytest(tmp_path)
    assert "4 passed" in result.stdout, result.stdout + result.stderr


def test_tests_run_side_by_side(tmp_path):
    """pytest-xdist's workers have a server each."""
    result = run_pytest(tmp_path, "-p", "xdist", "-n", "2")
    assert "4 passed" in result.stdout, result.stdout + result.stderr


def test_the_fixture_explains_itself(tmp_path):
    """`pytest --fixtures` shows what it is."""
    result = run_pytest(tmp_path, "--fixtures")
    assert "Run a partner API on a free loopback port" in result.stdout


def test_its_name_is_declared():
    """Pytest finds it without a `conftest.py`."""
    code = (
        "from importlib.metadata import entry_points as e;"
        "print(e(group='pytest11')['partner_auth'].value)"
    )
    assert run("-c", code).stdout == "partner_auth.pytest_plugin\n"


def test_loading_it_imports_pytest_alone():
    """Every test run of a project pays for this import."""
    code = (
        "import sys, pytest, partner_auth; before = set(sys.modules);"
        "import partner_auth.pytest_plugin; print(*sorted(set(sys.modules) - before))"
    )
    result = run("-c", code)
    assert result.stdout == "partner_auth.pytest_plugin\n", result.stderr


@pytest.mark.parametrize("name", ["jwt", "requests", "httpx", "http.server", "boto3", "hvac"])
def test_importing_the_kit_brings_no_client(name):
    """PyJWT comes with it, and no HTTP library."""
    code = f"import sys, partner_auth.testing; print({name!r} in sys.modules)"
    assert run("-c", code).stdout == f"{name == 'jwt'}\n"
