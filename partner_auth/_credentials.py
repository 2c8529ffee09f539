"""The credential as data: a secret that never shows itself, and the id, version and times that go with it."""

from __future__ import annotations

import hmac
import sys
from dataclasses import dataclass
from datetime import datetime
from typing import NoReturn

from partner_auth.exceptions import CredentialInvalid


class Secret:
    """Wrap a text or bytes so that it is shown nowhere by accident.

    `repr`, `str`, `format`, `vars`, `dataclasses.asdict`, logs and tracebacks show dots; pickling
    is refused; two secrets are compared in constant time (`hmac.compare_digest`), a text being
    equal to its UTF-8 bytes.
    """

    __slots__ = ("_value",)

    _value: str | bytes

    def __init__(self, value: str | bytes) -> None:
        """Wrap `value`. Raise `CredentialInvalid` when it is neither str nor bytes."""
        kind = "" if isinstance(value, (str, bytes)) else type(value).__name__
        if not kind:
            object.__setattr__(self, "_value", value)
        del value  # an error's frames must not hold it
        if kind:
            raise _no_secret(kind)

    def reveal(self) -> str | bytes:
        """Return what was wrapped."""
        return self._value

    def encoded(self) -> bytes:
        """Return the bytes: a text in UTF-8."""
        return (
            self._value.encode("utf-8", "surrogatepass")
            if isinstance(self._value, str)
            else self._value
        )

    def __eq__(self, other: object) -> bool:
        """Compare in constant time."""
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self.encoded(), other.encoded())

    def __hash__(self) -> int:
        """Agree with equality; salted by the interpreter, and of no use outside of it."""
        return hash(self.encoded())

    def __bool__(self) -> bool:
        """Whether there is anything but white space in it."""
        return bool(self._value.strip())

    def __repr__(self) -> str:
        """Show dots."""
        return "Secret('…')"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        """Show dots, whatever the format."""
        return repr(self)

    def __copy__(self) -> Secret:
        """Return itself: it never changes."""
        return self

    def __deepcopy__(self, memo: object) -> Secret:
        """Return itself: it never changes."""
        return self

    def __setattr__(self, name: str, value: object) -> NoReturn:
        """Refuse: it is shared."""
        del value  # an error's frames must not hold it
        raise AttributeError("a Secret never changes")

    def __getstate__(self) -> NoReturn:
        """Refuse: a pickle would carry the secret in clear."""
        raise TypeError("a Secret can't be pickled: pickle the source that reads it instead")

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        """Refuse: a pickle would carry the secret in clear."""
        self.__getstate__()


def _no_secret(kind: str) -> CredentialInvalid:
    return CredentialInvalid(f"a secret is a str or bytes, not {kind}")


@dataclass(frozen=True, init=False, repr=False)
class Credential:
    """One client id and its key, as the store held them at one time.

    Two credentials are "another one" to each other when client id, key or key id differ, never by
    `version`, which is the store's own name for it and only shown.

    Args:
        client_id: goes into the claim `clientId`.
        secret_key: str or bytes, wrapped into a `Secret`. A PEM for RS, PS, ES and EdDSA.
        version: the store's name for this version; shown in events and `status()`. Never derive it
            from the secret.
        key_id: the token's header `kid`; wins over `PartnerAuth(key_id=)`.
        refresh_at: when to read the store again at the latest: an aware datetime, or seconds since
            the epoch (UTC).
        expires_at: after it the credential is not used and no token outlives it; likewise.

    Raises:
        CredentialInvalid: an id or key is blank or holds control characters, or a time is naive or
            not finite.
    """

    client_id: str
    secret_key: Secret
    version: str | None
    key_id: str | None
    refresh_at: datetime | float | None
    expires_at: datetime | float | None

    def __init__(
        self,
        client_id: str,
        secret_key: Secret | str | bytes,
        *,
        version: str | None = None,
        key_id: str | None = None,
        refresh_at: datetime | float | None = None,
        expires_at: datetime | float | None = None,
    ) -> None:
        """Wrap the key first, so that no frame of an error holds it, and then check."""
        kind = "" if isinstance(secret_key, (Secret, str, bytes)) else type(secret_key).__name__
        secret_key = (
            secret_key if isinstance(secret_key, Secret) else Secret("" if kind else secret_key)
        )
        if kind:
            raise _no_secret(kind)
        if not secret_key:
            raise CredentialInvalid(
                "the secret key is empty: put the partner's secret into the store"
            )
        for name, value in (
            ("client_id", client_id),
            ("secret_key", secret_key),
            ("version", version),
            ("key_id", key_id),
            ("refresh_at", refresh_at),
            ("expires_at", expires_at),
        ):
            object.__setattr__(self, name, value)
        _check_text("client id", client_id)
        if key_id is not None:
            _check_text("key id", key_id)
        if version is not None:
            _check_text("version", version)
        epoch(refresh_at, "refresh_at")
        epoch(expires_at, "expires_at")

    def __repr__(self) -> str:
        """Show everything but the key; of a half-made one too, which an error tracker may meet."""
        shown = [
            f"{name}={vars(self)[name]!r}"
            for name in ("version", "key_id")
            if vars(self).get(name) is not None
        ]
        return f"Credential({', '.join([repr(vars(self).get('client_id')), repr(Secret('…')), *shown])})"

    def same_as(self, other: Credential | None) -> bool:
        """Whether both would sign the same token: client id, key and key id are equal."""
        return (
            other is not None
            and self.client_id == other.client_id
            and self.key_id == other.key_id
            and self.secret_key == other.secret_key
        )


def epoch(value: datetime | float | None, name: str = "time") -> float | None:
    """Return an aware datetime, or seconds since the epoch (UTC), as seconds since the epoch."""
    if value is None:
        return None
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise CredentialInvalid(
                f"{name} is a datetime without a time zone: make it aware, in UTC"
            )
        return value.timestamp()
    if (
        isinstance(value, bool)
        or not isinstance(value, (int, float))
        or not abs(value) < sys.float_info.max
    ):
        raise CredentialInvalid(
            f"{name} is neither an aware datetime nor finite seconds since the epoch"
        )
    return float(value)


def _check_text(what: str, value: object) -> None:
    if not isinstance(value, str):
        raise CredentialInvalid(f"the {what} is a str, not {type(value).__name__}")
    if not value.strip():
        raise CredentialInvalid(f"the {what} is empty: put what the partner issued into the store")
    if not value.isprintable():
        raise CredentialInvalid(
            f"the {what} holds control characters: store it without a line break"
        )
