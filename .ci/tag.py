"""Fail when a tag is not the version in pyproject.toml, or the changelog has nothing on it."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent


def fault(tag: str) -> str | None:
    """Return what is wrong with a tag, if anything is."""
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    version = pyproject["project"]["version"]
    if tag != f"v{version}":
        return f"the tag is {tag}, but pyproject.toml has version {version}: tag v{version}"
    headings = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8").splitlines()
    if f"## {version}" not in headings:
        return f"CHANGELOG.md has no line '## {version}': write what has changed under it"
    return None


sys.exit(fault(*sys.argv[1:]))
