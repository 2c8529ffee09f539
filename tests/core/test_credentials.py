"""A secret shows itself nowhere by accident, and a credential says what it can't be made of."""

from __future__ import annotations

import copy
import dataclasses
import logging
import math
import pickle
import traceback
from datetime import UTC, datetime

import pytest

from partner_auth import Credential, CredentialInvalid, PartnerAuth, Secret, SourceUnavailable

VALUE = "open-sesame-" * 4


@pytest.mark.parametrize("value", [VALUE, VALUE.encode()], ids=["text", "bytes"])
@pytest.mark.parametrize(
    "show",
    [repr, str, "{}".format, "{!r:>60}".format, "%s".__mod__, lambda s: str([s, {"k": s}])],
    ids=["repr", "str", "format", "spec", "percent", "nested"],
)  # fmt: skip
def test_a_secret_shows_dots_however_it_is_shown(show, value):
    """repr, str, format, containers."""
    assert "sesame" not in show(Secret(value))
    assert "sesame" not in show(Credential("acme", value))
    assert "sesame" not in f"{Secret(value):x<80}"


@pytest.mark.parametrize("value", [VALUE, b"\xff\x00raw"], ids=["text", "bytes"])
def test_reveal_gives_back_what_was_wrapped(value):
    """Str stays str, bytes stay bytes."""
    assert Secret(value).reveal() == value
    assert type(Secret(value).reveal()) is type(value)
    assert Credential("acme", Secret(value)).secret_key.reveal() == value


def test_vars_and_asdict_hold_wrapped_secrets():
    """What serialisers walk shows dots."""
    credential = Credential("acme", VALUE)
    assert "sesame" not in str(vars(credential))
    assert "sesame" not in str(dataclasses.asdict(credential))


@pytest.mark.parametrize(
    "made", [Secret(VALUE), Credential("acme", VALUE)], ids=["secret", "credential"]
)
def test_pickling_is_refused_with_a_reason(made):
    """A pickle would carry it in clear."""
    with pytest.raises(TypeError, match="pickle"):
        pickle.dumps(made)


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
def test_copies_are_equal(copied):
    """An immutable thing is its own copy, or an equal one."""
    assert copied(Credential("acme", VALUE)) == Credential("acme", VALUE)


def test_a_text_equals_its_utf8_bytes():
    """Stores give either."""
    assert Secret("käse") == Secret("käse".encode())
    assert hash(Secret("käse")) == hash(Secret("käse".encode()))
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"


def test_a_credential_is_immutable():
    """It is shared by all threads."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        Credential("acme", VALUE).client_id = "other"


def test_changed_means_id_key_or_key_id_never_version():
    """A version is a name."""
    one = Credential("acme", VALUE, version="1")
    assert one.same_as(Credential("acme", VALUE.encode(), version="2"))
    assert not one.same_as(Credential("other", VALUE))
    assert not one.same_as(Credential("acme", VALUE + "x"))
    assert not one.same_as(Credential("acme", VALUE, key_id="k"))
    assert not one.same_as(None)


@pytest.mark.parametrize(
    ("arguments", "options", "says"),
    [
        (("", VALUE), {}, "client id is empty"),
        (("  ", VALUE), {}, "client id is empty"),
        (("a\nb", VALUE), {}, "control characters"),
        ((None, VALUE), {}, "client id"),
        ((5, VALUE), {}, "client id"),
        (("acme", ""), {}, "secret key is empty"),
        (("acme", " \n"), {}, "secret key is empty"),
        (("acme", b""), {}, "secret key is empty"),
        (("acme", None), {}, "NoneType"),
        (("acme", 5), {}, "int"),
        (("acme", bytearray(VALUE.encode())), {}, "bytearray"),
        (("acme", {"key": VALUE}), {}, "dict"),
        (("acme", VALUE), {"key_id": "a\x00"}, "key id"),
        (("acme", VALUE), {"version": 5}, "version"),
        (("acme", VALUE), {"expires_at": datetime(2026, 1, 1)}, "time zone"),  # noqa: DTZ001  on purpose
        (("acme", VALUE), {"expires_at": math.nan}, "expires_at"),
        (("acme", VALUE), {"refresh_at": True}, "refresh_at"),
        (("acme", VALUE), {"refresh_at": "soon"}, "refresh_at"),
    ],
    ids=str,
)
def test_what_is_no_credential_is_refused_without_the_secret(arguments, options, says):
    """Neither the message, nor a local of our frames, nor a context shows it."""
    with pytest.raises(CredentialInvalid, match=says) as caught:
        Credential(*arguments, **options)
    report = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    shown = [str(f.locals) for f in report.stack if "partner_auth/_" in f.filename]
    assert shown
    assert not [text for text in [str(caught.value), *shown] if "sesame" in text]
    assert caught.value.__context__ is None


def test_times_are_taken_as_datetimes_or_seconds():
    """And given back as they came."""
    at = datetime(2030, 1, 1, tzinfo=UTC)
    assert Credential("a", "b", expires_at=at).expires_at == at
    assert Credential("a", "b", expires_at=5.0, refresh_at=6).refresh_at == 6


def test_neither_repr_nor_status_nor_log_shows_secret_or_token(caplog):
    """The whole object, in use."""
    caplog.set_level(logging.DEBUG)
    auth = PartnerAuth(Credential("acme", VALUE), origins="https://api.example")
    token = auth.token()
    shown = f"{auth!r} {auth} {auth.status()!r} {vars(auth)} {caplog.text}"
    assert "sesame" not in shown
    assert token not in shown
    assert token.split(".")[2] not in shown


def test_a_secret_never_changes_and_has_no_state_to_take():
    """Neither by assignment nor by what pickle and its kin ask for."""
    secret = Secret(VALUE)
    with pytest.raises(AttributeError, match="never changes"):
        secret._value = "other"
    with pytest.raises(TypeError, match="pickle"):
        secret.__getstate__()


def test_a_text_that_is_no_utf8_is_told_from_a_pem():
    """A lone surrogate comes from undecodable bytes."""
    with pytest.raises(CredentialInvalid, match="UTF-8"):
        PartnerAuth(Credential("acme", "k\udcff" * 20)).token()


def test_a_third_partys_error_is_pickled_by_its_text():
    """Whatever its own arguments are."""
    error = pickle.loads(pickle.dumps(Odd(5, "x")))
    assert (type(error), str(error), error.reason) == (Odd, "x is at 5", "sealed")


class Odd(SourceUnavailable):
    """Wants two arguments."""

    def __init__(self, where: int, what: str) -> None:
        super().__init__(f"{what} is at {where}", reason="sealed")
