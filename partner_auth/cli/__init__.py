"""The command line: `partner-auth`, or `python -m partner_auth`; works without any extra."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from io import TextIOWrapper
from typing import TextIO

from partner_auth.cli import _completion, _doctor, _serve, _token, _watch
from partner_auth.cli._output import complain
from partner_auth.cli._parser import parser_of
from partner_auth.exceptions import PartnerAuthError, PartnerAuthWarning

__all__ = ["main"]

COMMANDS = tuple(m.COMMAND for m in (_token, _doctor, _watch, _serve, _completion))
FAILED, USAGE, INTERRUPTED = 1, 2, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0, 1 for a failure, 2 for wrong usage.

    Args:
        argv: the words behind the program's name; None: those that it was started with.
    """
    words = sys.argv[1:] if argv is None else list(argv)
    parser = parser_of(COMMANDS)
    if not words:
        parser.print_help(sys.stderr)
        return USAGE
    try:
        arguments = parser.parse_args(words)
    except SystemExit as stop:  # argparse has said why
        return stop.code if isinstance(stop.code, int) else FAILED
    try:
        with _told_to_people():
            code: int = arguments.run(arguments)
            sys.stdout.flush()
    except PartnerAuthError as error:
        complain(str(error))
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        _close_quietly()
    else:
        return code
    return FAILED


@contextmanager
def _told_to_people() -> Iterator[None]:
    """Say warnings in a line, keep the log quiet, and write whatever can't be encoded as it can."""
    quiet = logging.NullHandler()  # else Python writes WARNING lines to stderr by itself
    log = logging.getLogger("partner_auth")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    log.addHandler(quiet)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("always", PartnerAuthWarning)
            warnings.showwarning = _shown
            yield
    finally:
        log.removeHandler(quiet)


def _shown(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,  # noqa: ARG001  a `showwarning` has it
    line: str | None = None,
) -> None:
    if issubclass(category, PartnerAuthWarning):
        complain(f"warning: {message}")
    else:
        complain(warnings.formatwarning(message, category, filename, lineno, line).rstrip())


def _close_quietly() -> None:
    """Let the interpreter flush into nothing: who read our output has gone (`| head`)."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
