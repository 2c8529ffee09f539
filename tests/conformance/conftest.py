"""What every conformance test is handed: each client in turn, the partner, and a stranger."""

from __future__ import annotations

import datetime as dt
import ipaddress
import ssl

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from partner_auth.testing import PartnerServer
from tests.conformance.clients import CLIENTS


@pytest.fixture(params=CLIENTS)
def client_name(request):
    """The name of the client under test."""
    return request.param


@pytest.fixture
def connect(client_name):
    """Make a client that signs with the given object: `connect(auth, redirects=False)`."""
    opened = []

    def connect(auth, **options):
        client = CLIENTS[client_name](auth, **options)
        opened.append(client)
        return client

    yield connect
    for client in opened:
        client.close()


@pytest.fixture
def partner(partner_server):
    """The partner whose tokens are signed."""
    return partner_server


@pytest.fixture
def other():
    """Another origin, with secrets of its own until `other.accept(partner.secret)`."""
    with PartnerServer() as server:
        yield server


@pytest.fixture
def client(connect, partner):
    """A client that signs for the partner, and has done so once."""
    client = connect(partner.auth())
    assert client.get(f"{partner.url}/portfolio").status_code == 200
    partner.clear()
    return client


@pytest.fixture
def secure(certificate):
    """A partner that speaks TLS; `secure.ca` is the file that verifies it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with PartnerServer(ssl_context=context) as server:
        server.ca = certificate
        yield server


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    """A file with a key and a certificate for 127.0.0.1, signed by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = dt.datetime.now(dt.UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    signed = (
        x509.CertificateBuilder(issuer_name=name, subject_name=name, public_key=key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = tmp_path_factory.mktemp("tls") / "partner.pem"
    encoding, format_ = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    private = key.private_bytes(encoding, format_, serialization.NoEncryption())
    file.write_bytes(private + signed.public_bytes(encoding))
    return file
