"""What the tests of concurrency share: exact times, and who signed a token."""

from __future__ import annotations

import threading
import time

import jwt

from partner_auth import PartnerAuth, RefreshPolicy, SourceUnavailable

OLD, NEW, NEWER = (f"{name}-{'k' * 60}" for name in ("old", "new", "newer"))
DOWN = SourceUnavailable("the store is down")
FOREVER = float("inf")


def exact(source, clock=None, *, on_event=None, lifetime=900.0, **policy):
    """Make an object that reads at exact times: without jitter."""
    refresh = RefreshPolicy(**{"jitter": 0.0, **policy})
    return PartnerAuth(source, refresh=refresh, clock=clock, on_event=on_event, lifetime=lifetime)


def signer_of(token):
    """Return the secret that a token was signed with."""
    for secret in (OLD, NEW, NEWER):
        try:
            jwt.decode(
                token,
                secret,
                algorithms=["HS256"],
                options={"verify_exp": False, "verify_iat": False},
            )
        except jwt.InvalidSignatureError:
            continue
        return secret
    raise AssertionError("signed with none of the secrets")


def claims_of(token):
    """Return a token's claims, whoever signed it."""
    return jwt.decode(token, options={"verify_signature": False})


def readers():
    """Return the threads that read a store, or are about to end."""
    return [thread for thread in threading.enumerate() if thread.name == "partner_auth-read"]


def eventually(condition, within=5.0):
    """Wait until a condition holds that another thread brings about."""
    until = time.monotonic() + within
    while not (value := condition()):
        assert time.monotonic() < until, f"not within {within} s"
        time.sleep(0.001)
    return value


def quiet():
    """Wait until no store is being read."""
    eventually(lambda: not readers())


def failure(call, *args):
    """Return what a call raises."""
    try:
        call(*args)
    except Exception as error:
        return error
    raise AssertionError("nothing was raised")


def in_threads(count, call):
    """Call something in many threads at once; return each one's result or error."""
    results = []
    gate = threading.Barrier(count)

    def run():
        gate.wait()
        try:
            results.append(call())
        except BaseException as error:
            results.append(error)

    threads = [threading.Thread(target=run, daemon=True) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert not any(thread.is_alive() for thread in threads), "a caller hangs"
    return results
