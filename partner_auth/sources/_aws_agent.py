"""The AWS Secrets Manager Agent, and the Lambda extension that answers as it does: no boto3.

They run beside us, keep what they read for 300 s, and are asked over plain http on the loopback,
with a token against forged requests. `http.client` follows no redirect and knows no proxy.
"""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from partner_auth._credentials import Secret
from partner_auth.exceptions import Failure
from partner_auth.sources._aws_client import CONNECT, READ, Bound, Deadline, in_time
from partner_auth.sources._aws_errors import Answer, Call, Refusal, refused

_HOST = "localhost"
_PORT = "2773"
_PORT_VARIABLE = "PARAMETERS_SECRETS_EXTENSION_HTTP_PORT"
_HEADER = "X-Aws-Parameters-Secrets-Token"
_INSTALLED = Path("/var/run/awssmatoken")  # where the agent's installer has its token written
_TOKEN_LIMIT = 16_384
_LIMIT = 524_288  # bytes: a secret of 64 KiB, each of its characters escaped, and some more
_OK, _FORBIDDEN, _BAD_REQUEST = 200, 403, 400


def ask(call: Call, deadline: Deadline, bound: Bound, *, fresh: bool) -> Answer | Failure:
    """Ask the agent; `fresh`: past what it keeps."""
    return in_time(partial(_ask, call, deadline, fresh), call, deadline, bound)


def _ask(call: Call, deadline: Deadline, fresh: bool) -> Answer | Failure:
    port = os.environ.get(_PORT_VARIABLE) or _PORT
    if not re.fullmatch("[0-9]{1,5}", port) or int(port) not in range(1, 65_536):
        return call.misconfigured(f"{_PORT_VARIABLE} is no port: mend it")
    token = _token()
    if token is None:
        text = (
            "there is no token for the agent: set AWS_TOKEN (the token, or file://PATH), or let us "
            f"read {_INSTALLED} (its group is awssmatokenreader)"
        )
        return call.unavailable(text, "identity")
    answer = _get(call, int(port), token, deadline, fresh=fresh)
    if isinstance(answer, OSError):  # if it was asking AWS just then, it has the answer by now
        answer = _get(call, int(port), token, deadline, fresh=fresh)
    if isinstance(answer, TimeoutError):
        return call.unavailable(f"no answer in time from the agent at {_HOST}:{port}", "timeout")
    if isinstance(answer, OSError):
        kind = type(answer).__name__
        return call.unavailable(f"no agent answers at {_HOST}:{port} ({kind}): start it there")
    return answer


def _token() -> Secret | None:
    """Return the token as the agent finds its own: each time anew, since it changes with a restart.

    AWS_SESSION_TOKEN is its token in a Lambda function; elsewhere it may be anybody's.
    """
    told = os.environ.get("AWS_TOKEN") or ""
    if not told and not os.environ.get("AWS_LAMBDA_FUNCTION_NAME"):
        told = _read(_INSTALLED)
    for name in ("AWS_SESSION_TOKEN", "AWS_CONTAINER_AUTHORIZATION_TOKEN"):
        told = told or os.environ.get(name) or ""
    if told.startswith("file://"):
        told = _read(Path(told.removeprefix("file://")))
    told = told.strip()
    return Secret(told) if told and told.isascii() and told.isprintable() else None


def _read(path: Path) -> str:
    try:
        with path.open(encoding="ascii") as file:
            return file.read(_TOKEN_LIMIT)
    except (OSError, ValueError):
        return ""


def _get(
    call: Call, port: int, token: Secret, deadline: Deadline, *, fresh: bool
) -> Answer | Failure | OSError:
    import http.client
    from urllib.parse import urlencode

    query = {
        "secretId": call.parameters["SecretId"],
        "versionStage": call.parameters["VersionStage"],
    } | ({"refreshNow": "true"} if fresh else {})
    connection = http.client.HTTPConnection(_HOST, port, timeout=deadline.seconds * CONNECT)
    try:
        connection.connect()
        connection.sock.settimeout(deadline.seconds * READ)
        path = f"/secretsmanager/get?{urlencode(query)}"
        connection.request("GET", path, headers={_HEADER: str(token.reveal())})
        response = connection.getresponse()
        return _answer(call, response.status, Secret(response.read(_LIMIT)))
    except OSError as error:
        return error
    except http.client.HTTPException:
        return call.no_answer("what the agent's port sent")
    finally:
        connection.close()


def _answer(call: Call, status: int, body: Secret) -> Answer | Failure:
    said = _parsed(body)
    if status == _OK:
        answer = None if said is None else call.read(_unpacked(said))
        return answer or call.no_answer("what the agent's port sent")
    if said is not None and isinstance(said.get("__type"), str):
        code = str(said["__type"]).rpartition("#")[2]
        return refused(Refusal(code, str(said.get("message") or said.get("Message")), status), call)
    if status == _FORBIDDEN:
        text = (
            "the agent refuses our token: AWS_TOKEN or its file must hold the one that the agent "
            "was started with"
        )
        return call.unavailable(text, "identity")
    if status == _BAD_REQUEST:
        text = "the agent takes no such question, or does not serve yet: update it (refreshNow)"
        return call.unavailable(text, "malformed")
    return refused(Refusal(str(status), "", status), call)


def _unpacked(said: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return it as boto3 gives it: bytes, where JSON has base64."""
    binary = said.get("SecretBinary")
    if not isinstance(binary, str):
        return said
    try:
        return {**said, "SecretBinary": base64.b64decode(binary, validate=True)}
    except ValueError:
        return {}


def _parsed(body: Secret) -> Mapping[str, Any] | None:
    try:
        said = json.loads(body.encoded())
    except (ValueError, RecursionError):
        return None
    return said if isinstance(said, dict) else None
