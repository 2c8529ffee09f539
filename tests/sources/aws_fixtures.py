"""A real moto server, and what the AWS tests do to it.

moto keeps one state for the process, and differs from AWS: after a label was moved, a plain put
leaves AWSCURRENT on two versions. So rotate by `pend` and `finish`, or by `put` alone.
"""

from __future__ import annotations

import json
import logging
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from tests.sources.lying_server import LyingServer, Reply

KEYS = {"aws_access_key_id": "AKIAIOSFODNN7EXAMPLE", "aws_secret_access_key": "bXktc2lnbmluZy1rZXk"}
SESSION_TOKEN = "IQoJb3JpZ2luX2VjEXAMPLETOKEN"
NAME = "prod/partner"
K0, K1, K2, K3 = (f"key-number-{n}-{'x' * 32}" for n in range(4))


def document(key: str, client_id: str = "acme") -> str:
    """Return a secret's text as people store it."""
    return json.dumps({"client_id": client_id, "secret_key": key})


def refusal_of(code: str, message: str = "", status: int = 400) -> Reply:
    """Answer with an error as AWS writes one."""
    headers = {"Content-Type": "application/x-amz-json-1.1"}
    return Reply(status, {"__type": code, "message": message}, headers)


class Aws:
    """The server at `endpoint`, and an administrator's hands on it."""

    def __init__(self, endpoint: str) -> None:
        import boto3

        self.endpoint = endpoint
        self.session = boto3.Session(**KEYS, region_name="eu-west-1")
        self.manager = self.session.client("secretsmanager", endpoint_url=endpoint)
        self.parameters = self.session.client("ssm", endpoint_url=endpoint)

    def reset(self) -> None:
        request = urllib.request.Request(f"{self.endpoint}/moto-api/reset", method="POST")
        urllib.request.urlopen(request).close()

    def create(self, text: str | bytes, name: str = NAME) -> str:
        content: dict[str, Any] = (
            {"SecretString": text} if isinstance(text, str) else {"SecretBinary": text}
        )
        return str(self.manager.create_secret(Name=name, **content)["VersionId"])

    def put(self, text: str, name: str = NAME) -> str:
        return str(self.manager.put_secret_value(SecretId=name, SecretString=text)["VersionId"])

    def pend(self, text: str, name: str = NAME) -> str:
        """Do createSecret: the new value is pending."""
        put = self.manager.put_secret_value(
            SecretId=name, SecretString=text, VersionStages=["AWSPENDING"]
        )
        return str(put["VersionId"])

    def finish(self, version: str, *, keep_pending: bool = False, name: str = NAME) -> None:
        """Do finishSecret: the pending value becomes the current one."""
        current = self.manager.get_secret_value(SecretId=name, VersionStage="AWSCURRENT")
        self.manager.update_secret_version_stage(
            SecretId=name,
            VersionStage="AWSCURRENT",
            MoveToVersionId=version,
            RemoveFromVersionId=current["VersionId"],
        )
        if not keep_pending:
            self.manager.update_secret_version_stage(
                SecretId=name, VersionStage="AWSPENDING", RemoveFromVersionId=version
            )


@pytest.fixture(scope="session")
def aws_server() -> Iterator[Aws]:
    """Start moto once for all tests."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield Aws(f"http://{host}:{port}")
    server.stop()


@pytest.fixture
def aws(aws_server: Aws, monkeypatch: pytest.MonkeyPatch) -> Aws:
    """An empty AWS that boto3 finds by the environment, as an application's would."""
    aws_server.reset()
    for name, value in KEYS.items():
        monkeypatch.setenv(name.upper(), value)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", aws_server.endpoint)
    return aws_server


@pytest.fixture
def liar() -> Iterator[LyingServer]:
    """A server that stands between a source and AWS; what it says is the test's business."""
    with LyingServer() as server:
        yield server
