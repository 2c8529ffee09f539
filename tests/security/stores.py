"""Every source over one document, and a server that stands where AWS and Vault would.

It is no imitation of either: those are in tests/sources. It says what the test wants it to say, in
their words, and writes no log of its own.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import partner_auth
from partner_auth import (
    AwsParameterStoreSource,
    AwsSecretsManagerSource,
    ChainSource,
    Credential,
    EnvSource,
    FileSource,
    StaticSource,
    VaultSource,
)
from tests.sources.lying_server import LyingServer, Reply, Request

Document = str | bytes


class Stores:
    """Makes sources; all that they read is what `say` was given last."""

    def __init__(self, folder: Path, liar: LyingServer) -> None:
        self.folder = folder
        self.liar = liar
        self.document: Document = ""
        self.replies: Callable[[Request], Reply] = self._answer
        self._environment: dict[str, str | None] = {}
        liar.answer = self._said

    def say(self, document: Document) -> None:
        """Have every store hold this from now on."""
        self.document = document

    def reply(self, reply: Reply | Callable[[Request], Reply] | None) -> None:
        """Have the server answer so whatever it is asked; None: as a store would."""
        if reply is None:
            self.replies = self._answer
        else:
            self.replies = reply if callable(reply) else lambda _: reply

    def setenv(self, name: str, value: str | bytes | None) -> None:
        """Set a variable until `close`."""
        self._environment.setdefault(name, os.environ.get(name))
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = os.fsdecode(value)

    def close(self) -> None:
        """Put the environment back."""
        for name, value in self._environment.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value

    def source(self, kind: str, **options: Any) -> Any:
        """Make a source that reads the document."""
        return SOURCES[kind](self, options)

    # -- what the server says

    def _said(self, request: Request) -> Reply:
        return self.replies(request)

    def _answer(self, request: Request) -> Reply:
        if request.path.startswith("/secretsmanager/get"):
            return self._secret_value()
        target = request.headers.get("x-amz-target", "")
        if target.endswith("GetSecretValue"):
            return self._secret_value()
        if target.endswith("GetParameter"):
            parameter = {"Name": "p", "Type": "SecureString", "Value": self.text, "Version": 3}
            return _aws({"Parameter": parameter})
        if request.path.startswith("/v1/sys/internal/ui/mounts/"):
            version = "1" if "kv1" in request.path else "2"
            path = request.path.rpartition("mounts/")[2].partition("/")[0]
            return Reply(body={"data": {"path": f"{path}/", "options": {"version": version}}})
        if request.path.startswith("/v1/kv1/"):
            return Reply(body={"data": self.fields, "request_id": "1"})
        if request.path.startswith("/v1/secret/data/"):
            return Reply(body={"data": {"data": self.fields, "metadata": {"version": 3}}})
        return Reply(404, {"errors": []})

    def _secret_value(self) -> Reply:
        said = {"ARN": "arn", "Name": "prod/partner", "VersionId": "v1", "CreatedDate": 1.7e9}
        if isinstance(self.document, bytes):
            said["SecretBinary"] = base64.b64encode(self.document).decode()
        else:
            said["SecretString"] = self.document
        return _aws(said)

    @property
    def text(self) -> str:
        """The document as a text."""
        said = self.document
        return said.decode("latin-1") if isinstance(said, bytes) else said

    @property
    def raw(self) -> bytes:
        """The document as bytes."""
        said = self.document
        return said if isinstance(said, bytes) else said.encode("utf-8", "surrogatepass")

    @property
    def fields(self) -> Any:
        """The document as Vault holds it: an object, where it is one at all."""
        try:
            return json.loads(self.document)
        except (ValueError, RecursionError):
            return {"client_id": "acme", "secret_key": self.text}


def _aws(said: dict[str, Any]) -> Reply:
    headers = {"Content-Type": "application/x-amz-json-1.1"}
    return Reply(200, json.dumps(said).encode("utf-8", "surrogatepass"), headers)


def _env(stores: Stores, options: dict[str, Any]) -> EnvSource:
    stores.setenv("PARTNER_SECRET_KEY", stores.raw.replace(b"\0", b"0") or None)
    return EnvSource(**options)


def _env_file(stores: Stores, options: dict[str, Any]) -> EnvSource:
    (stores.folder / "key").write_bytes(stores.raw)
    stores.setenv("FILED_SECRET_KEY_FILE", str(stores.folder / "key"))
    return EnvSource("FILED_", **options)


def _file(stores: Stores, options: dict[str, Any]) -> FileSource:
    (stores.folder / "partner.json").write_bytes(stores.raw)
    return FileSource(stores.folder / "partner.json", **options)


def _directory(stores: Stores, options: dict[str, Any]) -> FileSource:
    folder = stores.folder / "mounted"
    folder.mkdir(exist_ok=True)
    fields = stores.fields if isinstance(stores.fields, dict) else {}
    for name in ("client_id", "secret_key", "key_id", "version", "refresh_at", "expires_at"):
        (folder / name).unlink(missing_ok=True)
        if name in fields:
            said = fields[name] if isinstance(fields[name], str) else json.dumps(fields[name])
            (folder / name).write_bytes(said.encode("utf-8", "surrogatepass"))
    return FileSource(folder, **options)


def _secrets_manager(stores: Stores, options: dict[str, Any]) -> AwsSecretsManagerSource:
    where = {"region": "eu-west-1", "endpoint_url": stores.liar.url}
    return AwsSecretsManagerSource("prod/partner", **where, **options)


def _parameter_store(stores: Stores, options: dict[str, Any]) -> AwsParameterStoreSource:
    where = {"region": "eu-west-1", "endpoint_url": stores.liar.url}
    return AwsParameterStoreSource("/prod/partner", **where, **options)


def _agent(stores: Stores, options: dict[str, Any]) -> AwsSecretsManagerSource:
    stores.setenv("PARAMETERS_SECRETS_EXTENSION_HTTP_PORT", str(stores.liar.port))
    return AwsSecretsManagerSource("prod/partner", via="agent", **options)


def _vault(stores: Stores, options: dict[str, Any]) -> VaultSource:
    return VaultSource("secret", "partner", address=stores.liar.url, **options)


def _vault_v1(stores: Stores, options: dict[str, Any]) -> VaultSource:
    return VaultSource("kv1", "partner", address=stores.liar.url, **options)


def _chain(stores: Stores, options: dict[str, Any]) -> ChainSource:
    return ChainSource(EnvSource("NOTHING_HERE_"), _file(stores, options))


def _callable(stores: Stores, options: dict[str, Any]) -> Callable[[], Credential]:
    source = _file(stores, options)
    return source.fetch


def _coroutine(stores: Stores, options: dict[str, Any]) -> Callable[[], Any]:
    source = _file(stores, options)

    async def fetch() -> Credential:
        return source.fetch()

    return fetch


SOURCES: dict[str, Callable[[Stores, dict[str, Any]], Any]] = {
    "env": _env,
    "env with a file": _env_file,
    "file": _file,
    "directory": _directory,
    "secrets manager": _secrets_manager,
    "parameter store": _parameter_store,
    "agent": _agent,
    "vault": _vault,
    "vault 1": _vault_v1,
    "chain": _chain,
    "callable": _callable,
    "coroutine": _coroutine,
}
REMOTE = ["secrets manager", "parameter store", "agent", "vault", "vault 1"]


def static(secret: Document) -> StaticSource:
    """Return a source that holds the secret itself."""
    return StaticSource(partner_auth.Credential("acme", secret))


def _said(document: object) -> str:
    return json.dumps(document)


def _good(key: str, **more: Any) -> str:
    return _said({"client_id": "acme", "secret_key": key, **more})


def _twice(key: str) -> str:
    return f'{{"client_id": "acme", "secret_key": {json.dumps(key)}, "secret_key": "another"}}'


def _pem(key: str) -> str:
    return _good(f"-----BEGIN PRIVATE KEY-----\n{key}\n-----END PRIVATE KEY-----\n")


# What a store may hold that is no credential, or an odd one; each holds the secret somewhere.
DOCUMENTS: dict[str, Callable[[str], Document]] = {
    "as it should be": _good,
    "cut off": lambda key: _good(key)[:-3],
    "cut off in the key": lambda key: _good(key)[:-10],
    "with more behind it": lambda key: _good(key) + key,
    "a list": lambda key: _said([key]),
    "a field twice": _twice,
    "the secret as a name": lambda key: _said({key: key}),
    "the secret as a name twice": lambda key: (
        f'{{"{key}": 1, "{key}": 2}}' if key.isalnum() else _twice(key)
    ),
    "deeply nested": lambda key: (
        '{"a":' * 20_000 + json.dumps(key) if len(key) < 20 else _good(key)[:-1] + "[" * 50_000
    ),
    "no number": lambda key: _good(key)[:-1] + ', "x": NaN}',
    "too many digits": lambda key: _good(key)[:-1] + ', "x": ' + "9" * 5000 + "}",
    "a key in a list": lambda key: _said({"client_id": "acme", "secret_key": [key]}),
    "a key in an object": lambda key: _said({"client_id": "acme", "secret_key": {"a": key}}),
    "another field": lambda key: _said({"client_id": "acme", "password": key}),
    "no client id": lambda key: _said({"secret_key": key}),
    "the secret as client id": lambda key: _said({"client_id": key + "\x07", "secret_key": key}),
    "the secret as version": lambda key: _good(key, version=key + "\x07"),
    "the secret as key id": lambda key: _good(key, key_id=key + "\x07"),
    "the secret as a time": lambda key: _good(key, refresh_at=key, expires_at=key),
    "the secret as a list of times": lambda key: _good(key, expires_at=[key]),
    "over": lambda key: _good(key, expires_at=1_000_000_000),
    "half a character": lambda key: _good(key).replace(': "', ': "\\ud800', 2),
    "the key alone": lambda key: key,
    "the key in lines": lambda key: f"\r\n{key}\r\n\r\n",
    "the key in quotes": lambda key: f'"{key}"',
    "UTF-16": lambda key: _good(key).encode("utf-16"),
    "Latin-1": lambda key: _good(key + "é").replace("\\u00e9", "é").encode("latin-1", "replace"),
    "bytes": lambda key: b"\xff\xfe\xff" + key.encode(),
    "a PEM": _pem,
    "short": lambda key: _good(key[:14]),
    "too long": lambda key: _good(key * 2000),
    "with a mark": lambda key: "\ufeff" + _good(key),
    "unreadable alternates": lambda key: _good(key, secret_key_next=[key], secret_key_previous=""),
    "alternates": lambda key: _good(key[::-1], secret_key_next=key, secret_key_previous=key + "1"),
}
OPTIONS: list[dict[str, Any]] = [
    {},
    {"secret_key_encoding": "base64"},
    {"secret_key_encoding": "hex"},
    {"client_id": "acme"},
    {"secret_key_field": "partner.key"},
    {"client_id_field": "partner.id"},
]
