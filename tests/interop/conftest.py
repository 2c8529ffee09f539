"""Node's jsonwebtoken, one child process a call."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def node() -> Callable[..., list[dict[str, Any]]]:
    """Return a function that lets Node do a list of jobs (see jsonwebtoken.js)."""
    executable = shutil.which("node")
    if executable is None:
        pytest.skip("Node is not installed: nothing to compare our tokens with")
    if not (HERE / "node_modules" / "jsonwebtoken").is_dir():
        pytest.skip("Node's jsonwebtoken is not installed: `make test` does it, through npm")

    def run(*jobs: dict[str, Any]) -> list[dict[str, Any]]:
        done = subprocess.run(
            [executable, str(HERE / "jsonwebtoken.js")],
            input=json.dumps(jobs, default=_as_text),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


def _as_text(key: object) -> dict[str, str]:
    assert isinstance(key, bytes)
    return {"base64": base64.b64encode(key).decode()}
