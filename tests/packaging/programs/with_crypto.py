"""A user who signs with a private key."""

from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from partner_auth import Credential, PartnerAuth

key = ed25519.Ed25519PrivateKey.generate()
pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
assert PartnerAuth(Credential("acme", pem), algorithm="EdDSA").token().count(".") == 2
