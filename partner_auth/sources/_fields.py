"""One parser for every store: a document, or one value a field, becomes a credential.

What a store gave comes here wrapped in `Secret`. It is unwrapped only below `_credential` and
`_alternates`, which return what went wrong as a `Problem`; the error is raised above them, where no
frame holds the document any more.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from partner_auth._credentials import Credential, Secret, epoch
from partner_auth._policy import seconds
from partner_auth.exceptions import ConfigurationError, CredentialInvalid
from partner_auth.sources._document import (
    ENCODINGS,
    decoded,
    is_unicode,
    names_for_message,
    trimmed,
    unwrapped,
    values_of,
)

FIELD_PARAMS = (
    "client_id",
    "client_id_field",
    "secret_key_field",
    "secret_key_encoding",
    "timeout",
)
ALTERNATES = ("next", "previous")  # the likelier one first

_LAST_SECOND = 253_402_300_799  # of the year 9999: what lies behind it was meant as milliseconds
_MISSING = object()


class Problem:
    """What is wrong with a document, in words that hold no part of it."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        """Hold the words."""
        self.text = text


class Fields:
    """Find client id and key in what a store holds.

    A text that begins with `{` is JSON; any other text, without a byte-order mark and one line
    break at its end, is the key alone; bytes that are no UTF-8 are the key as they stand. JSON may
    also hold `key_id`, `version`, `refresh_at` and `expires_at` (seconds since the epoch, or ISO
    8601 with a zone), and `secret_key_next` and `secret_key_previous` (with `key_id_next`,
    `key_id_previous`), which are tried around a rotation.

    Args:
        client_id: the client id itself; what the store says of it is then ignored.
        client_id_field: where it stands, a dotted path; default `client_id`.
        secret_key_field: where the key stands, a dotted path; default `secret_key`.
        secret_key_encoding: `base64`, `base64url` or `hex` if the key is stored so; default: as it
            stands.

    Raises:
        ConfigurationError: a setting is blank, contradicts another one, or is no known encoding.
    """

    __slots__ = ("client_id", "client_id_field", "secret_key_encoding", "secret_key_field")

    def __init__(
        self,
        client_id: str | None = None,
        client_id_field: str | None = None,
        secret_key_field: str | None = None,
        secret_key_encoding: str | None = None,
    ) -> None:
        """Check the settings."""
        self.client_id = client_id
        self.client_id_field = client_id_field
        self.secret_key_field = secret_key_field
        self.secret_key_encoding = secret_key_encoding
        if client_id is not None and client_id_field is not None:
            raise ConfigurationError("client_id and client_id_field exclude each other: give one")
        _check_setting("client_id", client_id)
        _check_path("client_id_field", client_id_field)
        _check_path("secret_key_field", secret_key_field)
        _check_setting("secret_key_encoding", secret_key_encoding)
        if secret_key_encoding is not None and secret_key_encoding not in ENCODINGS:
            known = ", ".join(ENCODINGS)
            raise ConfigurationError(f"secret_key_encoding is none of {known}")

    @property
    def id_path(self) -> str:
        """Where the client id stands."""
        return self.client_id_field or "client_id"

    @property
    def key_path(self) -> str:
        """Where the key stands."""
        return self.secret_key_field or "secret_key"

    def options(self) -> list[str]:
        """Return the settings that were given, as they stand in a source's `repr`."""
        given = ((name, getattr(self, name)) for name in FIELD_PARAMS if name != "timeout")
        return [f"{name}={value!r}" for name, value in given if value is not None]

    def credential(
        self,
        document: Secret | None,
        *,
        source: str,
        version: str | None = None,
        refresh_at: datetime | float | None = None,
        expires_at: datetime | float | None = None,
        beside: Mapping[str, Secret] | None = None,
        id_from: str = "client_id=",
    ) -> Credential:
        """Read the credential out of `document`.

        Args:
            document: what the store holds; None where all stands in `beside`.
            source: `repr` of the source, for the message.
            version: the store's name for it; wins over a field `version`.
            refresh_at: as in `Credential`; the earlier of this and the field of that name counts.
            expires_at: likewise.
            beside: values that stand outside of the document (a variable, a file), by field; they
                win over it.
            id_from: how to give the client id of a bare key, for the message.

        Raises:
            CredentialInvalid: it can't be read as one.
        """
        made = self._credential(
            document,
            beside or {},
            id_from=id_from,
            version=version,
            refresh_at=refresh_at,
            expires_at=expires_at,
        )
        if isinstance(made, Problem):
            raise CredentialInvalid(f"{source}: {made.text}")
        return made

    def alternates(
        self,
        document: Secret | None,
        *,
        source: str,
        version: str | None = None,
        beside: Mapping[str, Secret] | None = None,
    ) -> list[Credential]:
        """Return the credentials with the keys `secret_key_next` and `secret_key_previous`.

        With `secret_key_field=x` the fields `x_next` and `x_previous` come before these. One that
        can't be read does not spoil the other.

        Raises:
            CredentialInvalid: the document, or all that it holds of them, can't be read.
        """
        made = self._alternates(document, beside or {}, version)
        if isinstance(made, Problem):
            raise CredentialInvalid(f"{source}: {made.text}")
        return made

    def _credential(
        self,
        document: Secret | None,
        beside: Mapping[str, Secret],
        *,
        id_from: str,
        version: str | None,
        refresh_at: datetime | float | None,
        expires_at: datetime | float | None,
    ) -> Credential | Problem:
        try:
            values = self._values(document, beside, id_from)
            return Credential(
                self._client_id(values),
                self._key(values, self.key_path),
                version=_version(values) if version is None else version,
                key_id=_optional_text(values, "key_id"),
                refresh_at=_earlier(refresh_at, _time(values, "refresh_at")),
                expires_at=_earlier(expires_at, _time(values, "expires_at")),
            )
        except CredentialInvalid as error:
            return Problem(str(error))

    def _alternates(
        self, document: Secret | None, beside: Mapping[str, Secret], version: str | None
    ) -> list[Credential] | Problem:
        found: list[Credential] = []
        problem: Problem | None = None
        try:
            values = self._values(document, beside, None)
        except CredentialInvalid as error:
            return Problem(str(error))
        for label in ALTERNATES:
            try:
                alternate = self._alternate(values, label, version)
            except CredentialInvalid as error:
                problem = problem or Problem(str(error))
                continue
            if alternate is not None:
                found.append(alternate)
        return problem if problem is not None and not found else found

    def _alternate(
        self, values: Mapping[str, Any], label: str, version: str | None
    ) -> Credential | None:
        paths = (f"{self.key_path}_{label}", f"secret_key_{label}")
        path = next((path for path in paths if not _is_blank(_look(values, path))), None)
        if path is None:
            return None
        return Credential(
            self._client_id(values),
            self._key(values, path),
            version=label if version is None else f"{version}:{label}",
            key_id=_optional_text(values, f"key_id_{label}") or _optional_text(values, "key_id"),
        )

    def _values(
        self, document: Secret | None, beside: Mapping[str, Secret], id_from: str | None
    ) -> dict[str, Any]:
        values = {name: trimmed(decoded(value)) for name, value in beside.items()}
        if document is None:
            return values
        fields, is_json = values_of(document, alone=self.key_path)
        if id_from is not None and not is_json:
            self._check_key_alone(values, id_from)
        return fields | values

    def _check_key_alone(self, values: Mapping[str, Any], id_from: str) -> None:
        if self.secret_key_field is not None:
            raise CredentialInvalid(
                f"it is no JSON object, so it has no field {self.key_path!r} (secret_key_field=)"
            )
        if self.client_id is None and self.id_path not in values:
            raise CredentialInvalid(
                f"it holds a key alone: give the client id by {id_from}, or store a JSON object "
                f"with {self.id_path} and {self.key_path}"
            )

    def _client_id(self, values: Mapping[str, Any]) -> str:
        if self.client_id is not None:
            return self.client_id
        value = _field(values, self.id_path, "client_id_field")
        if isinstance(value, bytes):
            raise CredentialInvalid("the client id is not in UTF-8")
        return value

    def _key(self, values: Mapping[str, Any], path: str) -> Secret:
        value = _field(values, path, "secret_key_field")
        if self.secret_key_encoding is not None:
            value = unwrapped(value, self.secret_key_encoding)
        elif isinstance(value, str) and not is_unicode(value):
            raise CredentialInvalid(f"{path!r} holds half a surrogate pair, which no key has")
        return Secret(value)


def read_timeout(value: object, default: float = 8.0) -> float:
    """Return a source's `timeout=`, a number, a text (from a URL) or None, as seconds.

    Raises:
        ConfigurationError: it is no finite number between 0.1 s and an hour.
    """
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            value = math.nan
    return default if value is None else seconds("timeout", value, least=0.1, most=3600.0)


def _check_setting(name: str, value: object) -> None:
    if value is None:
        return
    if not isinstance(value, str):
        raise ConfigurationError(f"{name} is a str, not {type(value).__name__}")
    if not value.strip() or not value.isprintable():
        raise ConfigurationError(f"{name} is blank or holds control characters")


def _check_path(name: str, value: str | None) -> None:
    _check_setting(name, value)
    if value is not None and not all(value.split(".")):
        raise ConfigurationError(f"{name} is a dotted path such as partner.key: a name is missing")


def _look(values: Mapping[str, Any], path: str) -> Any:
    """Follow a dotted path; a name that has the dots in it goes first."""
    if path in values:
        return values[path]
    head, _, rest = path.partition(".")
    inner = values.get(head)
    return _look(inner, rest) if rest and isinstance(inner, dict) else _MISSING


def _field(values: Mapping[str, Any], path: str, option: str) -> str | bytes:
    value = _look(values, path)
    if value is _MISSING:
        there = names_for_message(values) or "no field at all"
        raise CredentialInvalid(
            f"it has no field {path!r}, only {there}: name the right one with {option}="
        )
    if not isinstance(value, (str, bytes)):
        raise CredentialInvalid(f"its field {path!r} is {_kind(value)}, not a text")
    if not value.strip():
        raise CredentialInvalid(f"its field {path!r} is empty")
    found: str | bytes = value
    return found


def _kind(value: object) -> str:
    kinds = {"dict": "an object", "list": "a list", "bool": "true or false", "NoneType": "null"}
    return kinds.get(type(value).__name__, "a number")


def _optional_text(values: Mapping[str, Any], name: str) -> str | None:
    value = values.get(name)
    if _is_blank(value):
        return None
    if not isinstance(value, str) or not value.isprintable():
        raise CredentialInvalid(f"its field {name!r} is no printable text")
    return value


def _version(values: Mapping[str, Any]) -> str | None:
    value = values.get("version")
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)
    return _optional_text(values, "version")


def _time(values: Mapping[str, Any], name: str) -> datetime | float | None:
    value = values.get(name)
    if _is_blank(value):
        return None
    time = _instant(value)
    if time is None:
        raise CredentialInvalid(
            f"its field {name!r} is neither seconds since the epoch nor ISO 8601 with a zone"
        )
    return time


def _instant(value: object) -> datetime | float | None:
    if isinstance(value, str):
        try:
            return float(value) if re.fullmatch(r"\d{9,12}(\.\d+)?", value) else _aware(value)
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return value if 0 <= value <= _LAST_SECOND else None


def _aware(text: str) -> datetime | None:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo is not None else None


def _is_blank(value: object) -> bool:
    if isinstance(value, (str, bytes)):
        return not value.strip()
    return value is None or value is _MISSING


def _earlier(
    one: datetime | float | None, other: datetime | float | None
) -> datetime | float | None:
    if one is None or other is None:
        return other if one is None else one
    return min(one, other, key=lambda time: epoch(time) or 0.0)
