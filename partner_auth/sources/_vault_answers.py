"""What a Vault or OpenBao server gave: a mount, a version of a secret, a token, or a Problem."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from partner_auth._credentials import Secret
from partner_auth.sources._vault_refusals import (
    NOT_FOUND,
    OK,
    Answer,
    Problem,
    content_of,
    login_refusal,
    malformed,
    mapping,
    refusal,
    rejected,
    unavailable,
)

WRONG_VERSION = unavailable("malformed", "the secrets engine became another one meanwhile")


class Mount(NamedTuple):
    """Where a secrets engine is mounted, with a slash at the end, and its KV version."""

    path: str
    version: int

    def api_path(self, rest: str) -> str:
        """Return where the API has the secret that users call `rest`."""
        return self.path + ("data/" if self.version > 1 else "") + rest


class Stored(NamedTuple):
    """One version of a secret as a JSON document, and its number (KV version 2 only)."""

    document: Secret
    number: int | None = None

    @property
    def version(self) -> str | None:
        """The number as `Credential` has it."""
        return None if self.number is None else str(self.number)


class Grant(NamedTuple):
    """A token and how long it lives, in seconds; 0 is for ever."""

    token: Secret
    life: float
    renewable: bool


def read_mount(answer: Answer, path: str) -> Mount | Problem:
    """Read the answer of `sys/internal/ui/mounts/{path}`."""
    data = mapping(content_of(answer).get("data"))
    mount, options = data.get("path"), mapping(data.get("options"))
    if not isinstance(mount, str) or not mount.endswith("/") or not f"{path}/".startswith(mount):
        return malformed("200 and no mount")
    return Mount(mount, 2 if options.get("version") == "2" else 1)


def read_secret(answer: Answer, mount: Mount, rest: str) -> Stored | Problem:
    """Read the answer to a read of the path `rest` below `mount`."""
    if answer.status not in (OK, NOT_FOUND):
        return refusal(answer, mount.api_path(rest))
    content = content_of(answer)
    data = mapping(content.get("data"))
    metadata = mapping(data.get("metadata"))
    number = _count(metadata.get("version"))
    if answer.status == OK:
        return _stored(data.get("data"), number) if mount.version > 1 else _stored_v1(content)
    name = f"version {number} of {rest!r} in {mount.path!r}"
    if number is not None and metadata.get("destroyed") is True:
        return rejected("destroyed", f"{name} was destroyed: write a new one")
    if number is not None and metadata.get("deletion_time"):
        return rejected("deleted", f"{name} was deleted: undelete it, or write a new one")
    if "versioned K/V" in str(content.get("warnings", "")):
        return WRONG_VERSION
    return _absent(answer, mount, rest)


def read_grant(answer: Answer, where: str) -> Grant | Problem:
    """Read the answer to a login or renewal at `where`."""
    if answer.status != OK:
        return login_refusal(answer, where)
    auth = mapping(content_of(answer).get("auth"))
    if auth.get("mfa_requirement"):
        return unavailable("identity", f"{where!r} wants a second factor, which no program has")
    token = auth.get("client_token")
    if not isinstance(token, str) or not token:
        return malformed("200 and no token")
    life = _count(auth.get("lease_duration")) or 0
    return Grant(Secret(token), float(life), auth.get("renewable") is True)


def read_own_life(answer: Answer, token: Secret) -> Grant | None:
    """Read the answer of `auth/token/lookup-self`; None where it tells nothing of use."""
    data = mapping(content_of(answer).get("data"))
    life = _count(data.get("ttl"))
    if answer.status != OK or life is None or data.get("num_uses"):  # a renewal is a use
        return None
    return Grant(token, float(life), data.get("renewable") is True)


def read_secret_id(answer: Answer, where: str) -> Secret | Problem:
    """Read the answer of `sys/wrapping/unwrap` to a secret id's wrapping token."""
    if answer.status != OK:
        return login_refusal(answer, where)
    secret_id = mapping(content_of(answer).get("data")).get("secret_id")
    if isinstance(secret_id, str) and secret_id:
        return Secret(secret_id)
    return unavailable("identity", "what the wrapping token held is no secret id")


def _stored_v1(content: dict[str, Any]) -> Stored | Problem:
    return _stored(content.get("data"), None, versioned=False)


def _stored(values: Any, number: int | None, *, versioned: bool = True) -> Stored | Problem:
    if not isinstance(values, dict) or (versioned and number is None):
        return malformed("200 and no secret")
    try:
        return Stored(Secret(json.dumps(values, ensure_ascii=False)), number)
    except (ValueError, RecursionError):
        return malformed("a secret that nests too deep")


def _absent(answer: Answer, mount: Mount, rest: str) -> Problem:
    problem = refusal(answer, mount.api_path(rest))
    if "there is nothing at" not in problem.text:
        return problem
    hint = ": leave 'data/' out of the path" if rest.startswith("data/") else ""
    text = f"{mount.path!r} (KV version {mount.version}) holds no secret at {rest!r}{hint}"
    return rejected("not_found", text)


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
