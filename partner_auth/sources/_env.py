"""A credential in the process's environment, or in files that its variables name."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from partner_auth._credentials import Credential, Secret
from partner_auth.exceptions import (
    ConfigurationError,
    CredentialError,
    CredentialInvalid,
    Failure,
    SourceRejected,
)
from partner_auth.sources._document import begins_json
from partner_auth.sources._fields import ALTERNATES, FIELD_PARAMS, Fields, read_timeout
from partner_auth.sources._regular import read_regular, settled, stamp
from partner_auth.sources._url import SourceURL

PREFIX = "PARTNER_"

_NAMES = (
    "CLIENT_ID",
    "SECRET_KEY",
    "KEY_ID",
    *(f"{name}_{label.upper()}" for label in ALTERNATES for name in ("SECRET_KEY", "KEY_ID")),
)
_PREFIX = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)?", re.ASCII)

Held = dict[str, Secret | Failure]  # what the variables that are set hold, by name without prefix


class EnvSource:
    """Read the credential from environment variables at each refresh.

    `PARTNER_CLIENT_ID` and `PARTNER_SECRET_KEY`; around a rotation `PARTNER_SECRET_KEY_NEXT` and
    `PARTNER_SECRET_KEY_PREVIOUS`; where wanted `PARTNER_KEY_ID`. Each may be given as `…_FILE`
    instead, the path of a file that holds it, of which a change is seen within about a second. A
    key that begins with `{` is a JSON document with both.

    Args:
        prefix: of the variables' names.
        client_id: the client id itself, in place of its variable.
        client_id_field: where it stands, if the key is a JSON document.
        secret_key_field: likewise of the key.
        secret_key_encoding: `base64`, `base64url` or `hex`, if the key is given so.
        timeout: taken for the sake of the other sources; the environment answers at once.

    Raises:
        ConfigurationError: an argument is wrong.
    """

    absence_is_transient = True  # an unset variable says nothing about the partner's secret
    _prefix, _fields = PREFIX, Fields()  # what repr shows of one that was refused

    def __init__(
        self,
        prefix: str = PREFIX,
        *,
        client_id: str | None = None,
        client_id_field: str | None = None,
        secret_key_field: str | None = None,
        secret_key_encoding: str | None = None,
        timeout: float | str | timedelta | None = None,
    ) -> None:
        is_prefix = isinstance(prefix, str) and bool(_PREFIX.fullmatch(prefix))
        self._prefix, prefix = prefix if is_prefix else PREFIX, ""  # it may be a secret
        if not is_prefix:
            raise ConfigurationError(
                "a prefix of variables has letters, digits and _, as in env://ACME_"
            )
        self._fields = Fields(client_id, client_id_field, secret_key_field, secret_key_encoding)
        read_timeout(timeout)

    def __repr__(self) -> str:
        prefix = [] if self._prefix == PREFIX else [repr(self._prefix)]
        return f"EnvSource({', '.join(prefix + self._fields.options())})"

    def fetch(self) -> Credential:
        """Read the variables.

        Raises:
            SourceRejected: none is set, or the file that one names is not there or not readable.
            SourceUnavailable: the file system fails.
            CredentialInvalid: what they hold is no credential.
            ConfigurationError: a variable is set twice, or names what is no file.
        """
        held = settled(self.fingerprint, self._held)
        key = _taken(held, "SECRET_KEY")
        if key is None:
            raise self._absent("CLIENT_ID" in held)
        return self._fields.credential(
            key,
            source=repr(self),
            beside=self._beside(held, "KEY_ID"),
            id_from=self._prefix + "CLIENT_ID",
        )

    def alternates(self) -> Sequence[Credential]:
        """Read `…_SECRET_KEY_NEXT` and `…_SECRET_KEY_PREVIOUS`; what can't be read is none.

        Raises:
            CredentialError: there are some, and none of them can be read.
        """
        held = settled(self.fingerprint, self._held)
        found: list[Credential] = []
        problem: Failure | None = None
        for label in ALTERNATES:
            try:
                found += self._labelled(held, label)
            except (CredentialError, ConfigurationError) as error:
                problem = problem or Failure(error)
        if problem is not None and not found:
            raise problem.error()
        return found

    def fingerprint(self) -> object:
        """Return the values, wrapped, and what `stat` says of the files that are named."""
        return tuple(self._state(name) for name in _NAMES)

    def _labelled(self, held: Held, label: str) -> list[Credential]:
        name = f"SECRET_KEY_{label.upper()}"
        key = _taken(held, name)
        source = repr(self) if key is None else f"{self!r}: {self._prefix}{name}"
        beside = self._beside(held, f"KEY_ID_{label.upper()}", "KEY_ID")
        if key is not None and begins_json(key):
            return [self._fields.credential(key, source=source, version=label, beside=beside)]
        if key is not None:
            beside[f"{self._fields.key_path}_{label}"] = key
        # The key's own variable may hold JSON, with the alternates or the client id of this one.
        document = _taken(held, "SECRET_KEY")
        found = self._fields.alternates(document, source=source, beside=beside)
        return [alternate for alternate in found if alternate.version == label]

    def _beside(self, held: Held, *key_ids: str) -> dict[str, Secret]:
        """Return what stands beside the key, by field: of `key_ids` the first that is set."""
        beside: dict[str, Secret] = {}
        for field, name in (
            *(("key_id", name) for name in key_ids),
            (self._fields.id_path, "CLIENT_ID"),
        ):
            value = _taken(held, name)
            if value is not None:
                beside.setdefault(field, value)
        return beside

    def _held(self) -> Held:
        """Read all variables that are set."""
        values = {name: self._variable(name) for name in _NAMES}
        return {name: value for name, value in values.items() if value is not None}

    def _variable(self, name: str) -> Secret | Failure | None:
        """Return the bytes of a variable or of the file that it names; an empty one is not set."""
        variable, file_variable = self._prefix + name, f"{self._prefix}{name}_FILE"
        value, path = os.environ.get(variable), os.environ.get(file_variable)
        if value and path:
            text = f"{self!r}: both {variable} and {file_variable} are set: unset one"
            return Failure.of(ConfigurationError, text)
        if path:
            return read_regular(Path(path), f"{self!r}: {file_variable}")
        return Secret(os.fsencode(value)) if value else None

    def _absent(self, has_client_id: bool) -> CredentialError:
        client_id, key = self._prefix + "CLIENT_ID", self._prefix + "SECRET_KEY"
        if has_client_id:
            return CredentialInvalid(
                f"{self!r}: {client_id} is set, {key} is not: set it or {key}_FILE as well"
            )
        return SourceRejected(
            f"{self!r}: no credential is configured: set {client_id} and {key}, or "
            f"{client_id}_FILE and {key}_FILE, or name a source in PARTNER_AUTH_SOURCE (such as "
            "vault://secret/partner) or PartnerAuth(source=)",
            reason="not_configured",
        )

    def _state(self, name: str) -> object:
        value = os.environ.get(self._prefix + name)
        if value:
            return Secret(value)
        path = os.environ.get(f"{self._prefix}{name}_FILE")
        return (path, stamp(Path(path))) if path else None


def from_url(url: SourceURL) -> EnvSource:
    """Return the source of `env://` or `env://PREFIX_`.

    Raises:
        ConfigurationError: the prefix or a parameter is wrong.
    """
    return EnvSource(url.location.removesuffix("/") or PREFIX, **url.keywords(*FIELD_PARAMS))


def _taken(held: Held, name: str) -> Secret | None:
    value = held.get(name)
    if isinstance(value, Failure):
        raise value.error()
    return value
