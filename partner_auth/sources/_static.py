"""A credential that the program already has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

from partner_auth._credentials import Credential
from partner_auth.exceptions import ConfigurationError


class StaticSource:
    """Hold credentials given by the program: for tests, and where it reads its store itself.

    It can't be pickled, since a pickle would carry the secret.

    Args:
        credential: the one in use.
        alternates: what may be valid around a rotation, likeliest first; at most two are used.

    Raises:
        ConfigurationError: an argument is no `Credential`.
    """

    def __init__(self, credential: Credential, *alternates: Credential) -> None:
        given: tuple[object, ...] = (credential, *alternates)
        wrong = [type(one).__name__ for one in given if not isinstance(one, Credential)]
        if wrong:
            del credential, alternates, given
            raise ConfigurationError(f"StaticSource takes Credential objects, not {wrong[0]}")
        self._credential = credential
        self._alternates = alternates

    def __repr__(self) -> str:
        return f"StaticSource({getattr(self, '_credential', None)!r})"

    def __copy__(self) -> StaticSource:
        return self

    def __deepcopy__(self, memo: object) -> StaticSource:
        return self

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError(
            f"{self!r} can't be pickled, since a pickle would carry the secret: use a source that "
            "reads it (EnvSource, FileSource, a source URL)"
        )

    def fetch(self) -> Credential:
        """Return the credential."""
        return self._credential

    def alternates(self) -> Sequence[Credential]:
        """Return the alternates."""
        return self._alternates
