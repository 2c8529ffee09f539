"""What we sign, Node's jsonwebtoken verifies, and what it signs, our test partner verifies."""

from __future__ import annotations

import time
import urllib.error
import urllib.request

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from partner_auth import Credential, PartnerAuth
from partner_auth.testing import Clock, PartnerServer

SHARED = ["HS256", "HS384", "HS512"]
PAIRS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512"]
CURVES = {"ES256": ec.SECP256R1(), "ES384": ec.SECP384R1(), "ES512": ec.SECP521R1()}
SECRET = "a secret of the partner's, long enough for every algorithm: 64 bytes and more"
PRINTABLE = st.characters(exclude_categories=["C", "Z"])
SECRETS = {
    "text": SECRET,
    "beyond ascii": "päßwörd-ключ-秘密-" * 4,
    "bytes that are no text": bytes(range(128, 256)),
}


@pytest.fixture(scope="module")
def rsa_key() -> rsa.RSAPrivateKey:
    """Make one RSA key for all tests of this file, since that takes a while."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def pem_pair(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> tuple[str, str]:
    """Return the private and the public key as PEM."""
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return private.decode(), public.decode()


def verified(node, token, key=SECRET, algorithm="HS256"):
    """Return what jsonwebtoken makes of a token."""
    job = {"do": "verify", "token": token, "key": key, "options": {"algorithms": [algorithm]}}
    return node(job)[0]


def signed(node, key=SECRET, algorithm="HS256", **claims):
    """Return a token as a partner's own sample code makes it."""
    claims = {"clientId": "acme", **claims}
    options = (
        {"algorithm": algorithm}
        if "exp" in claims
        else {"algorithm": algorithm, "expiresIn": "15m"}
    )
    return node({"do": "sign", "claims": claims, "key": key, "options": options})[0]["token"]


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


@pytest.mark.parametrize("algorithm", SHARED)
@pytest.mark.parametrize("secret", SECRETS.values(), ids=SECRETS)
def test_node_accepts_a_token_signed_with_a_shared_secret(node, secret, algorithm):
    """A secret goes into the HMAC as its UTF-8 bytes, or as the bytes that it is."""
    auth = PartnerAuth(Credential("acme", secret), algorithm=algorithm)
    assert verified(node, auth.token(), secret, algorithm)["claims"]["clientId"] == "acme"


@pytest.mark.parametrize("algorithm", PAIRS)
def test_node_accepts_a_token_signed_with_a_private_key(node, rsa_key, algorithm):
    """RS*, PS* and ES* signatures are those that jsonwebtoken expects."""
    key = ec.generate_private_key(CURVES[algorithm]) if algorithm in CURVES else rsa_key
    private, public = pem_pair(key)
    auth = PartnerAuth(Credential("acme", private), algorithm=algorithm)
    assert verified(node, auth.token(), public, algorithm)["claims"]["clientId"] == "acme"


def test_node_reads_the_three_claims_and_the_header(node):
    """The token says who, from when and until when, in whole seconds, 15 minutes apart."""
    now = int(time.time())
    auth = PartnerAuth(Credential("acme", SECRET), clock=Clock(now + 0.75))
    read = verified(node, auth.token())
    assert read["claims"] == {"clientId": "acme", "iat": now, "exp": now + 900}
    assert read["header"] == {"alg": "HS256", "typ": "JWT"}


def test_node_reads_a_token_like_one_of_its_own(node):
    """For the same second both libraries make the same claims in the same order."""
    now = int(time.time())
    ours = PartnerAuth(Credential("acme", SECRET), clock=Clock(now)).token()
    assert ours.split(".")[1] == signed(node, iat=now).split(".")[1]


def test_node_sees_the_key_id(node):
    """`kid` stands in the header, where a partner looks for the key to verify with."""
    auth = PartnerAuth(Credential("acme", SECRET), key_id="2026-11")
    assert verified(node, auth.token())["header"]["kid"] == "2026-11"


def test_node_sees_further_claims(node):
    """Nested and non-ASCII claims arrive as they were given."""
    further = {"scope": ["read", "wríte"], "nested": {"level": 2, "none": None}}
    auth = PartnerAuth(Credential("acme", SECRET), claims=further)
    claims = verified(node, auth.token())["claims"]
    assert {name: claims[name] for name in further} == further


@settings(max_examples=5, deadline=None)
@given(ids=st.lists(st.text(PRINTABLE, min_size=1), min_size=20))
def test_node_reads_any_client_id(node, ids):
    """Whatever text the partner issued as client id arrives unchanged."""
    tokens = [PartnerAuth(Credential(client_id, SECRET)).token() for client_id in ids]
    options = {"algorithms": ["HS256"]}
    read = node(*({"do": "verify", "token": t, "key": SECRET, "options": options} for t in tokens))
    assert [outcome["claims"]["clientId"] for outcome in read] == ids


def test_node_refuses_a_token_of_another_secret(node):
    """The signature depends on the secret."""
    token = PartnerAuth(Credential("acme", SECRET)).token()
    assert verified(node, token, "another " + SECRET) == {"error": "invalid signature"}


def test_node_refuses_a_token_past_its_lifetime(node):
    """A token that was signed an hour ago for 15 minutes is over."""
    auth = PartnerAuth(Credential("acme", SECRET), clock=Clock(time.time() - 3600))
    assert verified(node, auth.token()) == {"error": "jwt expired"}


@pytest.mark.parametrize("algorithm", SHARED)
@pytest.mark.parametrize("secret", SECRETS.values(), ids=SECRETS)
def test_the_test_partner_accepts_a_token_of_node(node, secret, algorithm):
    """`partner_auth.testing` verifies what jsonwebtoken signed with a shared secret."""
    with PartnerServer(secret, algorithms=algorithm) as server:
        assert answer(server, signed(node, secret, algorithm)) == 200


@pytest.mark.parametrize("algorithm", PAIRS)
def test_the_test_partner_accepts_a_token_of_node_with_a_private_key(node, rsa_key, algorithm):
    """`partner_auth.testing` verifies what jsonwebtoken signed with a private key."""
    key = ec.generate_private_key(CURVES[algorithm]) if algorithm in CURVES else rsa_key
    private, _ = pem_pair(key)
    with PartnerServer(private, algorithms=algorithm) as server:
        assert answer(server, signed(node, private, algorithm)) == 200


def test_the_test_partner_refuses_what_node_signed_with_another_secret(node):
    """A token of the right shape is not enough."""
    with PartnerServer(SECRET) as server:
        assert answer(server, signed(node, "another " + SECRET)) == 401


def test_the_test_partner_refuses_what_node_signed_for_an_earlier_time(node):
    """A token of jsonwebtoken's that is over is refused."""
    with PartnerServer(SECRET) as server:
        assert answer(server, signed(node, exp=int(time.time()) - 60)) == 401
