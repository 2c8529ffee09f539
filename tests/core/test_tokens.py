"""What a token carries, how long it serves, and which settings are refused."""

from __future__ import annotations

import warnings
from datetime import UTC, datetime, timedelta

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from partner_auth import (
    ConfigurationError,
    Credential,
    CredentialInvalid,
    PartnerAuth,
    PartnerAuthWarning,
)
from partner_auth.testing import Clock

KEY = "k" * 64


def claims_of(token, key=KEY, algorithm="HS256"):
    """Verify as the partner does, but for the times."""
    unchecked = {"verify_exp": False, "verify_iat": False}
    return jwt.decode(token, key, algorithms=[algorithm], options=unchecked)


def auth(credential=None, **options):
    return PartnerAuth(credential or Credential("acme", KEY), **options)


def test_the_claims_are_those_of_the_guide():
    """A client id as text, whole seconds, fifteen minutes."""
    clock = Clock(wall=1_700_000_000.75)
    claims = claims_of(auth(clock=clock).token())
    assert claims == {"clientId": "acme", "iat": 1_700_000_000, "exp": 1_700_000_900}
    assert [type(value) for value in claims.values()] == [str, int, int]


def test_one_token_serves_many_requests_and_is_replaced_early():
    """A tenth of its lifetime, at most 60 seconds, before its end."""
    clock = Clock()
    signer = auth(clock=clock)
    first = signer.token()
    clock.advance(839)
    assert signer.token() == first
    clock.advance(2)
    assert signer.token() != first


@pytest.mark.parametrize("lifetime", [60, 60.0, timedelta(minutes=1)])
def test_the_lifetime_is_the_callers_choice(lifetime):
    """Seconds or a timedelta; a short one is replaced a tenth before its end."""
    clock = Clock()
    signer = auth(clock=clock, lifetime=lifetime)
    first = signer.token()
    claims = claims_of(first)
    assert claims["exp"] - claims["iat"] == 60
    clock.advance(53)
    assert signer.token() == first
    clock.advance(2)
    assert signer.token() != first


@pytest.mark.parametrize(
    "lifetime",
    [0, -1, 0.5, float("inf"), float("nan"), True, "900", None, 367 * 86_400, timedelta(days=400)],
)
def test_a_lifetime_that_is_none_is_refused(lifetime):
    """Finite, from one second to 366 days."""
    with pytest.raises(ConfigurationError, match="lifetime"):
        auth(lifetime=lifetime)


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
def test_every_shared_secret_algorithm_verifies(algorithm):
    """RFC 7518 §3.2."""
    assert claims_of(auth(algorithm=algorithm).token(), algorithm=algorithm)["clientId"] == "acme"


def pem(private):
    return private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


@pytest.mark.parametrize(
    ("algorithm", "private"),
    [
        *((name, rsa.generate_private_key(65537, 2048)) for name in ("RS256", "PS256", "RS512")),
        ("ES256", ec.generate_private_key(ec.SECP256R1())),
        ("ES384", ec.generate_private_key(ec.SECP384R1())),
        ("EdDSA", ed25519.Ed25519PrivateKey.generate()),
    ],
    ids=["RS256", "PS256", "RS512", "ES256", "ES384", "EdDSA"],
)
def test_key_pairs_sign_by_choice(algorithm, private):
    """With the crypto extra."""
    token = auth(Credential("acme", pem(private)), algorithm=algorithm).token()
    public = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    assert claims_of(token, public, algorithm)["clientId"] == "acme"


@pytest.mark.parametrize("algorithm", ["none", "NONE", "", "hs256", "HS1", None, 256])
def test_an_unknown_algorithm_is_refused_at_construction(algorithm):
    """`none` above all (RFC 8725 §3.1)."""
    with pytest.raises(ConfigurationError, match="algorithm"):
        auth(algorithm=algorithm)


def test_a_pem_is_no_shared_secret():
    """CVE-2022-29217: key confusion."""
    key = pem(ed25519.Ed25519PrivateKey.generate())
    with pytest.raises(CredentialInvalid, match="PEM") as caught:
        auth(Credential("acme", key)).token()
    assert key[40:60] not in str(caught.value)
    assert caught.value.__context__ is None


def test_a_text_is_no_private_key():
    """The message names the algorithm and the remedy, never the key."""
    with pytest.raises(CredentialInvalid, match="RS256") as caught:
        auth(Credential("acme", KEY), algorithm="RS256").token()
    assert KEY[:8] not in str(caught.value)


def test_the_credentials_key_id_wins_over_the_option():
    """Both end up in the header `kid`."""
    assert jwt.get_unverified_header(auth(key_id="mine").token())["kid"] == "mine"
    own = auth(Credential("acme", KEY, key_id="own"), key_id="mine").token()
    assert jwt.get_unverified_header(own)["kid"] == "own"


def test_further_claims_are_carried():
    """A mapping, copied at construction."""
    claims = {"role": ["a"]}
    signer = auth(claims=claims)
    claims["role"].append("b")
    assert claims_of(signer.token())["role"] == ["a"]


def test_a_callable_of_claims_runs_once_a_token():
    """It gets the credential."""
    seen = []
    signer = auth(claims=lambda credential: seen.append(credential) or {"jti": str(len(seen))})
    assert signer.token() == signer.token()
    assert [one.client_id for one in seen] == ["acme"]


@pytest.mark.parametrize(
    "claims",
    [{"exp": 1}, {"iat": 1}, {"clientId": "x"}, {"x": float("nan")}, {"x": float("inf")}, {"x": b"bytes"}, {1: "x"},
     {"x": object()}, "claims", [("x", 1)]],
)  # fmt: skip
def test_claims_that_cannot_be_are_refused_at_construction(claims):
    """None overrides the library's own, and JSON has no NaN."""
    with pytest.raises(ConfigurationError, match="claims"):
        auth(claims=claims)


@pytest.mark.parametrize(
    "made",
    [lambda c: {"exp": 1}, lambda c: {"x": float("nan")}, lambda c: 1 / 0, lambda c: None],
    ids=["reserved", "NaN", "raises", "none"],
)
def test_claims_that_a_callable_makes_are_checked_at_each_token(made):
    """The hierarchy's error, whatever it raises."""
    with pytest.raises(ConfigurationError, match="claims"):
        auth(claims=made).token()


def test_a_short_key_works_with_one_warning():
    """RFC 7518 §3.2."""
    clock = Clock()
    signer = auth(Credential("acme", "short"), lifetime=60, clock=clock)
    with pytest.warns(PartnerAuthWarning, match="32 bytes") as caught:
        signer.token()
    assert len(caught) == 1
    assert "short'" not in str(caught[0].message)
    clock.advance(61)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        signer.token()


def test_no_token_outlives_its_credential():
    """`expires_at`, as a datetime or seconds since the epoch."""
    clock = Clock()
    ends = clock.now() + 100
    for expires_at in (ends, datetime.fromtimestamp(ends, UTC)):
        token = auth(Credential("acme", KEY, expires_at=expires_at), clock=clock).token()
        assert claims_of(token)["exp"] == int(ends)


@pytest.mark.parametrize("key_id", ["", " ", "a\nb", 5])
def test_a_key_id_that_is_none_is_refused(key_id):
    """Control characters would reach the logs."""
    with pytest.raises(ConfigurationError, match="key_id"):
        auth(key_id=key_id)


def test_another_package_in_pyjwts_place_is_named(monkeypatch):
    """`jwt` is another project's import name too."""
    from partner_auth import _tokens

    monkeypatch.setattr(_tokens, "_signers", {})
    monkeypatch.delattr(jwt, "PyJWS")
    with pytest.raises(ConfigurationError, match="pip uninstall jwt"):
        auth().token()
