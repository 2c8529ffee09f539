"""Reading the credential from HashiCorp Vault or OpenBao, KV version 1 or 2.

The parts, upwards: `_vault_refusals` and `_vault_answers` (what an answer means),
`_vault_settings` (where the server is), `_vault_wire` (one request), `_vault_methods` (how to log
in), `_vault_lease` and `_vault_login` (the token and its life), `_vault_visit` (one read). There is
no `fetch_fresh`: the server caches nothing, and no header makes a Vault Proxy's cache ask it.
"""

from __future__ import annotations

import importlib.util
import sys
import time
from collections.abc import Iterator
from typing import Any, cast
from urllib.parse import unquote

from partner_auth._clock import Clock, checked
from partner_auth._credentials import Credential, Secret
from partner_auth.exceptions import ConfigurationError, CredentialInvalid, SourceRejected
from partner_auth.sources._fields import FIELD_PARAMS, Fields, read_timeout
from partner_auth.sources._url import SourceURL
from partner_auth.sources._vault_answers import (
    WRONG_VERSION,
    Mount,
    Stored,
    read_mount,
    read_secret,
)
from partner_auth.sources._vault_login import Link, link_for, link_key
from partner_auth.sources._vault_methods import checked_client, checked_method
from partner_auth.sources._vault_refusals import (
    OK,
    Problem,
    is_preflight_denial,
    refusal,
    rejected,
)
from partner_auth.sources._vault_settings import (
    checked_address,
    checked_namespace,
    checked_path,
    quoted,
    read_settings,
)
from partner_auth.sources._vault_visit import Visit

_LOGIN_PARAMS = (
    "auth",
    "token_file",
    "role",
    "jwt_file",
    "username",
    "secret_id_wrapped",
    "auth_mount",
)
_PARAMS = (*_LOGIN_PARAMS, "address", "namespace", *FIELD_PARAMS)
_WANTED, _EXTRA_READS = 2, 3  # alternates that are used, former versions that are looked at


class VaultSource:
    """Read the credential from a KV secrets engine, version 1 or 2, of Vault or OpenBao.

    The variables that the commands `vault` and `bao` read (`BAO_X` before `VAULT_X`) say where the
    server is and who we are; they are read at each use. Sources with equal settings share one
    connection pool and one login, which is renewed before its end. The token needs one right:
    `path "MOUNT/data/PATH" { capabilities = ["read"] }` (without `data/` for version 1).

    Args:
        mount: where the engine is mounted; where mount and path part, the server is asked.
        path: the secret below it, without `data/`.
        client: an `hvac.Client` of your own. Its address, session and token are used as they are,
            and it is yours to keep alive.
        auth: `token` (`VAULT_TOKEN`, else `~/.vault-token`), `approle` (`VAULT_ROLE_ID`,
            `VAULT_SECRET_ID`), `kubernetes`, `jwt`, or `userpass` (`VAULT_PASSWORD`).
        token_file: a file with the token, such as a Vault Agent's sink; read at each use.
        role: for `kubernetes` and `jwt`.
        jwt_file: likewise, read at each login; for `kubernetes` the pod's own by default.
        username: for `userpass`.
        secret_id_wrapped: whether `VAULT_SECRET_ID` is a wrapping token that holds the secret id.
        auth_mount: where the login method is mounted; its name by default.
        address: instead of `VAULT_ADDR`.
        namespace: instead of `VAULT_NAMESPACE`.
        client_id: the client id, where the secret holds the key alone.
        client_id_field: the field (a dotted path) of the client id.
        secret_key_field: likewise of the key.
        secret_key_encoding: `base64`, `base64url` or `hex`, if the key is stored so.
        timeout: seconds for one read, logins included.
        clock: for tests; an object with `now()` and `monotonic()`.

    Raises:
        ConfigurationError: an argument is wrong, or hvac is not installed.
    """

    _shown = "VaultSource(…)"  # while an argument is being refused

    def __init__(
        self,
        mount: str,
        path: str,
        *,
        client: Any = None,
        auth: str = "token",
        token_file: str | None = None,
        role: str | None = None,
        jwt_file: str | None = None,
        username: str | None = None,
        secret_id_wrapped: bool | str = False,
        auth_mount: str | None = None,
        address: str | None = None,
        namespace: str | None = None,
        client_id: str | None = None,
        client_id_field: str | None = None,
        secret_key_field: str | None = None,
        secret_key_encoding: str | None = None,
        timeout: float | str = 8.0,
        clock: Clock | None = None,
    ) -> None:
        wrapped = address if address is None else Secret(str(address))
        del address
        _require_hvac()
        self._mount = checked_path("mount", mount)
        self._path = f"{self._mount}/{checked_path('path', path)}"
        self._method = checked_method(
            auth,
            {
                "token_file": token_file,
                "role": role,
                "jwt_file": jwt_file,
                "username": username,
                "secret_id_wrapped": secret_id_wrapped,
                "auth_mount": auth_mount,
            },
        )
        self._address = None if wrapped is None else checked_address("address=", wrapped)
        self._namespace = (
            None if namespace is None else checked_namespace("namespace=", namespace) or ""
        )
        self._fields = Fields(client_id, client_id_field, secret_key_field, secret_key_encoding)
        self._timeout = read_timeout(timeout)
        self._client = checked_client(client, self._method, self._address)
        self._clock = clock if clock is None else checked(clock)
        self._link: Link | None = None
        self._where: Mount | None = None
        self._shown = self._as_made(path)

    def __repr__(self) -> str:
        return self._shown

    def _as_made(self, path: str) -> str:
        given = {name: getattr(self._method, name) for name in _LOGIN_PARAMS}
        given |= {"address": self._address, "namespace": self._namespace}
        shown = [repr(self._mount), repr(path)]
        shown += ["client=…"] if self._client is not None else []
        shown += [f"{name}={value!r}" for name, value in given.items() if value not in _UNSAID]
        return f"VaultSource({', '.join([*shown, *self._fields.options()])})"

    def __getstate__(self) -> dict[str, Any]:
        """Pickle the settings; login, connections and what is known of the mount stay here."""
        if self._client is not None:
            raise TypeError(f"{self!r} can't be pickled: its client holds a token; use address=")
        return self.__dict__ | {"_link": None, "_where": None}

    def fetch(self) -> Credential:
        """Read the current version.

        Raises:
            SourceUnavailable: not now, or the server does not know who we are (`identity`).
            SourceRejected: the secret is gone, or our right to it is.
            CredentialInvalid: what is stored is no credential.
            ConfigurationError: a variable is wrong.
        """
        visit = self._visit()
        stored = self._read(visit)
        if isinstance(stored, Problem):
            raise stored.error(repr(self))
        visit.learn_life()
        return self._credential(stored, visit.refresh_at())

    def alternates(self) -> list[Credential]:
        """Return what may be valid around a rotation: at most two, likeliest first.

        The fields `secret_key_next` and `secret_key_previous`, then, with KV version 2, the former
        versions that hold another credential; deleted ones are passed over. Raises as `fetch`.
        """
        visit = self._visit()
        stored = self._read(visit)
        if isinstance(stored, Problem):
            raise stored.error(repr(self))
        found, current = self._beside(stored), self._if_valid(stored)
        for former in self._former(visit, stored.number or 0):
            if len(found) >= _WANTED:
                break
            if not any(former.same_as(other) for other in [*current, *found]):
                found.append(former)
        return found[:_WANTED]

    def _former(self, visit: Visit, number: int) -> Iterator[Credential]:
        for older in range(number - 1, max(0, number - 1 - _EXTRA_READS), -1):
            stored = self._read(visit, older)
            if isinstance(stored, Stored):
                yield from self._if_valid(stored)
            elif stored.kind is not SourceRejected:
                return

    def _credential(self, stored: Stored, refresh_at: float | None = None) -> Credential:
        return self._fields.credential(
            stored.document, source=repr(self), version=stored.version, refresh_at=refresh_at
        )

    def _if_valid(self, stored: Stored) -> list[Credential]:
        try:
            return [self._credential(stored)]
        except CredentialInvalid:
            return []

    def _beside(self, stored: Stored) -> list[Credential]:
        try:
            return self._fields.alternates(
                stored.document, source=repr(self), version=stored.version
            )
        except CredentialInvalid:
            return []

    def _visit(self) -> Visit:
        address = None if self._address is None else Secret(self._address)
        settings = read_settings(address, self._namespace)
        key = link_key(settings, self._method, self._client, self._clock)
        link = self._link
        if link is None or link.key != key:
            link = self._link = link_for(settings, self._method, self._client, self._clock)
        return Visit(link, time.monotonic() + self._timeout)

    def _read(self, visit: Visit, version: int | None = None) -> Stored | Problem:
        """Read one version; where it is refused, ask anew where the engine is."""
        known = self._where
        mount = known or self._mounted(visit)
        if isinstance(mount, Problem):
            return mount
        self._where = mount
        stored = self._read_at(visit, mount, version)
        if known is None or version is not None or not _may_have_moved(stored):
            return stored
        moved = self._mounted(visit)
        if isinstance(moved, Problem) or moved == known:
            return stored
        self._where = moved
        return self._read_at(visit, moved, None)

    def _read_at(self, visit: Visit, mount: Mount, version: int | None) -> Stored | Problem:
        rest = self._path.removeprefix(mount.path)
        if not rest or rest == self._path:
            return rejected("not_found", f"{self._path!r} is a mount: name a secret below it")
        query = "" if version is None else f"?version={version}"
        answer = visit.get(quoted(mount.api_path(rest)), query)
        return answer if isinstance(answer, Problem) else read_secret(answer, mount, rest)

    def _mounted(self, visit: Visit) -> Mount | Problem:
        """Ask where the engine is mounted and which version it has, as the commands do."""
        answer = visit.get(f"sys/internal/ui/mounts/{quoted(self._path)}")
        if isinstance(answer, Problem):
            return answer
        if answer.status == OK:
            return read_mount(answer, self._path)
        if is_preflight_denial(answer):
            return Mount(f"{self._mount}/", 2)
        return refusal(answer, self._path)


def _may_have_moved(stored: Stored | Problem) -> bool:
    """Whether the engine may be another one than it was: unmounted, mounted anew, upgraded."""
    if isinstance(stored, Stored):
        return False
    return stored.kind is SourceRejected or stored is WRONG_VERSION


def from_url(url: SourceURL) -> VaultSource:
    """Return the source of `vault://MOUNT/PATH`."""
    mount, slash, path = url.location.partition("/")
    if not slash:
        raise ConfigurationError("a Vault source is vault://MOUNT/PATH: the path is missing")
    segments = "/".join(map(_decoded, path.split("/")))
    return VaultSource(_decoded(mount), segments, **cast("dict[str, Any]", url.keywords(*_PARAMS)))


def _decoded(segment: str) -> str:
    text = unquote(segment)
    if "\ufffd" in text:
        raise ConfigurationError("a vault:// URL's path is not UTF-8 in its escapes")
    if "/" in text:
        raise ConfigurationError("a vault:// URL's path holds %2F: write a plain /")
    return text


_UNSAID = (None, False, "token")


def _require_hvac() -> None:
    if "hvac" in sys.modules or importlib.util.find_spec("hvac") is not None:
        return
    raise ConfigurationError("VaultSource needs hvac: pip install 'partner-auth[vault]'")
