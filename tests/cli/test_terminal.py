"""On a terminal of 80 columns: a real one, as the kernel makes it."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import termios

import pytest

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


@pytest.fixture
def on_a_terminal(start, configured):
    """Run a command on a terminal of 80 columns, and return what was written there."""

    def called(*words, **env):
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        process = start(*words, stdout=theirs, env={"TERM": "xterm-256color"} | env)
        os.close(theirs)
        written = b""
        while True:
            try:
                part = os.read(ours, 65_536)
            except OSError:  # how Linux tells that the other end is closed
                break
            if not part:
                break
            written += part
        os.close(ours)
        process.wait(timeout=60)
        return written.decode()

    return called


def plain(text):
    """Return what is seen: without colours, and with plain line ends."""
    return ESCAPES.sub("", text).replace("\r\n", "\n")


def test_the_report_has_colours(on_a_terminal):
    """Rich is installed here."""
    assert "\x1b[32mok" in on_a_terminal("doctor")


def test_no_color_is_honoured(on_a_terminal):
    """No escape codes at all, not for bold print either."""
    assert "\x1b" not in on_a_terminal("doctor", NO_COLOR="1", PARTNER_SECRET_KEY="short")


def test_a_dumb_terminal_gets_plain_text(on_a_terminal):
    """As Emacs's shell and some CI systems are."""
    assert "\x1b" not in on_a_terminal("doctor", TERM="dumb")


def test_the_report_fits(on_a_terminal):
    """No line is broken by the terminal."""
    lines = plain(on_a_terminal("doctor")).splitlines()
    assert max(map(len, lines)) <= 80


def test_every_word_is_there_without_rich(on_a_terminal, run):
    """What a pipe gets says the same."""

    def words(text):
        text = re.sub(r"\d+ ms", "… ms", text)
        return re.sub(r"\s+", "", text)

    assert words(plain(on_a_terminal("doctor"))) == words(run("doctor").out)


def test_a_token_has_no_colours(on_a_terminal):
    """It can be copied from the screen."""
    assert re.fullmatch(r"[\w.-]+\r\n", on_a_terminal("token"))
