"""The search itself: what is planted is found, in each form and place; else it proves nothing."""

import asyncio
import contextlib
import json
import logging
import secrets
import threading
import warnings

import pytest

from partner_auth import Credential, PartnerAuth, events
from tests.security.searching import PACKAGE, WINDOW, Shown, forms, printed

SECRET = 'a"secret\\with ü' + secrets.token_urlsafe(24)
ORDINARY = "nothing to be seen here, " * 20


@pytest.mark.parametrize("form", forms(SECRET))
def test_each_form_of_a_planted_secret_is_found(search, shown, form):
    """Anywhere in a text."""
    search.hide(SECRET)
    shown.note("a text", ORDINARY + forms(SECRET)[form] + ORDINARY)
    assert search.found(shown)


def test_a_part_of_a_secret_is_found(search, shown):
    """Twelve characters, wherever they stood."""
    search.hide(SECRET)
    shown.note("a text", f"{ORDINARY}{SECRET[20 : 20 + WINDOW]}{ORDINARY}")
    assert search.found(shown) == ["a secret (itself) in a text"]


@pytest.mark.parametrize("part", [1, 2])
def test_a_part_of_a_token_is_found(search, shown, part):
    """The payload and the signature."""
    token = PartnerAuth(Credential("acme", secrets.token_urlsafe(36))).token()
    search.hide_token(token)
    shown.note("a text", f"{ORDINARY}{token.split('.')[part]}{ORDINARY}")
    assert search.found(shown)


def test_an_ordinary_text_is_none(search, shown):
    """Else nobody would believe a find."""
    search.hide(SECRET)
    search.hide_token(PartnerAuth(Credential("acme", secrets.token_urlsafe(36))).token())
    shown.note("a text", ORDINARY)
    assert search.found(shown) == []


class Careless(Exception):
    """What a careless library raises."""


def _raise(secret):
    raise Careless(secret)


def _in_a_context(secret):
    try:
        json.loads('{"secret_key": "' + secret)
    except ValueError:
        raise Careless("it can't be read") from None


def _in_a_cause(secret):
    try:
        secret.encode("ascii")
    except ValueError as error:
        raise Careless("it can't be read") from error


def _in_a_note(secret):
    error = Careless("it can't be read")
    error.add_note(f"it was {secret}")
    raise error


def _in_an_attribute(secret):
    error = Careless("it can't be read")
    error.value = secret
    raise error


def _in_a_group(secret):
    raise ExceptionGroup("several", [Careless(secret)])


@pytest.mark.parametrize(
    "planted", [_raise, _in_a_context, _in_a_cause, _in_a_note, _in_an_attribute, _in_a_group]
)
def test_a_secret_planted_in_an_error_is_found(search, shown, planted):
    """In its text, chain, notes, attributes and members."""
    search.hide(SECRET)
    shown.tried("a call", planted, SECRET)
    assert search.found(shown)


def test_a_secret_planted_in_a_frame_of_ours_is_found(search, shown):
    """A local of `PartnerAuth.token`, as a fault there would leave it."""
    search.hide(SECRET)

    def careless(key):
        raise ValueError

    careless.__code__ = careless.__code__.replace(co_filename=f"{PACKAGE}/_planted.py")
    shown.tried("a call", careless, SECRET)
    assert [place for place in search.found(shown) if "locals of careless" in place]


def test_a_secret_in_a_frame_of_others_is_told_apart(search, shown):
    """What a client's frames hold is documented."""
    search.hide(SECRET)

    def careless(key):
        raise ValueError

    shown.tried("a call", careless, SECRET)
    assert search.found(shown) == []
    shown.texts = shown.foreign
    assert "test_searcher.py" in str(search.found(shown))


def _log(secret):
    logging.getLogger("some.library").debug("the answer is %s", {"secret_key": secret})


def _log_extra(secret):
    logging.getLogger("some.library").info(
        "done", extra={"event": events.SourceFailed("s", "e", "r", secret, False, None, None)}
    )


def _log_an_error(secret):
    try:
        _raise(secret)
    except Careless:
        logging.getLogger("some.library").exception("it failed")


def _warn(secret):
    warnings.warn(f"{secret} is short", stacklevel=1)


def _in_a_thread(secret):
    thread = threading.Thread(target=_raise, args=(secret,))
    thread.start()
    thread.join()


def _in_a_forgotten_task(secret):
    async def forget():
        async def careless():
            _raise(secret)

        task = asyncio.ensure_future(careless())
        await asyncio.sleep(0)
        del task

    asyncio.run(forget())


@pytest.mark.parametrize(
    "planted", [_log, _log_extra, _log_an_error, _warn, _in_a_thread, _in_a_forgotten_task]
)
def test_a_secret_that_is_written_down_is_found(search, secret_of, planted):
    """In lines, their arguments, extras and errors; in warnings and where threads end."""
    with Shown() as shown:
        planted(secret_of())
    assert search.found(shown)


@pytest.mark.parametrize("kind", ["plain", "odd", "bytes"])
def test_a_secret_planted_in_an_object_is_found(search, shown, secret_of, kind):
    """In its repr, its attributes and its pickle."""
    secret = secret_of(kind)

    class Holder:
        def __init__(self):
            self.key = secret

    shown.look_at("an object", Holder())
    assert search.found(shown) == [f for f in search.found(shown) if "vars of an object" in f] != []
    shown.texts.clear()
    shown.pickled("a value", {"key": secret})
    assert search.found(shown)


def test_a_secret_that_is_printed_is_found(search, shown, secret_of):
    """On both streams."""
    secret = secret_of()
    with printed(shown, "a command"), contextlib.suppress(ValueError):
        print(secret)
    assert search.found(shown) == ["a secret (itself) in stdout of a command"]
