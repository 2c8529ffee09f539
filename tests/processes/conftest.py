"""Programs in processes of their own, which must end by themselves, in time and in silence."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

import pytest

import partner_auth

# A program that hangs ends with every thread's stack, one that it forked by a signal: faulthandler
# in a child would wait for the thread that watched over its parent.
WATCH = """
import faulthandler, os, signal
faulthandler.dump_traceback_later(20, exit=True)
os.register_at_fork(after_in_child=lambda: signal.alarm(15))
"""
NAMES = """
import logging, sys, threading, time
logging.getLogger("partner_auth").addHandler(logging.NullHandler())  # stderr is to be empty

from partner_auth import *
from partner_auth.testing import MemoryStore, PartnerServer

OLD, NEW = "old-" + "k" * 40, "new-" + "k" * 40
FOREVER = float("inf")

def signer_of(token):
    import jwt
    for name, secret in (("old", OLD), ("new", NEW)):
        try:
            jwt.decode(token, secret, algorithms=["HS256"])
        except jwt.InvalidSignatureError:
            continue
        return name

def exact(source, **policy):
    return PartnerAuth(source, refresh=RefreshPolicy(**{"jitter": 0, **policy}))
"""


@dataclass
class Ended:
    """What a program printed, and when it was gone."""

    lines: list
    at: float


@pytest.fixture(scope="session")
def run():
    """Run a program; it must end with 0 and write nothing to stderr."""

    def run(*parts, first="", flags=()):
        program = "\n".join([WATCH, dedent(first), NAMES, *map(dedent, parts)])
        process = subprocess.Popen(
            [sys.executable, "-W", "error", *flags, "-c", program],
            env=os.environ | {"PYTHONPATH": str(Path(partner_auth.__file__).parents[1])},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            out, err = process.communicate(timeout=30)
        finally:
            ended = time.monotonic()
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.communicate()
        assert (process.returncode, err) == (0, ""), out + err
        return Ended(out.splitlines(), ended)

    return run
