"""`partner-auth doctor`: what the store holds, and the outside of the key."""

from __future__ import annotations

import base64
import json
import os
import time
from datetime import UTC, datetime, timedelta

import pytest

from partner_auth._credentials import Secret
from partner_auth.cli._shape import oddities


@pytest.fixture
def stored(tmp_path, monkeypatch, secrets):
    """Put a document where the environment says that the secret is."""
    file = tmp_path / "partner.json"
    monkeypatch.setenv("PARTNER_AUTH_SOURCE", file.as_uri())

    def put(**document):
        known = {"client_id": "acme", "secret_key": "K" * 31 + "ey-of-the-partner"} | document
        secrets.extend(value for name, value in known.items() if name.startswith("secret_key"))
        file.write_text(json.dumps(known))
        return file

    return put


def test_the_read_is_timed(doctor, stored, slow_log):
    """With the client id and the length of the key."""
    stored()
    reason = doctor()["read"]["reason"]
    assert reason.startswith("client id 'acme' and a key of 48 bytes, in ")
    assert reason.endswith(" ms")


def test_a_store_that_is_not_there_says_why(doctor, stored):
    """The source's own message, and what to do."""
    stored().unlink()
    report = doctor()
    assert report.code == 1
    assert "FileSource(" in report["read"]["reason"]
    assert report["read"]["remedy"] == "check the name, and region, path or namespace"
    assert "token" not in report


def test_a_missing_field_is_named(doctor, stored):
    """With those that are there, without their values."""
    file = stored()
    file.write_text(json.dumps({"clientid": "acme", "secret_key": "K" * 48}))
    reason = doctor()["read"]["reason"]
    assert "no field 'client_id', only clientid, secret_key" in reason


def test_the_token_is_looked_at(doctor, stored):
    """Its algorithm, claims and lifetime."""
    stored()
    reason = doctor("--lifetime", "60")["token"]["reason"]
    assert reason == "well-formed: HS256, clientId 'acme', valid for 60 s"


def test_a_key_that_cannot_sign_is_a_failure(doctor, stored, secrets):
    """A PEM where a shared secret belongs; the other checks go on."""
    pem = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBg\n-----END PRIVATE KEY-----\n"
    stored(secret_key=pem)
    report = doctor()
    assert report.status("read") == "ok"
    assert report.status("token") == "failure"
    assert "PEM" in report["token"]["reason"]


def test_the_age_of_a_file_is_told(doctor, stored):
    """Its version is its time."""
    file = stored()
    os.utime(file, (time.time() - 3 * 86_400,) * 2)
    assert doctor()["version"]["reason"].endswith(", 3 days old")


def test_a_version_without_a_date_has_no_age(doctor, stored):
    """It is named as the store names it."""
    stored(version="7")
    assert doctor()["version"]["reason"] == "'7'"


@pytest.mark.parametrize("days, status", [(30, "ok"), (0.5, "warning")])
def test_an_end_that_is_near_is_a_warning(doctor, stored, days, status):
    """Within a day."""
    stored(expires_at=(datetime.now(UTC) + timedelta(days=days)).isoformat())
    assert doctor().status("expiry") == status


def test_alternates_are_named(doctor, stored):
    """Pending and previous, as the store knows them."""
    stored(secret_key_next="N" * 48, secret_key_previous="P" * 48)
    reason = doctor()["alternates"]["reason"]
    assert reason == "pending (version 'next'), previous (version 'previous')"


def test_alternates_that_can_not_be_read_are_a_warning(doctor, monkeypatch):
    """In a rotation they would be missed."""
    monkeypatch.setenv("PARTNER_CLIENT_ID", "acme")
    monkeypatch.setenv("PARTNER_SECRET_KEY", "K" * 48)
    monkeypatch.setenv("PARTNER_SECRET_KEY_NEXT_FILE", "/nowhere/key")
    assert doctor().status("alternates") == "warning"


def test_a_short_key_is_a_warning(doctor, stored):
    """RFC 7518 §3.2, by the algorithm."""
    stored()
    assert "key length" not in doctor()
    report = doctor("--algorithm", "HS512")
    assert report["key length"]["reason"] == "48 bytes, and RFC 7518 wants 64 for HS512"


ODD = {
    "white space": " the-key-of-the-partner-0123456789\n",
    "quotes": '"the-key-of-the-partner-0123456789"',
    "written-out": "the-key-of-the-partner-0123456789\\n",
    "PEM": "-----BEGIN KEY-----\\nMIIEvQIBADANBg\\n-----END KEY-----",
    "line breaks inside": "the-key-of-the-partner\n0123456789",
    "invisible": "the-key-of-the-part\u200bner-0123456789",
    "base64": base64.b64encode(b"a key of the partner, 33 bytes..").decode(),
    "base64url": base64.urlsafe_b64encode(b"\xff\xfe" * 16).decode(),
    "hex": "00112233445566778899aabbccddeeff",
    "placeholder": "${PARTNER_SECRET}",
    "a token": "eyJhbGciOiJIUzI1NiJ9.eyJjbGllbnRJZCI6ImEifQ.c2lnbmF0dXJl",
}


@pytest.mark.parametrize("what", ODD)
def test_an_odd_key_is_a_warning(doctor, stored, what):
    """What is odd is named, the key is not shown."""
    stored(secret_key=ODD[what])
    report = doctor()
    found = [check for check in report.checks if check["check"] == "key"]
    assert any(what in check["reason"] for check in found), found
    assert {check["status"] for check in found} == {"warning"}
    assert all(check["remedy"] for check in found)


@pytest.mark.parametrize(
    "key",
    ["a-plain-key-without-anything-odd", "A1b2C3d4E5f6G7h8J9k0L1m2N3p4Q5r6", "pass word x" * 4],
)
def test_a_plain_key_is_ok(doctor, stored, key):
    """No warning for what random keys look like."""
    stored(secret_key=key)
    assert doctor().status("key") == "ok"


def test_what_the_partner_accepts_is_not_odd(doctor, partner_server, stored):
    """A key in base64 that is meant as it stands."""
    stored(secret_key=ODD["base64"])
    partner_server.accept(ODD["base64"])
    report = doctor("--url", f"{partner_server.url}/portfolio")
    assert report.status("key") == "ok"
    assert report["key"]["reason"] == "it looks like base64, and the partner accepts it so"


def test_bytes_are_as_they_should_be():
    """A key that was decoded already is not looked at."""
    assert list(oddities(Secret(b" 00112233445566778899aabbccddeeff "))) == []
