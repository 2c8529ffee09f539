"""`partner-auth doctor`: the guide's troubleshooting chapter as checks."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Callable, Iterator
from dataclasses import asdict

from partner_auth.cli._findings import FAILURE, OK, WARNING, Case, Check, Finding
from partner_auth.cli._output import console, say, wrapped
from partner_auth.cli._parser import Command, Parser, add_source, add_url

_HELP = """\
Find out why the partner says "Invalid Token", "Token Expired" or
"Unauthorized": packages, variables, store, secret, key, token, clock, URL,
proxy, and a live request that shows which secret the partner accepts: the
current one, the pending one, the previous one.

Each line is ok, a warning or a failure, with its reason and what to do. No
secret and no token is shown, so the report can go into a ticket. With a URL it
sends up to nine GET requests there, and follows no redirect.

Exit codes: 0 no failure (there may be warnings), 1 a failure, 2 the command
line was wrong.

examples:
  partner-auth doctor
  partner-auth doctor --url https://api.partner.example/portfolio
  partner-auth doctor --source vault://secret/partner/acme --json"""
_STYLES = {OK: "green", WARNING: "yellow", FAILURE: "bold red"}


def add_options(parser: Parser) -> None:
    """Declare the command's options."""
    add_url(parser, "of the partner, a path that wants a token (default: PARTNER_BASE_URL)")
    add_source(parser)
    parser.add_argument("--json", action="store_true", help="print the report as JSON")


def run(arguments: Namespace) -> int:
    """Check, print, and return 1 if there was a failure."""
    case = Case(arguments.source, arguments.url, arguments.algorithm, arguments.lifetime)
    show = None if arguments.json else _shower()
    findings: list[Finding] = []
    for finding in examine(case):
        findings.append(finding)
        if show is not None:
            show(finding)
    failed = any(finding.status == FAILURE for finding in findings)
    if arguments.json:
        report = {
            "ok": not failed,
            "accepted": case.accepted or None,
            "next": _next(findings),
            "checks": [asdict(finding) for finding in findings],
        }
        say(json.dumps(report, indent=2))
    else:
        say()
        say(wrapped(_summary(findings)))
    return int(failed)


def examine(case: Case) -> Iterator[Finding]:
    """Make all checks in turn, and yield what they find as they go."""
    for check in _checks():
        try:
            yield from check(case)
        except Exception as error:  # noqa: BLE001  one check's fault must not hide the others
            what = check.__name__.replace("_", " ")
            reason = f"this check broke off ({type(error).__name__})"
            yield Finding(what, FAILURE, reason, "tell whoever maintains partner_auth")


def _checks() -> tuple[Check, ...]:
    from partner_auth.cli import _check_partner, _check_secret, _check_setup

    return (
        _check_setup.installation,
        _check_setup.environment,
        _check_setup.source,
        _check_secret.read_and_sign,
        _check_secret.version,
        _check_secret.alternates,
        _check_setup.url,
        _check_setup.proxies,
        _check_partner.partner,
        _check_secret.key,  # last: it matters less where the partner accepts the key
    )


def _next(findings: list[Finding]) -> str:
    """Return what to do first."""
    for status in (FAILURE, WARNING):
        for finding in findings:
            if finding.status == status and finding.remedy:
                return finding.remedy
    return ""


def _summary(findings: list[Finding]) -> str:
    failures, warnings = (
        sum(finding.status == status for finding in findings) for status in (FAILURE, WARNING)
    )
    if not failures and not warnings:
        return "All is well."
    said = [
        f"{n} {word}{'s' * (n > 1)}"
        for n, word in ((failures, "failure"), (warnings, "warning"))
        if n
    ]
    return f"{' and '.join(said).capitalize()}. What to do first: {_next(findings)}."


def _plain(finding: Finding) -> None:
    head = f"{finding.status:<8} {finding.check:<11} "
    say(wrapped(finding.reason, head, " " * len(head)))
    if finding.remedy:
        say(wrapped(finding.remedy, " " * len(head) + "-> ", " " * (len(head) + 3)))


def _shower() -> Callable[[Finding], None]:
    screen = console()
    if screen is None:
        return _plain

    def show(finding: Finding) -> None:
        from rich.table import Table
        from rich.text import Text

        row = Table.grid(padding=(0, 1))
        row.add_column(width=8)
        row.add_column(width=11)
        row.add_column(overflow="fold")
        what = Text(finding.reason)
        if finding.remedy:
            what.append(f"\n-> {finding.remedy}", style="bold")
        row.add_row(Text(finding.status, style=_STYLES[finding.status]), finding.check, what)
        screen.print(row)

    return show


COMMAND = Command("doctor", "check everything, and say what to do", _HELP, add_options, run)
