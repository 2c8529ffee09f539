"""A Lambda function's cold start, on top of boto3 alone: `python -m benchmarks.cold_start`.

Each figure is the median of fresh processes: what happens once, outside the handler (init), and the
first call with all that it waits for. AWS (moto) and the partner answer from a process of their own, so that nothing of
theirs is imported here.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SERVICES = Path(__file__).parents[1] / "examples" / "services"
ROUNDS = 15
SERVERS = """
import json, logging, sys
import boto3
from moto.server import ThreadedMotoServer
from partner_auth.testing import PartnerServer

logging.getLogger("werkzeug").setLevel(logging.ERROR)
aws = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
aws.start()
with PartnerServer() as partner:
    endpoint = "http://{}:{}".format(*aws.get_host_and_port())
    keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
    where = {"region_name": "eu-west-1", "endpoint_url": endpoint}
    text = json.dumps({"client_id": partner.client_id, "secret_key": str(partner.secret)})
    boto3.client("secretsmanager", **where, **keys).create_secret(
        Name="prod/partner", SecretString=text
    )
    print(json.dumps([endpoint, partner.url]), flush=True)
    sys.stdin.read()
aws.stop()
"""
READ = """
secret = boto3.client("secretsmanager").get_secret_value(SecretId="prod/partner")["SecretString"]
"""
SEND = """
now = int(time.time())
document = json.loads(secret)
claims = {"clientId": document["client_id"], "iat": now, "exp": now + 900}
token = jwt.encode(claims, document["secret_key"], algorithm="HS256")
url = os.environ["PARTNER_BASE_URL"] + "/portfolio"
headers = {"Authorization": f"Bearer {token}"}
assert requests.Session().get(url, headers=headers).status_code == 200
"""
MADE = """
import requests, partner_auth
session = requests.Session()
session.auth = partner_auth.PartnerAuth()
"""
CALL = """
url = os.environ["PARTNER_BASE_URL"] + "/portfolio"
assert session.get(url).status_code == 200
"""
# What a function does before its first call, and in it.
PROGRAMS = {
    "boto3 alone: the secret is read": ("import boto3", READ),
    "by hand: boto3, PyJWT, requests": ("import boto3, jwt, requests", READ + SEND),
    "partner_auth, read at the first call": (MADE, CALL),
    "examples/services/lambda_handler.py": ("from lambda_handler import session", CALL),
}
TIMED = """
import json, os, sys, time
began = time.perf_counter()
{init}
ready = time.perf_counter()
{call}
print(json.dumps([ready - began, time.perf_counter() - ready]))
"""


@contextmanager
def servers() -> Iterator[dict[str, str]]:
    """Run AWS and the partner; give the variables that lead to them."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", SERVERS], **pipes) as process:
        endpoint, url = json.loads(process.stdout.readline())
        yield {
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "eu-west-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "PARTNER_BASE_URL": url,
            "PYTHONPATH": str(SERVICES),
            "PARTNER_AUTH_SOURCE": "aws-secretsmanager://prod/partner",
        }
        process.stdin.close()


def one(program: tuple[str, str], env: dict[str, str]) -> list[float]:
    """Return the seconds before the first call and in it, of a fresh process."""
    init, call = program
    command = [sys.executable, "-c", TIMED.format(init=init, call=call)]
    done = subprocess.run(command, env=os.environ | env, capture_output=True, check=True)
    return json.loads(done.stdout)


def measured(rounds: int) -> dict[str, list[float]]:
    """Return the medians of each program; they take turns, so that all see the same machine."""
    runs: dict[str, list[list[float]]] = {name: [] for name in PROGRAMS}
    with servers() as env:
        for _ in range(rounds + 1):
            for name, program in PROGRAMS.items():
                runs[name].append(one(program, env))
    return {
        name: [statistics.median(part) for part in zip(*all_but_first, strict=True)]
        for name, (_, *all_but_first) in runs.items()
    }


def main(rounds: int = ROUNDS) -> int:
    """Print the figures."""
    print(f"{'seconds':40} {'init':>7} {'call':>7} {'both':>7}")
    for name, (init, call) in measured(rounds).items():
        print(f"{name:40} {init:7.3f} {call:7.3f} {init + call:7.3f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
