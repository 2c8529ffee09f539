"""Several sources, asked in order."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Sequence
from typing import Any

from partner_auth._credentials import Credential
from partner_auth.exceptions import ConfigurationError, Failure, PartnerAuthError, SourceRejected
from partner_auth.sources._callable import source_or_error
from partner_auth.sources._protocol import CredentialSource

_EMPTY = "ChainSource takes at least one source"
_ABSENT = ("not_configured", "not_found")

Answer = Credential | Awaitable[Credential]


class ChainSource:
    """Ask one source after the other for the credential.

    It goes on to the next only where one is not configured or has nothing there, never because it
    can't be reached or refuses: an outage of the first must not bring an old secret into use.

    Args:
        sources: whatever `PartnerAuth(source=)` takes, in the order in which to ask.

    Raises:
        ConfigurationError: there is none, or one of them is no source.
    """

    _sources: tuple[CredentialSource, ...] = ()  # what repr shows of one that was refused

    def __init__(self, *sources: object) -> None:
        found: list[CredentialSource] = []
        error: PartnerAuthError | None = None if sources else ConfigurationError(_EMPTY)
        for source in map(source_or_error, sources):
            if isinstance(source, PartnerAuthError):
                error = error or source
            else:
                found.append(source)
        del sources
        if error is not None:
            raise error
        self._sources = tuple(found)
        self._answered: CredentialSource | None = None

    def __repr__(self) -> str:
        return f"ChainSource({', '.join(map(repr, self._sources))})"

    def __reduce__(self) -> tuple[Any, ...]:
        return ChainSource, self._sources

    @property
    def absence_is_transient(self) -> bool:
        """Whether its absence says nothing about a secret, as the source that answered has it."""
        return bool(getattr(self._answered, "absence_is_transient", False))

    def fetch(self) -> Answer:
        """Return what the first source has that has anything.

        Raises:
            SourceRejected: none of them has; with each one's reason. Other errors are passed on.
        """
        return self._ask("fetch", 0, [])

    def fetch_fresh(self) -> Answer:
        """Ask likewise, past any cache in between."""
        return self._ask("fetch_fresh", 0, [])

    def alternates(self) -> Sequence[Credential]:
        """Return the alternates of the source that answered last."""
        alternates = getattr(self._answered, "alternates", None)
        found: Sequence[Credential] = () if alternates is None else alternates()
        return found

    def fingerprint(self) -> object:
        """Return all of the sources' fingerprints: one that had nothing may have something now."""
        return tuple(_fingerprint(source) for source in self._sources)

    def _ask(self, verb: str, first: int, absent: list[Failure]) -> Answer:
        for index, source in enumerate(self._sources[first:], first):
            try:
                answer = getattr(source, verb, source.fetch)()
            except SourceRejected as error:
                if error.reason not in _ABSENT:
                    raise
                absent.append(Failure(error))
                continue
            if inspect.isawaitable(answer):
                return self._awaited(answer, verb, index, absent)
            self._answered = source
            return answer
        raise _nowhere(absent)

    async def _awaited(
        self, pending: Awaitable[Credential], verb: str, index: int, absent: list[Failure]
    ) -> Credential:
        try:
            credential = await pending
        except SourceRejected as error:
            if error.reason not in _ABSENT:
                raise
            absent.append(Failure(error))
        else:
            self._answered = self._sources[index]
            return credential
        answer = self._ask(verb, index + 1, absent)
        return await answer if inspect.isawaitable(answer) else answer


def _nowhere(absent: list[Failure]) -> SourceRejected:
    configured = any(failure.reason == "not_found" for failure in absent)
    return SourceRejected(
        f"no source of the chain has a credential: {'; '.join(f.text for f in absent)}",
        reason="not_found" if configured else "not_configured",
    )


def _fingerprint(source: CredentialSource) -> object:
    try:
        fingerprint = getattr(source, "fingerprint", None)
        return None if fingerprint is None else fingerprint()
    except Exception:  # noqa: BLE001 - an error means unchanged, and must not hide the others' change
        return None
