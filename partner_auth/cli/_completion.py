"""`partner-auth completion`: a script for the shell, drawn from the parser itself."""

from __future__ import annotations

from argparse import Namespace

from partner_auth.cli._output import say
from partner_auth.cli._parser import Command, Parser

_HELP = """\
Print a script that completes commands and options in bash, zsh or fish.

examples:
  eval "$(partner-auth completion bash)"      in ~/.bashrc
  eval "$(partner-auth completion zsh)"       in ~/.zshrc, after compinit
  partner-auth completion fish | source       in ~/.config/fish/config.fish"""
SHELLS = ("bash", "zsh", "fish")


def add_options(parser: Parser) -> None:
    """Declare the command's options."""
    parser.add_argument("shell", choices=SHELLS, help="the shell")


def run(arguments: Namespace) -> int:
    """Print it."""
    write = {"bash": _bash, "zsh": _zsh, "fish": _fish}[arguments.shell]
    say(write(arguments.parser))
    return 0


def _words(parser: Parser) -> str:
    return " ".join(spelling for spellings, _, _ in parser.described() for spelling in spellings)


def _arguments(name: str) -> tuple[str, ...]:
    return SHELLS if name == COMMAND.name else ()


def _bash(parser: Parser) -> str:
    cases = "\n".join(
        f'        {name}) words="{" ".join([_words(command), *_arguments(name)])}" ;;'
        for name, command in parser.commands.items()
    )
    return f"""\
_partner_auth() {{
    local word=${{COMP_WORDS[COMP_CWORD]}} words="{_words(parser)} {" ".join(parser.commands)}"
    case ${{COMP_WORDS[1]}} in
{cases}
    esac
    if ((COMP_CWORD == 1)); then words="{_words(parser)} {" ".join(parser.commands)}"; fi
    COMPREPLY=($(compgen -W "$words" -- "$word"))
}}
complete -o default -F _partner_auth partner-auth"""


def _zsh(parser: Parser) -> str:
    commands = "\n".join(
        f"        {_quoted(f'{name}:{summary}')}" for name, summary in _summaries(parser)
    )
    cases = "\n".join(
        f"        {name}) _arguments {' '.join(_zsh_options(name, command))} ;;"
        for name, command in parser.commands.items()
    )
    return f"""\
_partner_auth() {{
    local -a commands=(
{commands}
    )
    if ((CURRENT == 2)); then
        _describe command commands
        return
    fi
    shift words
    ((CURRENT--))
    case $words[1] in
{cases}
    esac
}}
compdef _partner_auth partner-auth"""


def _zsh_options(name: str, command: Parser) -> list[str]:
    options = [
        _quoted(f"{spelling}[{_plain(text)}]{':value:_files' if takes_value else ''}")
        for spellings, text, takes_value in command.described()
        for spelling in spellings
    ]
    shells = _arguments(name)
    return [*options, _quoted(f":shell:({' '.join(shells)})")] if shells else options


def _fish(parser: Parser) -> str:
    lines = ["complete -c partner-auth -f"]
    for name, summary in _summaries(parser):
        lines.append(
            f"complete -c partner-auth -n __fish_use_subcommand -a {name} -d {_quoted(summary)}"
        )
    for name, command in parser.commands.items():
        seen = f"complete -c partner-auth -n '__fish_seen_subcommand_from {name}'"
        lines += [f"{seen} -a {_quoted(' '.join(_arguments(name)))}"] if _arguments(name) else []
        for spellings, text, takes_value in command.described():
            names = " ".join(
                f"-l {spelling[2:]}" if spelling.startswith("--") else f"-s {spelling[1:]}"
                for spelling in spellings
            )
            lines.append(f"{seen} {names}{' -r' if takes_value else ''} -d {_quoted(text)}")
    return "\n".join(lines)


def _summaries(parser: Parser) -> list[tuple[str, str]]:
    return [(name, command.summary) for name, command in parser.commands.items()]


def _plain(text: str) -> str:
    """Leave out what zsh's `_arguments` takes for its own signs."""
    return text.translate(str.maketrans("[]", "()"))


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


COMMAND = Command("completion", "print a completion script for your shell", _HELP, add_options, run)
