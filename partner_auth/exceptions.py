"""Every error of the library: what each one means and what to do about it.

No message holds a secret or a token. Inside a client each error is that client's own error too (see
`raised_by_client`), so an existing `except requests.RequestException` or `except httpx.HTTPError`
keeps working.
"""

from __future__ import annotations

import importlib
import os
import sys
import warnings
from typing import Any, Literal, Self

__all__ = [
    "ConfigurationError",
    "CredentialError",
    "CredentialInvalid",
    "InsecureTransport",
    "PartnerAuthError",
    "PartnerAuthWarning",
    "Rejection",
    "SourceRejected",
    "SourceUnavailable",
    "Unavailability",
]

_HERE = os.path.join(os.path.dirname(__file__), "")

Unavailability = Literal["unreachable", "throttled", "sealed", "identity", "malformed", "timeout"]
Rejection = Literal["denied", "not_found", "deleted", "destroyed", "not_configured"]


class PartnerAuthError(Exception):
    """The base of all errors of this library: catch it to catch them all."""

    def __init__(self, message: str = "") -> None:
        """Hold one sentence that says what was wrong, where, and what to do next."""
        super().__init__(message)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle kind, text and public fields; never a request, a cause or a frame."""
        return _revive, (type(self), None, str(self), _fields(self))


class ConfigurationError(PartnerAuthError):
    """A setting is wrong, or a package is missing: mend the code or the environment; trying again is of no use."""


class InsecureTransport(PartnerAuthError):
    """A token would have gone over plain http: use https, or name the http origin in `origins`."""


class CredentialError(PartnerAuthError):
    """No usable credential could be had from the source."""


class SourceUnavailable(CredentialError):
    """The store gave no answer for now: transient, the next read may succeed.

    `reason` is one of `unreachable`, `throttled`, `sealed`, `identity` (the store can't tell who
    *we* are: an expired store token, no AWS credentials), `malformed` (an answer that is none, such
    as a proxy's page) and `timeout`.
    """

    def __init__(self, message: str = "", *, reason: Unavailability = "unreachable") -> None:
        """Hold the sentence and the reason."""
        super().__init__(message)
        self.reason: Unavailability = reason


class SourceRejected(CredentialError):
    """The store knew us and said no: the secret is gone, or our right to it is.

    `reason` is one of `denied`, `not_found`, `deleted`, `destroyed` and `not_configured`.
    """

    def __init__(self, message: str = "", *, reason: Rejection = "denied") -> None:
        """Hold the sentence and the reason."""
        super().__init__(message)
        self.reason: Rejection = reason


class CredentialInvalid(CredentialError):
    """What the store holds can't be read as a credential: mend the stored secret."""


class PartnerAuthWarning(UserWarning):
    """Something works but deserves a look: a short key, a plain http origin, tokens sent to a second origin."""


def warn(text: str) -> None:
    """Warn with a `PartnerAuthWarning` at the line that called into this package."""
    frame, level = sys._getframe(1), 2  # noqa: SLF001  what warnings itself walks
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_HERE):
        frame, level = frame.f_back, level + 1
    warnings.warn(text, PartnerAuthWarning, stacklevel=level)


def raised_by_client(
    error: PartnerAuthError, base: type[Exception], request: object
) -> PartnerAuthError:
    """Return a new error that is both `error`'s kind and the client's own `base`, with `.request` set."""
    return _made(_twin(type(error), base), str(error), _fields(error), request)


_twins: dict[tuple[type, type], type[PartnerAuthError]] = {}


def _twin(kind: type[PartnerAuthError], base: type[Exception]) -> type[PartnerAuthError]:
    known = _twins.get((kind, base))
    if known is None:
        body = {
            "__doc__": kind.__doc__,
            "__module__": kind.__module__,
            "__init__": kind.__init__,
            "__reduce__": _reduce_twin,
            "_kinds": (kind, base),
        }
        known = _twins[kind, base] = type(kind.__name__, (kind, base), body)
    return known


def _made(cls: Any, message: str, fields: dict[str, Any], request: object) -> PartnerAuthError:
    error: PartnerAuthError = cls.__new__(cls, message)
    _, base = cls._kinds
    base.__init__(error, message)
    error.__dict__.update(fields)
    if request is not None:
        error.request = request  # type: ignore[attr-defined]  # the client's base has it
    return error


def _reduce_twin(self: Any) -> tuple[Any, ...]:
    kind, base = self._kinds
    return _revive, (kind, (base.__module__, base.__qualname__), str(self), _fields(self))


def _fields(error: PartnerAuthError) -> dict[str, Any]:
    return (
        {"reason": error.reason} if isinstance(error, (SourceUnavailable, SourceRejected)) else {}
    )


def _revive(
    kind: type[PartnerAuthError],
    client: tuple[str, str] | None,
    message: str,
    fields: dict[str, Any],
) -> PartnerAuthError:
    """Make a pickled error again: without its client where that is not installed."""
    base = None
    if client is not None:
        try:
            base = getattr(importlib.import_module(client[0]), client[1], None)
        except ImportError:
            base = None
    if base is not None:
        return _made(_twin(kind, base), message, fields, None)
    error = kind.__new__(kind, message)  # a third party's kind may want other arguments
    error.__dict__.update(fields)
    return error


def _own_kind(kind: type[PartnerAuthError]) -> type[PartnerAuthError]:
    """Return the library's own class behind a client's twin or a third party's subclass."""
    return next(c for c in kind.__mro__ if c.__module__ == __name__ and "_kinds" not in vars(c))


class Failure:
    """What is remembered of an error: its kind and text, never the object, whose frames may hold a secret."""

    __slots__ = ("fields", "is_passing", "kind", "text")

    def __init__(self, error: PartnerAuthError, *, is_passing: bool = False) -> None:
        """Take kind, text and public fields from `error`.

        `is_passing`: what is not there may be on its way, so that it revokes nothing that is held.
        """
        self.is_passing = is_passing
        self.kind: type[PartnerAuthError] = _own_kind(type(error))
        self.text: str = str(error)
        self.fields: dict[str, str] = _fields(error)

    @classmethod
    def of(cls, kind: type[PartnerAuthError], text: str, **fields: str) -> Self:
        """Remember a failure that was never raised."""
        return cls(kind(text, **fields))

    @property
    def reason(self) -> str:
        """The error's `reason`, or an empty string."""
        return str(self.fields.get("reason", ""))

    def error(self) -> PartnerAuthError:
        """Return a new exception for one caller: a shared one would mix their tracebacks."""
        return self.kind(self.text, **self.fields)
