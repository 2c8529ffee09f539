"""What a Vault or OpenBao server means when it does not give what was asked for: a Problem.

Answers are unwrapped only in here and in `_vault_answers`, which return plain values, `Secret`s and
`Problem`s and raise nothing, so that no frame of an error holds a secret or token. Of a server's
own words only phrases that are known here are repeated: others could hold our token.

    403 "permission denied" alone, or "invalid token"   who we are: the token is dead
    403 "1 error occurred: … permission denied"         our right: it lives, its policy denies
    404 with metadata (`_vault_answers`)                the secret: deleted or destroyed
    404 with `errors`                                   the secret: no such path, mount, namespace
    403, 404, 400 without Vault's JSON                  a proxy's page: says nothing
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from partner_auth._credentials import Secret
from partner_auth.exceptions import (
    ConfigurationError,
    PartnerAuthError,
    Rejection,
    SourceRejected,
    SourceUnavailable,
    Unavailability,
)

OK = 200
FORBIDDEN, NOT_FOUND = 403, 404
_REDIRECTS = (301, 302, 303, 307, 308)
_BAD_REQUEST, _THROTTLED, _SERVER_ERROR = 400, 429, 500
_NOT_INITIALIZED, _UNAVAILABLE = 501, 503
_STANDBY = {
    412: "is behind the others",
    472: "is a disaster recovery standby",
    473: "is a performance standby",
}

# Why a login or renewal was refused: in the server's words (a part of them), and in ours.
_LOGIN_REFUSALS = {
    "invalid role or secret id": "invalid role or secret id",
    "invalid role id": "invalid role id",
    "invalid role_id": "invalid role id",
    "invalid secret id": "invalid secret id",
    "invalid secret_id": "invalid secret id",
    "missing role_id": "missing role id",
    "missing secret_id": "missing secret id",
    "invalid username or password": "invalid username or password",
    "wrapping token is not valid": "the wrapping token is none, has expired or was used before, "
    "maybe by someone else",
    "token is expired": "the JWT has expired",
    "audience": "the JWT has another audience",
    "issuer": "the JWT has another issuer",
    "signature": "the JWT's signature is not known",
    "namespace not authorized": "the Kubernetes namespace is not the role's",
    "service account name not authorized": "the service account is not the role's",
    "lookup failed": "Kubernetes did not confirm the service account's token",
    "could not be found": "there is no such role",
    "invalid role name": "there is no such role",
    "missing role": "role= is missing",
    "source address": "this address may not log in",
    "not renewable": "the token is not renewable",
}


class Problem(NamedTuple):
    """What went wrong, without the source's name: sources may share it."""

    kind: type[PartnerAuthError]
    text: str
    reason: str = ""

    def error(self, source: str) -> PartnerAuthError:
        """Return the error for one caller; `source` is the repr of its source."""
        fields = {"reason": self.reason} if self.reason else {}
        return self.kind(f"{source}: {self.text}", **fields)

    @property
    def is_identity(self) -> bool:
        """Whether the store could not tell who we are."""
        return self.reason == "identity"


def unavailable(reason: Unavailability, text: str) -> Problem:
    """Return a "not now"."""
    return Problem(SourceUnavailable, text, reason)


def rejected(reason: Rejection, text: str) -> Problem:
    """Return a "no"."""
    return Problem(SourceRejected, text, reason)


def not_configured(text: str) -> Problem:
    """Return a wrong setting that only a read could find."""
    return Problem(ConfigurationError, text)


def malformed(what: str) -> Problem:
    """Return that an answer was none of Vault's."""
    text = f"got {what}: is there a proxy in between, or another server at that address?"
    return unavailable("malformed", text)


class Answer(NamedTuple):
    """One answer of a server, its body wrapped; `target` is the host that a redirect names."""

    status: int
    body: Secret
    target: str = ""


def refusal(answer: Answer, what: str) -> Problem:
    """Return what an answer other than 200 means; `what` is the path that was asked for."""
    status, said = answer.status, said_by(answer)
    if status in _REDIRECTS:
        return _redirect(answer)
    if status == _THROTTLED:
        return unavailable("throttled", "the server limits our requests (429)")
    if status in _STANDBY:
        text = f"the node {_STANDBY[status]} ({status}): set the address to the active one"
        return unavailable("unreachable", text)
    if status >= _SERVER_ERROR:
        return _server_error(status, said)
    if said is None:
        return malformed(f"{status} without Vault's own words")
    if status == FORBIDDEN:
        return _forbidden(said, what)
    if status == NOT_FOUND:
        return _not_found(said, what)
    text = f"the server can't make sense of a request for {what!r} ({status})"
    return unavailable("malformed", text)


def login_refusal(answer: Answer, where: str) -> Problem:
    """Return what an answer other than 200 to a login, unwrapping or renewal at `where` means."""
    said = said_by(answer)
    if said is None or answer.status not in (_BAD_REQUEST, FORBIDDEN, NOT_FOUND):
        return refusal(answer, where)
    if _NO_NAMESPACE in said:
        return _not_found(said, where)
    why = next((ours for theirs, ours in _LOGIN_REFUSALS.items() if theirs in said), "")
    if not why and answer.status == _BAD_REQUEST:
        why = "the server's log says why"
    why = why or "no login method is mounted there, or it does not let us in (locked? unknown?)"
    return unavailable("identity", f"{where!r} was refused: {why}")


def is_token_unknown(answer: Answer) -> bool:
    """Whether the server does not know the token: it is about who we are, not what we may."""
    said = said_by(answer) if answer.status == FORBIDDEN else None
    return said is not None and _is_about_the_token(said)


def is_preflight_denial(answer: Answer) -> bool:
    """Whether only the question where the path is mounted was refused, not the token.

    It has no right below that mount, or there is none; a policy may also deny `sys/`, and an old
    server has no answer to it.
    """
    said = said_by(answer)
    if said is None or answer.status not in (FORBIDDEN, NOT_FOUND):
        return False
    return not _is_about_the_token(said) and _NO_NAMESPACE not in said


def said_by(answer: Answer) -> str | None:
    """Return a server's errors in one text, in lower case; None where no Vault speaks."""
    content = content_of(answer)
    if "errors" not in content and "request_id" in content:
        return ""
    errors = content.get("errors")
    if not isinstance(errors, list):
        return None
    return " ".join(error for error in errors if isinstance(error, str)).strip().lower()


def content_of(answer: Answer) -> dict[str, Any]:
    """Return the JSON object in an answer; an empty one where there is none."""
    try:
        return mapping(json.loads(answer.body.encoded()))
    except (ValueError, RecursionError):
        return {}


def mapping(value: Any) -> dict[str, Any]:
    """Return what should be an object as one."""
    return value if isinstance(value, dict) else {}


_NO_NAMESPACE = "namespace not found"


def _is_about_the_token(said: str) -> bool:
    return said == "permission denied" or "invalid token" in said or "bad token" in said


def _forbidden(said: str, what: str) -> Problem:
    if _is_about_the_token(said):
        return unavailable("identity", "the server does not know our token")
    policy = f'path "{what}" {{ capabilities = ["read"] }}'
    return rejected(
        "denied", f"our token lives but may not read {what!r}: its policy lacks {policy}"
    )


def _not_found(said: str, what: str) -> Problem:
    if _NO_NAMESPACE in said:
        text = "there is no such namespace: look at VAULT_NAMESPACE or namespace="
    elif "no handler for route" in said:
        text = f"no secrets engine is mounted at {what!r}, or its plug-in is being reloaded"
    else:
        text = f"there is nothing at {what!r}"
    return rejected("not_found", text)


def _server_error(status: int, said: str | None) -> Problem:
    if status == _UNAVAILABLE and "sealed" in (said or ""):
        return unavailable("sealed", "the server is sealed: unseal it")
    if status == _NOT_INITIALIZED and said is not None:
        return unavailable("sealed", "the server is not initialized")
    return unavailable("unreachable", f"the server answered {status}")


def _redirect(answer: Answer) -> Problem:
    target = f" to {answer.target}" if answer.target else ""
    text = (
        f"the server redirects{target} ({answer.status}), where no token is sent: "
        "set the address to the active node"
    )
    return unavailable("unreachable", text)
