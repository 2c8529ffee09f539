"""What we sign, other libraries verify, and what they sign, our test partner verifies."""

from __future__ import annotations

import time
import urllib.error
import urllib.request

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from partner_auth import Credential, PartnerAuth
from partner_auth.testing import Clock, PartnerServer

SECRET = "a secret of the partner's, long enough for every algorithm: 64 bytes and more"
SECRETS = {
    "beyond ascii": "päßwörd-ключ-秘密-" * 4,
    "bytes that are no text": bytes(range(128, 256)),
}
PRINTABLE = st.characters(exclude_categories=["C", "Z"])


def claims_of(**further):
    """Return the three claims as a partner's guide has them, and more."""
    now = int(time.time())
    return {"clientId": "acme", "iat": now, "exp": now + 900} | further


def answer(server, token):
    """Return the status that the test partner gives to a token."""
    headers = {"Authorization": f"Bearer {token}"}
    request = urllib.request.Request(f"{server.url}/portfolio", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return response.status
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def test_another_library_accepts_a_token(library, algorithm, keys):
    """Signature, claims and header, the key id too, are read as they were meant."""
    private, public = keys(algorithm)
    claims = claims_of()
    credential = Credential("acme", private, key_id="2026-11")
    auth = PartnerAuth(credential, algorithm=algorithm, clock=Clock(claims["iat"] + 0.75))
    read = library.verify(auth.token(), public, algorithm)
    assert read == {
        "claims": claims,
        "header": {"alg": algorithm, "kid": "2026-11", "typ": "JWT"},
    }


def test_the_test_partner_accepts_a_token_of_another_library(library, algorithm, keys):
    """`partner_auth.testing` verifies what others signed, with or without a key id."""
    private, _ = keys(algorithm)
    with PartnerServer(private, algorithms=[algorithm]) as server:
        assert answer(server, library.sign(claims_of(), private, algorithm)) == 200
        assert answer(server, library.sign(claims_of(), private, algorithm, kid="2026-11")) == 200


@pytest.mark.parametrize("shared", ["HS256", "HS384", "HS512"])
@pytest.mark.parametrize("secret", SECRETS.values(), ids=SECRETS)
def test_a_secret_is_the_same_key_for_another_library(library, secret, shared):
    """It goes into the HMAC as its UTF-8 bytes, or as the bytes that it is: here and there."""
    ours = PartnerAuth(Credential("acme", secret), algorithm=shared).token()
    assert library.verify(ours, secret, shared)["claims"]["clientId"] == "acme"
    with PartnerServer(secret, algorithms=[shared]) as server:
        assert answer(server, library.sign(claims_of(), secret, shared)) == 200


def test_another_library_writes_the_same_claims(library):
    """For the same second the claims are the same, byte for byte, in the same order."""
    claims = claims_of()
    ours = PartnerAuth(Credential("acme", SECRET), clock=Clock(claims["iat"])).token()
    assert ours.split(".")[1] == library.sign(claims).split(".")[1]


def test_another_library_sees_further_claims(library):
    """Nested and non-ASCII claims arrive as they were given."""
    further = {"scope": ["read", "wríte"], "nested": {"level": 2, "none": None}}
    claims = claims_of(**further)
    auth = PartnerAuth(Credential("acme", SECRET), claims=further, clock=Clock(claims["iat"]))
    assert library.verify(auth.token())["claims"] == claims


@settings(max_examples=5, deadline=None)
@given(ids=st.lists(st.text(PRINTABLE, min_size=1), min_size=20))
def test_another_library_reads_any_client_id(library, ids):
    """Whatever text the partner issued as client id arrives unchanged."""
    tokens = [PartnerAuth(Credential(client_id, SECRET)).token() for client_id in ids]
    assert [library.verify(token)["claims"]["clientId"] for token in tokens] == ids


def test_another_library_refuses_a_token_of_another_secret(library):
    """The signature depends on the secret."""
    token = PartnerAuth(Credential("acme", SECRET)).token()
    assert "signature" in library.verify(token, "another " + SECRET)["error"]


def test_another_library_refuses_a_token_past_its_lifetime(library):
    """A token that was signed an hour ago for 15 minutes is over."""
    auth = PartnerAuth(Credential("acme", SECRET), clock=Clock(time.time() - 3600))
    assert "exp" in library.verify(auth.token())["error"]


def test_the_test_partner_refuses_what_was_signed_with_another_secret(library):
    """A token of the right shape is not enough."""
    with PartnerServer(SECRET) as server:
        assert answer(server, library.sign(claims_of(), "another " + SECRET)) == 401


def test_the_test_partner_refuses_what_was_signed_for_an_earlier_time(library):
    """A token of another library's that is over is refused."""
    with PartnerServer(SECRET) as server:
        assert answer(server, library.sign(claims_of(exp=int(time.time()) - 60))) == 401
