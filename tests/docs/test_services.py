"""The services in examples/services run as their first lines say, and outlive a rotation."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

import partner_auth
from partner_auth.testing import PartnerServer

SERVICES = Path(__file__).parents[2] / "examples" / "services"
PACKAGE = Path(partner_auth.__file__).parent.parent
ADDRESS = re.compile(r"http://127\.0\.0\.1:\d+")
pytestmark = pytest.mark.long
PATIENCE = 30.0  # seconds until whatever was started has answered or ended
LONGEST = 60

FASTAPI = ["uvicorn", "--port", "0", "fastapi_service:app"]
GUNICORN = ["gunicorn", "--bind", "127.0.0.1:0", "--no-control-socket"]
DJANGO = [*GUNICORN, "--threads", "4", "django_service:application"]


class Service:
    """A service in a process of its own, and what it writes."""

    def __init__(self, command: list[str], folder: Path, env: dict[str, str]) -> None:
        self.log = folder / "service.log"
        safe = {"PYTHONPATH": str(PACKAGE), "PYTHONSAFEPATH": "1", "PYTHONWARNINGS": "error"}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *command],
                cwd=SERVICES,
                env=os.environ | safe | {"PYTHONDONTWRITEBYTECODE": "1"} | env,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def written(self) -> str:
        return self.log.read_text(encoding="utf-8")

    def until(self, wanted: re.Pattern[str]) -> str:
        """Wait until it has written such a text, and return that."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end and self.process.poll() is None:
            if found := wanted.search(self.written()):
                return found[0]
            time.sleep(0.02)
        raise AssertionError(self.written())

    def get(self, path: str) -> tuple[int, str, object]:
        """Return status, worker and document."""
        try:
            answer = urlopen(self.until(ADDRESS) + path, timeout=PATIENCE)
        except HTTPError as error:
            answer = error
        with answer:
            return answer.status, answer.headers.get("X-Worker", ""), json.load(answer)

    def end(self, by: int = signal.SIGTERM) -> int:
        """End it as an operator does; its children with it, should it hang."""
        self.process.send_signal(by)
        try:
            return self.process.wait(PATIENCE)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)


@pytest.fixture
def partner() -> Iterator[PartnerServer]:
    with PartnerServer() as partner:
        yield partner


@pytest.fixture
def secret(partner, tmp_path):
    """The file that holds the secret, as a function that writes it."""
    path = tmp_path / "partner.json"

    def write(secret):
        beside = path.with_suffix(".new")
        beside.write_text(json.dumps({"client_id": "acme", "secret_key": str(secret)}))
        beside.replace(path)

    write(partner.secret)
    return write


@pytest.fixture
def start(partner, tmp_path):
    """Start one with the two variables; whatever it is, it is gone after the test."""
    with contextlib.ExitStack() as stack:

        def start(command, **env):
            given = {
                "PARTNER_BASE_URL": partner.url,
                "PARTNER_AUTH_SOURCE": (tmp_path / "partner.json").as_uri(),
            }
            service = Service(command, tmp_path, given | env)
            stack.callback(service.end)
            return service

        yield start


@pytest.mark.parametrize("command", [FASTAPI, DJANGO], ids=["fastapi", "django"])
def test_a_service_outlives_a_rotation(command, partner, secret, start):
    """It is not restarted, and its caller sees two answers."""
    service = start(command)
    first = service.get("/portfolio")
    secret(partner.rotate())
    assert first == service.get("/portfolio") == (200, "", first[2])
    assert "Traceback" not in service.written()


def test_fastapi_is_ready_from_the_start(secret, start):
    """The secret was read before the first request."""
    assert start(FASTAPI).get("/ready") == (200, "", {"state": "fresh"})


def test_fastapi_does_not_start_without_a_secret(start):
    """The log says why."""
    service = start(FASTAPI)
    assert service.process.wait(PATIENCE) != 0
    assert "partner.json" in service.written()


def test_django_gets_ready_by_being_asked(secret, start):
    """No request comes to a replica that isn't ready, so the probe has the store read."""
    service = start(DJANGO)
    assert service.get("/ready") == (503, "", {"state": "empty"})
    end = time.monotonic() + PATIENCE
    while (ready := service.get("/ready"))[0] != 200:
        assert time.monotonic() < end
    assert ready == (200, "", {"state": "fresh"})


LAMBDA = """
from lambda_handler import handler
print([handler({"path": "portfolio"}, None)["statusCode"] for _ in "ab"])
"""


def lambda_calls(partner, **env):
    """Import it as Lambda does, call it twice, and return what came of it."""
    paths = {"PYTHONPATH": f"{PACKAGE}{os.pathsep}{SERVICES}", "PARTNER_BASE_URL": partner.url}
    return subprocess.run(
        [sys.executable, "-B", "-W", "error", "-c", LAMBDA],
        env=os.environ | paths | env,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )


def test_a_lambda_function_signs_once(partner, secret, tmp_path):
    """Warm calls carry the token that the cold one had."""
    done = lambda_calls(partner, PARTNER_AUTH_SOURCE=(tmp_path / "partner.json").as_uri())
    assert (done.stdout, done.stderr) == ("[200, 200]\n", "")
    assert len({request.token for request in partner.requests}) == 1


def test_a_lambda_function_says_at_its_call_what_went_wrong(partner):
    """It can be imported without a secret: Lambda would try that again and again."""
    done = lambda_calls(partner)
    assert "not_configured" in done.stderr or "SourceRejected" in done.stderr
    assert "in handler" in done.stderr


# -- processes that fork


@pytest.fixture
def aws(partner, monkeypatch):
    """Play AWS with the partner's secret in it; the reads are listed."""
    boto3 = pytest.importorskip("boto3")
    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    moto, reads = DomainDispatcherApplication(create_backend_app), []

    def counting(environ, start_response):
        if environ.get("HTTP_X_AMZ_TARGET") == "secretsmanager.GetSecretValue":
            reads.append(environ)
        return moto(environ, start_response)

    server = make_server("127.0.0.1", 0, counting, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    manager = boto3.client("secretsmanager", region_name="eu-west-1")
    document = json.dumps({"client_id": partner.client_id, "secret_key": str(partner.secret)})
    manager.create_secret(Name="services/partner", SecretString=document)
    yield reads
    manager.delete_secret(SecretId="services/partner", ForceDeleteWithoutRecovery=True)
    manager.close()
    server.shutdown()
    thread.join()
    server.server_close()


AWS = {"PARTNER_AUTH_SOURCE": "aws-secretsmanager://services/partner?region=eu-west-1"}


@pytest.mark.parametrize("preload, wanted", [(["--preload"], 1), ([], 3)])
def test_gunicorn_reads_once_before_the_fork(preload, wanted, aws, start):
    """Three workers begin with what the master read; without --preload each reads."""
    service = start([*GUNICORN, *preload, "--workers", "3", "gunicorn_service:app"], **AWS)
    answers, end = [], time.monotonic() + PATIENCE
    while len({worker for _, worker, _ in answers}) < 3 and time.monotonic() < end:
        answers.append(service.get("/portfolio"))
    assert len({worker for _, worker, _ in answers}) == 3
    assert {status for status, _, _ in answers} == {200}
    assert len(aws) == wanted
    assert service.end() == 0
    assert "Traceback" not in service.written()


# Celery's brokers are servers, but for this one, whose queues are files: the same for worker and us.
CELERY = """
from celery_tasks import app

app.conf.update(
    broker_url="filesystem://",
    broker_transport_options={{key: {queue!r} for key in (
        "data_folder_in", "data_folder_out", "control_folder"
    )}},
    result_backend="file://" + {results!r},
)
"""
SENDER = "from celery_on_files import app; from celery_tasks import portfolio as p"


def test_celery_reads_once_before_the_fork(partner, aws, start, tmp_path):
    """Its children begin with what the worker's parent read."""
    folders = {"queue": str(tmp_path / "queue"), "results": str(tmp_path / "results")}
    for folder in folders.values():
        Path(folder).mkdir()
    (tmp_path / "celery_on_files.py").write_text(CELERY.format(**folders))
    paths = {"PYTHONPATH": os.pathsep.join(map(str, (PACKAGE, SERVICES, tmp_path)))}
    as_root = {"PYTHONWARNINGS": "error,ignore:You're running the worker"}  # CI may be
    command = ["celery", "-A", "celery_on_files", "worker", "--concurrency", "2"]
    service = start(
        [*command, "--pool", "prefork", "--loglevel", "INFO"], **AWS, **paths, **as_root
    )
    sent = f"{SENDER}; print([one.get(timeout=20) for one in [p.delay() for _ in range(8)]])"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", sent],
        env=os.environ | AWS | paths | {"PARTNER_BASE_URL": partner.url},
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    assert done.stdout.count("ACME") == 8, done.stderr + service.written()
    assert len(aws) == 1
    service.end(signal.SIGKILL)  # by SIGTERM it takes six seconds


@pytest.mark.parametrize("file", sorted(SERVICES.glob("*.py")), ids=lambda file: file.name)
def test_a_service_is_short(file):
    """Whoever opens it sees it whole."""
    assert len(file.read_text(encoding="utf-8").splitlines()) <= LONGEST
