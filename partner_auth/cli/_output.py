"""What people see: results on stdout, all else on stderr; on a terminal by rich, if installed."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

WIDTH, NARROWEST, WIDEST = 80, 40, 100


def say(text: str = "") -> None:
    """Write a line of a result, at once: who reads a pipe wants it now."""
    print(f"{text}\n", end="", flush=True)  # one write: events come from several threads


def complain(text: str) -> None:
    """Write a line that is no result."""
    print(f"partner-auth: {text}", file=sys.stderr, flush=True)


def width() -> int:
    """Return how many columns there are; 80 in a pipe, unless `COLUMNS` says otherwise."""
    return max(NARROWEST, min(WIDEST, shutil.get_terminal_size((WIDTH, 24)).columns))


def wrapped(text: str, first: str = "", rest: str = "") -> str:
    """Break a text into lines; `first` stands before the first line, `rest` before the others."""
    return textwrap.fill(
        text,
        width(),
        initial_indent=first,
        subsequent_indent=rest,
        break_long_words=False,
        break_on_hyphens=False,
    )


def console() -> Console | None:
    """Return rich's console where it is installed and stdout is a terminal."""
    if not sys.stdout.isatty() or find_spec("rich") is None:
        return None
    from rich.console import Console

    return Console(
        color_system=None if os.environ.get("NO_COLOR") else "auto",
        highlight=False,
        markup=False,
        emoji=False,
        width=width(),
    )


def printable(text: str, longest: int = 200) -> str:
    """Return a stranger's text in one line, without what a terminal would obey."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= longest else line[: longest - 1] + "…"
