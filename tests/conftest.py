"""What holds for every test: a clean environment, the plug-in under test, nothing skipped in CI."""

from __future__ import annotations

import importlib.util
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

import partner_auth

# Here and not by its entry point, which pytest loads before pytest-cov begins to measure.
pytest_plugins = ["partner_auth.pytest_plugin"]

collect_ignore = ["typing"]  # read by mypy and pyright, run by nobody
if importlib.util.find_spec("niquests") is None:
    collect_ignore.append("niquests")  # run in an environment of its own (nox -s niquests)

IN_CI = os.environ.get("CI") == "true"
FOREIGN = re.compile(r"(?:PARTNER|VAULT|BAO|AWS)_|(?:.*_)?PROXY$", re.IGNORECASE)


def pytest_configure() -> None:
    """Forget the developer's own stores, credentials and proxies, in children too.

    And a Ctrl-C that whoever started this in the background has switched off.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for name in filter(FOREIGN.match, list(os.environ)):
        del os.environ[name]
    os.environ["AWS_EC2_METADATA_DISABLED"] = "true"
    os.environ["AWS_CONFIG_FILE"] = os.environ["AWS_SHARED_CREDENTIALS_FILE"] = os.devnull


def pytest_report_header() -> str:
    """Say which copy of the package is tested: the checkout or the wheel."""
    return f"partner_auth: {Path(partner_auth.__file__).parent}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Iterator[None]:
    """Turn a skip into a failure in CI."""
    return _nothing_skipped((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Iterator[None]:
    """Turn the skip of a whole module into an error in CI."""
    return _nothing_skipped((yield))


def _nothing_skipped(report):
    if IN_CI and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"nothing may skip in CI: {report.longrepr[-1]}"
    return report
