"""What `doctor` finds: one line of a report each, and what is known of the case so far."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from partner_auth._credentials import Credential, Secret

OK, WARNING, FAILURE = "ok", "warning", "failure"


@dataclass(frozen=True)
class Finding:
    """One check's outcome: what was seen, and what to do about it."""

    check: str
    status: str
    reason: str
    remedy: str = ""


def ok(check: str, reason: str) -> Finding:
    """Return what is as it should be."""
    return Finding(check, OK, reason)


def warn(check: str, reason: str, remedy: str) -> Finding:
    """Return what works, and deserves a look."""
    return Finding(check, WARNING, reason, remedy)


def fail(check: str, reason: str, remedy: str) -> Finding:
    """Return what keeps requests from being accepted."""
    return Finding(check, FAILURE, reason, remedy)


@dataclass
class Case:
    """What the checks tell each other: each one adds what it learns."""

    source_url: str | None
    url: str | None
    algorithm: str
    lifetime: float
    source: Any = None
    credential: Credential | None = None
    alternates: list[Credential] = field(default_factory=list)
    signs: bool = False  # a token could be made
    may_send: bool = False  # the URL is one that a token may go to
    proxy: str = ""  # the one on the way there
    accepted: str = ""  # which secret the partner took: current, pending, previous
    accepts_as_stored: bool = False


Check = Callable[[Case], Iterator[Finding]]


def hidden_from(text: str, *secrets: Secret | None) -> str:
    """Take secrets, tokens and what looks like one out of a stranger's text."""
    import re

    for secret in secrets:
        value = "" if secret is None else secret.encoded().decode("utf-8", "replace")
        parts = {value, *value.removeprefix("Bearer ").split(".")}
        for part in sorted(parts, key=len, reverse=True):
            if len(part) >= 8:  # noqa: PLR2004  less is a word like any other
                text = text.replace(part, "…")
    return re.sub(r"eyJ[\w.-]+", "…", text)
