"""The grammar: options that commands share, and errors that repeat nothing of what was typed."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, NoReturn
from urllib.parse import urlsplit

from partner_auth._origins import origin_of_url

USAGE_ERROR = 2
_LONGEST_LIFETIME = 366 * 86_400
_DESCRIPTION = """\
Sign requests to a partner's API, and find out why it refuses them.

The secret comes from where your program takes it: PARTNER_AUTH_SOURCE, else
PARTNER_CLIENT_ID and PARTNER_SECRET_KEY. No secret is ever an argument: other
users of the machine can read the list of processes."""
_EXAMPLES = """\
examples:
  partner-auth doctor --url https://api.partner.example/portfolio
  curl -H "Authorization: Bearer $(partner-auth token)" \\
    https://api.partner.example/portfolio

exit codes: 0 all is well, 1 a failure, 2 the command line was wrong"""
# What argparse quotes in its messages may be a secret in the wrong place.
_QUOTING = re.compile(
    r"(invalid (?:[\w ]+ value|choice)|ignored explicit argument):? .*?(?=$| \(choose)", re.DOTALL
)
_UNKNOWN = "unrecognized arguments: "
_OPTION = re.compile(r"--[a-z][a-z-]{0,20}")


class Command(NamedTuple):
    """One module of the package `cli`: `run` does it, and returns the exit code."""

    name: str
    summary: str
    text: str
    add_options: Callable[[Parser], None]
    run: Callable[[argparse.Namespace], int]


class Parser(argparse.ArgumentParser):
    """A parser that wants options in full and repeats no argument in an error."""

    def __init__(self, **options: Any) -> None:
        """Keep the line breaks of our texts."""
        options.setdefault("allow_abbrev", False)
        options.setdefault("formatter_class", _Help)
        super().__init__(**options)
        self.commands: dict[str, Parser] = {}
        self.summary = ""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong on stderr and exit with 2."""
        self.print_usage(sys.stderr)
        self.exit(USAGE_ERROR, f"{self.prog}: {quoting_nothing(message)}\n")

    def described(self) -> list[tuple[tuple[str, ...], str, bool]]:
        """Return the options: spellings, help, and whether a value follows."""
        return [
            (tuple(action.option_strings), action.help or "", action.nargs != 0)
            for action in self._actions
            if action.option_strings
        ]


def parser_of(commands: Sequence[Command]) -> Parser:
    """Return the parser of the whole command line."""
    parser = Parser(prog="partner-auth", description=_DESCRIPTION, epilog=_EXAMPLES)
    parser.add_argument("--version", action=_Version, help="show the version and exit")
    subparsers = parser.add_subparsers(
        title="commands", metavar="COMMAND", required=True, parser_class=Parser
    )
    for command in commands:
        text, _, examples = command.text.partition("\nexamples:\n")
        made = subparsers.add_parser(
            command.name,
            help=command.summary,
            description=text,
            epilog=f"examples:\n{examples}" if examples else None,
        )
        command.add_options(made)
        made.set_defaults(run=command.run, parser=parser)
        made.summary = command.summary
        parser.commands[command.name] = made
    return parser


def add_source(parser: Parser) -> None:
    """Declare where the secret is, and how tokens are made of it."""
    parser.add_argument(
        "--source",
        metavar="URL",
        help="where the secret is, such as vault://secret/partner (default: as in your program)",
    )
    parser.add_argument(
        "--algorithm", default="HS256", metavar="NAME", help="of the signature (default: HS256)"
    )
    parser.add_argument(
        "--lifetime",
        type=a_lifetime,
        default=900.0,
        metavar="SECONDS",
        help="of a token (default: 900)",
    )


def add_url(parser: Parser, text: str) -> None:
    """Declare the partner's URL."""
    parser.add_argument("--url", type=a_url, metavar="URL", help=text)


def a_url(text: str) -> str:
    """Return an http or https URL without user and password."""
    if origin_of_url(text) is None or "@" in urlsplit(text).netloc or not text.isprintable():
        raise argparse.ArgumentTypeError(
            "a URL such as https://api.partner.example/path is wanted, without a password in it"
        )
    return text


def a_lifetime(text: str) -> float:
    """Return seconds from 1 second to 366 days."""
    return _number(text, 1, _LONGEST_LIFETIME)


def an_interval(text: str) -> float:
    """Return seconds from 0.01 to a day."""
    return _number(text, 0.01, 86_400)


def a_count(text: str) -> int:
    """Return a whole number, at least 1."""
    return int(_number(text, 1, 1_000_000_000))


def _number(text: str, least: float, most: float) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if least <= number <= most:
        return number
    raise argparse.ArgumentTypeError(f"a number from {least:g} to {most:g} is wanted")


def quoting_nothing(message: str) -> str:
    """Take out of one of argparse's messages what was typed, but for the names of options."""
    if message.startswith(_UNKNOWN):
        words = message.removeprefix(_UNKNOWN).split()
        names = [match[0] for word in words if (match := _OPTION.fullmatch(word.split("=")[0]))]
        if names:
            return f"there is no option {', '.join(names)}"
        return "there are more arguments than it takes; they are not shown, one may be a secret"
    return _QUOTING.sub(r"\1", message)


class _Help(argparse.RawDescriptionHelpFormatter):
    """Keep our line breaks, and leave room for the longest command."""

    _action_max_length: int

    def __init__(self, prog: str) -> None:
        super().__init__(prog)
        self._action_max_length = 16


class _Version(argparse.Action):
    """Look the version up only when it is asked for."""

    def __init__(self, option_strings: Sequence[str], dest: str, help: str | None = None) -> None:  # noqa: A002  argparse's own name
        super().__init__(option_strings, dest, nargs=0, default=argparse.SUPPRESS, help=help)

    def __call__(self, parser: argparse.ArgumentParser, *_rest: object) -> None:
        from importlib.metadata import version

        print(f"partner-auth {version('partner-auth')}")
        parser.exit()
