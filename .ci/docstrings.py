"""Fail when a public docstring explains a parameter that is not there; the docs build does not."""

from __future__ import annotations

import logging
import sys

import griffe

PAGES = ["partner_auth", "partner_auth.events", "partner_auth.testing"]  # docs/reference.md


class Count(logging.Handler):
    """Show each warning and count it."""

    seen = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Show one warning."""
        self.seen += 1
        sys.stderr.write(record.getMessage() + "\n")


def read(thing: griffe.Object) -> None:
    """Parse the docstring of `thing` and of all that is public in it."""
    if thing.docstring is not None:
        _ = thing.docstring.parsed
    for name, member in thing.members.items():
        if name.startswith("_") or not _path(member).startswith("partner_auth."):
            continue
        target = member.final_target if isinstance(member, griffe.Alias) else member
        if not target.is_module:
            read(target)


def _path(member: griffe.Object | griffe.Alias) -> str:
    return member.target_path if isinstance(member, griffe.Alias) else member.path


count = Count(logging.WARNING)
logging.getLogger("griffe").addHandler(count)
package = griffe.load("partner_auth", search_paths=["."], docstring_parser="google")
for page in PAGES:
    read(package if page == "partner_auth" else package[page.partition(".")[2]])
sys.exit(count.seen > 0)
