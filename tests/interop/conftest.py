"""Other JWT libraries behind one shape: those of Node in one child process, those of Python here."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import joserfc.errors
import joserfc.jwk
import joserfc.jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

HERE = Path(__file__).parent
SECRET = "a secret of the partner's, long enough for every algorithm: 64 bytes and more"
SHARED = ["HS256", "HS384", "HS512"]
PAIRS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512"]
CURVES = {
    "ES256": ec.SECP256R1(),
    "ES384": ec.SECP384R1(),
    "ES512": ec.SECP521R1(),
    "ES256K": ec.SECP256K1(),
}
# What each of them and partner_auth both know.
ALGORITHMS = {
    "jsonwebtoken": [*SHARED, *PAIRS],
    "jose": [*SHARED, *PAIRS, "EdDSA"],
    "fast-jwt": [*SHARED, *PAIRS, "EdDSA"],
    "joserfc": [*SHARED, *PAIRS, "ES256K", "EdDSA"],
    "authlib": [*SHARED, *PAIRS, "ES256K", "EdDSA"],
}


class Keys(NamedTuple):
    """What signs and what verifies: a PEM each, or twice the same secret."""

    private: str
    public: str


class Library:
    """A JWT library, asked as its own documentation shows it."""

    def __init__(self, name: str, do: Callable[..., dict[str, Any]]) -> None:
        """Take what does a job (see node.mjs)."""
        self.name = name
        self._do = do

    def sign(
        self,
        claims: dict[str, Any],
        key: str | bytes = SECRET,
        algorithm: str = "HS256",
        kid: str | None = None,
    ) -> str:
        """Return a token with these claims."""
        job = {"do": "sign", "claims": claims, "key": key, "algorithm": algorithm, "kid": kid}
        return self._do(**job, library=self.name)["token"]

    def verify(
        self, token: str, key: str | bytes = SECRET, algorithm: str = "HS256"
    ) -> dict[str, Any]:
        """Return `claims` and `header` of a token that is valid now, else `error`."""
        job = {"do": "verify", "token": token, "key": key, "algorithm": algorithm}
        return self._do(**job, library=self.name)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that asks for a `library` with each, and with each `algorithm` that it knows."""
    if "library" not in metafunc.fixturenames:
        return
    if "algorithm" not in metafunc.fixturenames:
        metafunc.parametrize("library", ALGORITHMS, indirect=True, scope="session")
        return
    both = [(name, algorithm) for name, known in ALGORITHMS.items() for algorithm in known]
    metafunc.parametrize("library,algorithm", both, indirect=["library"], scope="session")


@pytest.fixture(scope="session")
def library(request: pytest.FixtureRequest) -> Library:
    """Return the library of that name."""
    own = {"joserfc": _joserfc, "authlib": _authlib}.get(request.param)
    return Library(request.param, own or request.getfixturevalue("node"))


@pytest.fixture(scope="session")
def node() -> Iterator[Callable[..., dict[str, Any]]]:
    """Return a function that lets Node do a job (see node.mjs)."""
    executable = shutil.which("node")
    if executable is None:
        pytest.skip("Node is not installed: nothing to compare our tokens with")
    wanted = json.loads((HERE / "package.json").read_text(encoding="utf-8"))["dependencies"]
    missing = [name for name in wanted if not (HERE / "node_modules" / name).is_dir()]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}; `make test` does it, through npm")
    with _jobs(executable) as do:
        yield do


@pytest.fixture(scope="session")
def keys() -> Callable[[str], Keys]:
    """Return a function that makes the keys of an algorithm; RSA's take a while, so they stay."""
    rsa_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)

    def of(algorithm: str) -> Keys:
        if algorithm in SHARED:
            return Keys(SECRET, SECRET)
        if algorithm in CURVES:
            return _pem_pair(ec.generate_private_key(CURVES[algorithm]))
        return _pem_pair(ed25519.Ed25519PrivateKey.generate() if algorithm == "EdDSA" else rsa_key)

    return of


@contextmanager
def _jobs(executable: str) -> Iterator[Callable[..., dict[str, Any]]]:
    with subprocess.Popen(
        [executable, str(HERE / "node.mjs")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        encoding="utf-8",
    ) as process:

        def do(**job: Any) -> dict[str, Any]:
            print(json.dumps(job, default=_as_text), file=process.stdin, flush=True)
            line = process.stdout.readline()
            assert line, f"node ended with {process.wait(10)}: its stderr says why"
            return json.loads(line)

        yield do
        process.stdin.close()


def _as_text(key: bytes) -> dict[str, str]:
    return {"base64": base64.b64encode(key).decode()}


def _pem_pair(key: Any) -> Keys:
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return Keys(private.decode(), public.decode())


def _joserfc(**job: Any) -> dict[str, Any]:
    with warnings.catch_warnings():  # of EdDSA, which RFC 9864 splits into Ed25519 and Ed448
        warnings.simplefilter("ignore", joserfc.errors.SecurityWarning)
        return _joserfc_does(**job)


def _joserfc_does(*, do: str, key: str | bytes, algorithm: str, **job: Any) -> dict[str, Any]:
    kind = {"HS": "oct", "ES": "EC", "Ed": "OKP"}.get(algorithm[:2], "RSA")
    material = joserfc.jwk.import_key(key, kind)
    if do == "sign":
        header = _header(algorithm, job["kid"])
        return {"token": joserfc.jwt.encode(header, job["claims"], material, [algorithm])}
    try:
        token = joserfc.jwt.decode(job["token"], material, [algorithm])
        joserfc.jwt.JWTClaimsRegistry(now=int(time.time())).validate(token.claims)
    except Exception as error:
        return {"error": str(error)}
    return {"claims": token.claims, "header": token.header}


def _authlib(*, do: str, key: str | bytes, algorithm: str, **job: Any) -> dict[str, Any]:
    with warnings.catch_warnings():  # that it gives way to joserfc
        warnings.simplefilter("ignore", DeprecationWarning)
        import authlib.deprecate  # switches its warnings on again when it is imported

        warnings.simplefilter("ignore", authlib.deprecate.AuthlibDeprecationWarning)
        import authlib.jose
    jwt = authlib.jose.JsonWebToken([algorithm])
    if do == "sign":
        header = _header(algorithm, job["kid"])
        return {"token": jwt.encode(header, job["claims"], key).decode()}
    try:
        claims = jwt.decode(job["token"], key)
        claims.validate()
    except Exception as error:
        return {"error": str(error)}
    return {"claims": dict(claims), "header": dict(claims.header)}


def _header(algorithm: str, kid: str | None) -> dict[str, str]:
    return {"alg": algorithm, **({"kid": kid} if kid else {}), "typ": "JWT"}
