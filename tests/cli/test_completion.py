"""`partner-auth completion`, in the shells themselves."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

from partner_auth.cli import COMMANDS

NAMES = [command.name for command in COMMANDS]


# Those that are here: bash is everywhere, zsh and fish are not.
SHELLS = [name for name in ("bash", "zsh", "fish") if shutil.which(name)]
OPTIONS = {"bash": "--norc", "zsh": "-f", "fish": "--no-config"}
ASKING = {
    "bash": 'eval "$SCRIPT"; COMP_WORDS=(partner-auth do); COMP_CWORD=1; _partner_auth; '
    "echo $COMPREPLY",
    "zsh": 'autoload -Uz compinit; compinit -u -D; eval "$SCRIPT"; print $_comps[partner-auth]',
    "fish": "eval $SCRIPT; complete -C 'partner-auth do'",
}


def shell(name, script, ask):
    """Ask a shell that reads none of the user's files, and return the words of its answer."""
    done = subprocess.run(
        [name, OPTIONS[name], "-c", ask],
        env=os.environ | {"SCRIPT": script},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split()


@pytest.fixture
def bash(run):
    """Complete a line in bash: the words that are offered for the last one."""
    script = run("completion", "bash").out

    def offered(*words):
        line = " ".join(f"'{word}'" for word in words)
        ask = f"COMP_WORDS=({line}); COMP_CWORD={len(words) - 1}; _partner_auth"
        return shell("bash", script, f'eval "$SCRIPT"; {ask}; echo "${{COMPREPLY[@]}}"')

    return offered


def test_bash_completes_commands(bash):
    """All of them, and those that begin so."""
    assert set(NAMES) <= set(bash("partner-auth", ""))
    assert bash("partner-auth", "do") == ["doctor"]


def test_bash_completes_the_options_of_a_command(bash):
    """Those of that one alone."""
    assert bash("partner-auth", "doctor", "--u") == ["--url"]
    assert "--times" in bash("partner-auth", "watch", "--")
    assert "--times" not in bash("partner-auth", "token", "--")


def test_bash_completes_the_name_of_a_shell(bash):
    """The one argument that a command has."""
    assert bash("partner-auth", "completion", "z") == ["zsh"]


@pytest.mark.parametrize("name", SHELLS)
def test_the_shell_takes_the_script(run, name):
    """It is read without an error, and knows what to do for `partner-auth do`."""
    answer = shell(name, run("completion", name).out, ASKING[name])
    assert answer[0] == ("_partner_auth" if name == "zsh" else "doctor")


@pytest.mark.parametrize("name", ["bash", "zsh", "fish"])
def test_every_option_is_in_the_script(run, name):
    """It is drawn from the parser, so it can't fall behind."""
    script = run("completion", name).out
    for command in NAMES:
        for word in run(command, "--help").out.split():
            if word.startswith("--") and word.isascii():
                assert word.strip("-]),") in script
