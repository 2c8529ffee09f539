"""What a token is made of, to the second, and what is said where none can be made."""

import base64
import json
import sys

import pytest

from partner_auth import ConfigurationError, Credential, CredentialInvalid, PartnerAuth
from partner_auth._tokens import Signer
from partner_auth.testing import Clock
from tests.core.test_tokens import claims_of

KEY = "k" * 64
ACME = Credential("acme", KEY)
PEM = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIA\n-----END PRIVATE KEY-----\n"
NOW = 1_800_000_000.0


def signed(lifetime=900, offset=0.0, credential=ACME, algorithm="HS256"):
    """Sign a token by hand."""
    return Signer(lifetime, algorithm, None, None).sign(credential, NOW, offset)


@pytest.mark.parametrize("offset", [0.0, 100.0, -100.0, 3600.5])
def test_an_offset_moves_what_is_claimed_and_not_what_we_go_by(offset):
    """`iat` and `exp` are the partner's time; issued, replaced and expired are told on ours."""
    token = signed(offset=offset)
    claims = claims_of(token.token)
    assert claims["iat"] == int(NOW + offset)
    assert claims["exp"] == int(NOW + offset) + 900
    assert token.issued_at == pytest.approx(NOW, abs=1)
    assert token.expires_at == token.issued_at + 900


@pytest.mark.parametrize(("lifetime", "spare"), [(900, 60), (600, 60), (599, 59.9), (10, 1)])
def test_a_token_is_replaced_a_tenth_of_its_life_or_a_minute_before_its_end(lifetime, spare):
    """Whatever is less."""
    token = signed(lifetime)
    assert token.expires_at - token.replace_at == pytest.approx(spare)


def test_a_lifetime_of_one_second_is_the_shortest():
    """Each request may then need a token of its own."""
    claims = claims_of(PartnerAuth(ACME, lifetime=1).token())
    assert claims["exp"] - claims["iat"] == 1
    with pytest.raises(ConfigurationError, match="lifetime"):
        PartnerAuth(ACME, lifetime=0.999)


@pytest.mark.parametrize("claims", [5, "text", ["a"], [("a", 1)], b"x", True])
def test_claims_that_are_no_mapping_are_refused(claims):
    """And named."""
    kind = type(claims).__name__
    with pytest.raises(ConfigurationError, match=f"a mapping is wanted, not {kind}"):
        PartnerAuth(ACME, claims=claims)


def test_one_name_that_is_no_text_spoils_the_claims():
    """JSON would make a text of it."""
    with pytest.raises(ConfigurationError, match="every name is a text"):
        PartnerAuth(ACME, claims={"a": 1, 2: 3})


def test_claims_that_json_cannot_carry_are_told_by_kind():
    """And not by value."""
    with pytest.raises(ConfigurationError, match=r"can't carry them \(TypeError\)"):
        PartnerAuth(ACME, claims={"a": {1}})


def test_what_a_callable_of_claims_raises_is_told_by_kind():
    """Its text may hold anything."""

    def claims(_):
        raise KeyError("a thing of theirs")

    with pytest.raises(ConfigurationError, match=r"the callable raised KeyError$"):
        PartnerAuth(ACME, claims=claims).token()


def test_what_is_wrong_with_a_callables_claims_is_said():
    """And not that it raised."""
    with pytest.raises(ConfigurationError, match="iat is set by the library"):
        PartnerAuth(ACME, claims=lambda _: {"iat": 1}).token()


def test_a_key_that_does_not_fit_is_refused_when_it_is_read():
    """So what is held keeps serving; at the token it would be too late."""
    held = [ACME, Credential("acme", PEM)]
    auth = PartnerAuth(lambda: held[0], clock=Clock())
    token = auth.token()
    held.reverse()
    with pytest.raises(CredentialInvalid, match="can't sign with HS256"):
        auth.refresh()
    assert auth.token() == token


@pytest.mark.parametrize(
    ("algorithm", "key", "remedy"),
    [
        ("HS256", PEM, r"InvalidKeyError\): the key is a PEM or ssh key: store the shared secret"),
        ("HS512", "ssh-rsa AAAA", "store the shared secret"),
        ("HS256", f"{KEY}\ud800", "no UTF-8: give it as bytes"),
        ("RS256", KEY, "store the private key as PEM, line breaks and all"),
        ("EdDSA", PEM, "store the private key as PEM"),
    ],
)
def test_a_key_that_does_not_fit_says_what_to_do(algorithm, key, remedy):
    """Whoever signs with it: a message, never a traceback of a parser."""
    credential = Credential("acme", key)
    with pytest.raises(CredentialInvalid, match=remedy):
        signed(credential=credential, algorithm=algorithm)
    with pytest.raises(CredentialInvalid, match=remedy):
        Signer(900, algorithm, None, None).check(credential)


def test_without_cryptography_key_pairs_are_refused_at_construction(monkeypatch):
    """And shared secrets work as ever."""
    monkeypatch.setitem(sys.modules, "cryptography", None)
    with pytest.raises(ConfigurationError, match=r"partner-auth\[crypto\]"):
        PartnerAuth(ACME, algorithm="RS256")
    assert PartnerAuth(ACME).token()


def test_without_pyjwt_construction_says_what_to_install(monkeypatch):
    """Not the first request."""
    monkeypatch.setitem(sys.modules, "jwt", None)
    with pytest.raises(ConfigurationError, match="pip install partner-auth"):
        PartnerAuth(ACME)


def test_pyjwt_that_is_there_and_can_not_be_imported_is_an_error_of_ours(monkeypatch):
    """A broken installation."""
    monkeypatch.setattr("partner_auth._tokens._signers", {})
    auth = PartnerAuth(ACME)
    monkeypatch.setitem(sys.modules, "jwt", None)
    with pytest.raises(ConfigurationError, match="PyJWT is missing"):
        auth.token()


def test_a_token_has_no_more_than_its_header_says():
    """`alg` and `typ`, and `kid` where there is one."""
    head = signed().token.split(".")[0]
    assert json.loads(base64.urlsafe_b64decode(head + "==")) == {"alg": "HS256", "typ": "JWT"}
