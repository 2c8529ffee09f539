"""What is not installed is named with the command that installs it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def extra(name: str, package: str) -> Iterator[None]:
    """Import what the extra `name` brings. Raise `ModuleNotFoundError` with the remedy where `package` is missing."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != package:
            raise
        text = f"{package} is not installed: pip install 'partner-auth[{name}]'"
        raise ModuleNotFoundError(text, name=error.name, path=error.path) from None
