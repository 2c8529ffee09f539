"""What `PartnerAuth(source=)` takes, and a plain function as a source."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable
from typing import Any

from partner_auth._credentials import Credential
from partner_auth.exceptions import ConfigurationError, PartnerAuthError
from partner_auth.sources._protocol import CredentialSource
from partner_auth.sources._static import StaticSource
from partner_auth.sources._url import source_from_url

_TAKEN = "a credential source, a Credential, a function without arguments or a source URL"


class CallableSource:
    """Ask a function, plain or `async`, for the credential at each refresh.

    Args:
        function: takes no arguments and returns a `Credential`.
    """

    def __init__(self, function: Callable[[], object]) -> None:
        self._function = function

    def __repr__(self) -> str:
        return f"CallableSource({_name(self._function)})"

    def __reduce__(self) -> tuple[Any, ...]:
        if "<" in _name(self._function):
            raise TypeError(
                f"{self!r} can't be pickled: use a function at the top level of a module"
            )
        return CallableSource, (self._function,)

    def fetch(self) -> Credential | Awaitable[Credential]:
        """Call the function; what it raises is passed on.

        Raises:
            ConfigurationError: it returned something else than a `Credential`.
        """
        answer = self._function()
        if isinstance(answer, Credential):
            return answer
        if inspect.isawaitable(answer):
            return self._awaited(answer)
        kind = type(answer).__name__
        del answer
        raise self._no_credential(kind)

    async def _awaited(self, pending: Awaitable[object]) -> Credential:
        answer = await pending
        if isinstance(answer, Credential):
            return answer
        kind = type(answer).__name__
        del answer, pending
        raise self._no_credential(kind)

    def _no_credential(self, kind: str) -> ConfigurationError:
        return ConfigurationError(f"{self!r} returned {kind}: return a partner_auth.Credential")


def as_source(value: object) -> CredentialSource:
    """Return the source that a caller of `PartnerAuth(source=)` means.

    Args:
        value: a `CredentialSource`, a `Credential`, a function without arguments that returns one
            (a coroutine function too), or a source URL.

    Raises:
        ConfigurationError: it is none of them; only its type is named, for it may be the secret.
    """
    source = source_or_error(value)
    del value
    if isinstance(source, PartnerAuthError):
        raise source
    return source


def source_or_error(value: object) -> CredentialSource | PartnerAuthError:
    """Return the source, or the error to raise where no frame holds `value` any more."""
    try:
        return _source(value)
    except PartnerAuthError as error:
        return error.with_traceback(None)


def _source(value: object) -> CredentialSource:
    if isinstance(value, str):
        return source_from_url(value)
    if isinstance(value, Credential):
        return StaticSource(value)
    if isinstance(value, type):
        raise ConfigurationError(f"{value.__name__} is a class: pass an object of it as the source")
    if callable(getattr(value, "fetch", None)):
        return value  # type: ignore[return-value] # its signature is seen when it is called
    if not callable(value):
        raise ConfigurationError(f"a source is {_TAKEN}, not {type(value).__name__}")
    if not _without_arguments(value):
        raise ConfigurationError(
            f"the source {_name(value)} can't be called without arguments: use functools.partial"
        )
    return CallableSource(value)


def _without_arguments(function: Any) -> bool:
    try:
        inspect.signature(function).bind()
    except TypeError:
        return False
    except ValueError:  # some functions written in C don't tell
        return True
    return True


def _name(function: Any) -> str:
    """Name a function by module and name; its repr may hold an address, or arguments."""
    while isinstance(function, functools.partial):
        function = function.func
    named = function if hasattr(function, "__qualname__") else type(function)
    module = getattr(named, "__module__", None) or "builtins"  # some written in C have none
    return f"{module}.{named.__qualname__}"
