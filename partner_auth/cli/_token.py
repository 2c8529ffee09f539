"""`partner-auth token`: one token, for whoever is no HTTP client of Python's."""

from __future__ import annotations

import base64
import json
from argparse import Namespace
from typing import Any

from partner_auth import PartnerAuth
from partner_auth.cli._output import say
from partner_auth.cli._parser import Command, Parser, add_source, add_url

_HELP = """\
Print the token that a request would carry now, and nothing else on stdout.

It is valid for 15 minutes and lets its holder act as you: let it go neither
into a log nor into the history of your shell.

Exit codes: 0 printed, 1 no token could be had (the reason is on stderr),
2 the command line was wrong.

examples:
  curl -H "Authorization: Bearer $(partner-auth token)" \\
    https://api.partner.example/portfolio
  partner-auth token --source vault://secret/partner/acme
  partner-auth token --json | jq .expires_at"""


def add_options(parser: Parser) -> None:
    """Declare the command's options."""
    add_url(parser, "for a request to this URL: refuse where it would go unsigned")
    add_source(parser)
    parser.add_argument(
        "--json", action="store_true", help="print the token with its header, claims and expiry"
    )


def run(arguments: Namespace) -> int:
    """Print it."""
    auth = make_auth(arguments)
    token = auth.token(arguments.url)
    say(json.dumps(_described(auth, token), indent=2) if arguments.json else token)
    return 0


def make_auth(arguments: Namespace) -> PartnerAuth:
    """Return what signs as the options say."""
    return PartnerAuth(arguments.source, algorithm=arguments.algorithm, lifetime=arguments.lifetime)


def claims_of(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a token's header and claims."""
    header, claims, _signature = token.split(".")
    return _decoded(header), _decoded(claims)


def _decoded(part: str) -> dict[str, Any]:
    decoded: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return decoded


def _described(auth: PartnerAuth, token: str) -> dict[str, Any]:
    status = auth.status()
    header, claims = claims_of(token)
    expires = status.token_expires_at
    return {
        "token": token,
        "header": header,
        "claims": claims,
        "expires_at": None if expires is None else expires.isoformat(),
        "source": status.source,
        "version": status.version,
    }


COMMAND = Command("token", "print a token", _HELP, add_options, run)
