"""`partner-auth watch`: what a running rotation looks like from here, event by event."""

from __future__ import annotations

import json
import sys
import time
from argparse import Namespace
from dataclasses import fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from partner_auth.cli._findings import hidden_from
from partner_auth.cli._output import say, wrapped
from partner_auth.cli._parser import Command, Parser, a_count, add_source, add_url, an_interval
from partner_auth.cli._reads import let_reads_tell
from partner_auth.events import (
    ClockSkewLearned,
    CredentialFetched,
    CredentialRotated,
    Event,
    RequestRejected,
    RequestResent,
    ServedStale,
    SourceFailed,
)
from partner_auth.exceptions import CredentialError

if TYPE_CHECKING:
    from partner_auth.cli._http import Reply, SignedRequests

_HELP = """\
Follow a rotation from this machine: read the store, or with a URL send a signed
GET, every few seconds, and print a line for each event. It is a process of its
own: it sees what your program sees, not your program.

With a URL a 401 is mended as PartnerAuth mends it. Ctrl-C ends it.

Exit codes: 0 ended by Ctrl-C or after --times, 1 it could not begin, 2 the
command line was wrong.

examples:
  partner-auth watch
  partner-auth watch --url https://api.partner.example/portfolio --every 1
  partner-auth watch --json | jq -c 'select(.event == "CredentialRotated")'"""

# A token signed is news for a program alone, by --json.
_NAMES = {
    "CredentialFetched": "read",
    "CredentialRotated": "rotated",
    "RequestResent": "resent",
    "RequestRejected": "refused",
    "ServedStale": "stale",
    "ClockSkewLearned": "clock",
    "SourceFailed": "failed",
    "Status": "status",
    "Answer": "answer",
}


def add_options(parser: Parser) -> None:
    """Declare the command's options."""
    add_url(parser, "send a signed GET there each time, in place of a read of the store")
    add_source(parser)
    parser.add_argument(
        "--every", type=an_interval, default=5.0, metavar="SECONDS", help="the pause (default: 5)"
    )
    parser.add_argument("--times", type=a_count, metavar="N", help="end after so many")
    parser.add_argument("--json", action="store_true", help="print a JSON object a line")


def run(arguments: Namespace) -> int:
    """Follow until Ctrl-C."""
    from partner_auth.cli._http import SignedRequests  # http.client is half of an import

    tell = _tell_json if arguments.json else _tell
    auth = SignedRequests(
        arguments.source,
        algorithm=arguments.algorithm,
        lifetime=arguments.lifetime,
        on_event=lambda event: tell(type(event).__name__, _fields(event), _words(event)),
    )
    kind = "Status" if arguments.url is None else "Answer"
    last, left = "", arguments.times
    try:
        while left is None or left > 0:
            outcome = _once(auth, arguments.url)
            let_reads_tell()
            if outcome != last:
                tell(kind, {"outcome": outcome}, outcome)
            last, left = outcome, left and left - 1
            if left != 0:
                time.sleep(arguments.every)
    except KeyboardInterrupt:
        print(file=sys.stderr)  # the prompt is not to stand behind ^C
    return 0


def _once(auth: SignedRequests, url: str | None) -> str:
    """Do one round, and say how things stand."""
    try:
        if url is not None:
            return _outcome(auth.get(url))
        auth.refresh()
    except CredentialError:
        pass  # the event SourceFailed has told
    status = auth.status()
    if status.client_id is None:
        return status.state
    return f"{status.state}, version {status.version!r} of client {status.client_id!r}"


def _outcome(answer: Reply | Exception) -> str:
    if not isinstance(answer, Exception):
        return str(answer.status)
    from partner_auth.cli._check_partner import trouble

    return f"none: {trouble(answer)[0]}"


def _tell(kind: str, _told: dict[str, object], words: str) -> None:
    if kind not in _NAMES:
        return
    head = f"{datetime.now(UTC):%H:%M:%SZ}  {_NAMES[kind]:<8} "
    say(wrapped(words, head, " " * len(head)))


def _tell_json(kind: str, told: dict[str, object], _in_words: str) -> None:
    at = datetime.now(UTC).isoformat(timespec="milliseconds")
    say(json.dumps({"time": at, "event": kind, **told}, default=str))


def _fields(event: Event) -> dict[str, object]:
    told = {field.name: getattr(event, field.name) for field in fields(event)}
    if isinstance(event, RequestRejected):
        told["challenge"] = hidden_from(event.challenge)
    return told


def _words(event: Event) -> str:
    match event:
        case CredentialFetched():
            new = ", new" if event.changed else ""
            return f"version {event.version!r} in {event.took * 1000:.0f} ms{new}"
        case CredentialRotated():
            where = f" at {event.origin}" if event.origin else ""
            return f"version {event.previous_version!r} -> {event.version!r}{where}"
        case RequestResent():
            return f"with version {event.version!r} ({event.why}), send {event.sends}"
        case RequestRejected():
            challenge = hidden_from(event.challenge)
            tried = ", ".join(map(repr, event.tried))
            return f"{event.status}, tried {tried}: {event.why}{challenge and ' | '}{challenge}"
        case ServedStale():
            return f"version {event.version!r}, {event.age:.0f} s after it was read: {event.error}"
        case ClockSkewLearned():
            return f"the partner's is {event.offset:+.0f} s from ours"
        case SourceFailed():
            held = "what is held serves on" if event.held else "nothing is held"
            return f"{event.message} ({held})"
        case _:
            return repr(event)


COMMAND = Command("watch", "follow a rotation, event by event", _HELP, add_options, run)
