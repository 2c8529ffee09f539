"""What holds for every command: usage, help, exit codes, output, and what is imported for it."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from partner_auth.cli import COMMANDS, main

SECRET = "s3cr3t-in-the-wrong-place-0123456789"
OUTSIDE = ["requests", "httpx", "httpx2", "boto3", "botocore", "hvac", "rich", "urllib3", "aiohttp"]


def too_long(text):
    """Return the lines of more than 80 columns."""
    return [line for line in text.splitlines() if len(line) > 80]


def test_without_a_command_it_explains_itself(run):
    """The help goes to stderr, and the exit code is that of wrong usage."""
    done = run()
    assert (done.code, done.out) == (2, "")
    assert "partner-auth doctor --url" in done.err


def test_help_is_a_result(run):
    """`--help` goes to stdout, with code 0."""
    done = run("--help")
    assert (done.code, done.err) == (0, "")


@pytest.mark.parametrize("name", [command.name for command in COMMANDS])
def test_each_command_s_help_teaches_by_example(run, name):
    """It has an example that begins with the program's name."""
    done = run(name, "--help")
    assert done.code == 0
    assert f"partner-auth {name}" in done.out.partition("examples:")[2]


@pytest.mark.parametrize("words", [[], *([command.name] for command in COMMANDS)], ids=str)
def test_help_fits_into_80_columns(run, monkeypatch, words):
    """In a terminal of 80 columns nothing is broken by it."""
    monkeypatch.setenv("COLUMNS", "80")
    assert too_long(run(*words, "--help").out) == []


def test_the_exit_codes_are_in_the_help(run):
    """Whoever writes a script finds them there."""
    for name in ("token", "doctor", "watch", "serve"):
        assert "Exit codes: 0" in run(name, "--help").out


def test_the_version_is_that_of_the_package(run):
    """`--version` says which one is installed."""
    assert run("--version").out == "partner-auth 0.1.0\n"


@pytest.mark.parametrize(
    "words",
    [
        ["token", SECRET],
        [SECRET],
        ["token", f"--secret-key={SECRET}"],
        ["token", "--secret-key", SECRET],
        ["token", f"--json={SECRET}"],
        ["token", "--lifetime", SECRET],
        ["token", "--url", SECRET],
        ["token", "--url", f"https://me:{SECRET}@api.partner.example/"],
        ["watch", "--every", SECRET],
        ["completion", SECRET],
        ["token", "--", SECRET],
    ],
    ids=lambda words: " ".join(words).replace(SECRET, "…"),
)
def test_a_usage_error_repeats_nothing_that_was_typed(run, words):
    """A secret in the wrong place goes into the process list, but not into a log as well."""
    done = run(*words)
    assert (done.code, done.out) == (2, "")
    assert SECRET not in done.err
    assert "usage: partner-auth" in done.err


def test_a_usage_error_names_the_unknown_option(run):
    """Its value isn't shown, its name is."""
    assert "no option --secret-key" in run("token", f"--secret-key={SECRET}").err


def test_options_are_not_abbreviated(run):
    """`--alg` is no `--algorithm`: a script would break when another option appears."""
    assert run("token", "--alg", "HS512").code == 2


def test_a_secret_given_as_the_source_is_not_shown(run):
    """The message says what a source URL is."""
    done = run("token", "--source", SECRET)
    assert done.code == 1
    assert "no source URL" in done.err
    assert SECRET not in done.err


def test_no_option_takes_a_secret(run):
    """No help text offers one."""
    for command in COMMANDS:
        text = run(command.name, "--help").out
        assert not any(word in text for word in ("--secret", "--key", "--password", "--token"))


@pytest.mark.parametrize("command", ["token", "doctor", "watch"])
def test_no_extra_is_imported(configured, command):
    """All of it works with the standard library and PyJWT."""
    words = [command, "--url", configured.url]
    words += ["--times", "1"] if command == "watch" else []
    script = (
        "import sys; from partner_auth.cli import main; code = main(sys.argv[1:]);"
        f"print(code, [name for name in {OUTSIDE} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-W", "error", "-c", script, *words],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.stderr == "0 []\n"


def test_the_module_can_be_run(start, configured):
    """`python -m partner_auth` is the same program."""
    out, err = start("token").communicate(timeout=60)
    assert (out.count("."), err) == (2, "")


def test_the_installed_script_is_the_same_program():
    """`partner-auth` is declared, and leads to `main`."""
    from importlib.metadata import entry_points

    (script,) = entry_points(group="console_scripts", name="partner-auth")
    assert script.load() is main


def test_a_reader_that_goes_away_is_no_error(start, configured):
    """`partner-auth doctor | head -1` shows no traceback."""
    reading, writing = os.pipe()
    os.close(reading)
    process = start("doctor", stdout=writing)
    os.close(writing)
    _, err = process.communicate(timeout=60)
    assert err == ""


def test_an_old_terminal_s_encoding_is_enough(start):
    """What ASCII lacks is written as an escape, and nothing fails."""
    out, err = start("doctor", env={"PYTHONIOENCODING": "ascii"}).communicate(timeout=60)
    assert (err, out.isascii()) == ("", True)
    assert "https://\\u2026" in out


def test_a_pipe_gets_no_escape_codes(start, configured):
    """Nor with a TERM that knows colours."""
    out, _ = start("doctor", env={"TERM": "xterm-256color"}).communicate(timeout=60)
    assert "\x1b" not in out
    assert too_long(out) == []


def test_a_warning_is_one_line(run, monkeypatch):
    """A short key: no file name, no line of code."""
    monkeypatch.setenv("PARTNER_CLIENT_ID", "acme")
    monkeypatch.setenv("PARTNER_SECRET_KEY", "short")
    done = run("token")
    assert done.code == 0
    assert done.err.startswith("partner-auth: warning: the secret key of client 'acme' is shorter")
    assert done.err.count("\n") == 1


def test_a_failure_is_said_once(start):
    """The library's own log is not written beside the message."""
    _, err = start("token", "--source", "env://NOBODY_").communicate(timeout=60)
    assert err.startswith("partner-auth: EnvSource('NOBODY_'): no credential is configured")
    assert err.count("NOBODY_CLIENT_ID and") == 1


def test_json_is_json_alone(run, configured):
    """Each command's `--json` can be read by a program."""
    assert isinstance(json.loads(run("doctor", "--json").out), dict)
    assert isinstance(json.loads(run("token", "--json").out), dict)
