"""One question to a source: what it raises becomes a `Failure`, what it brings is checked. Blocks.

Runs where reads run, and knows nothing of what is held.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import Any

from partner_auth._clock import Clock, moment
from partner_auth._credentials import Credential, epoch
from partner_auth._tokens import Signer
from partner_auth.exceptions import (
    CredentialInvalid,
    Failure,
    PartnerAuthError,
    SourceUnavailable,
)

_ABSENT = ("not_found", "not_configured")
_LEAST_LIFE = 1.0  # seconds that a credential must have left to sign a token


class Reader:
    """A source, asked by the cache."""

    def __init__(self, source: Any, signer: Signer, clock: Clock) -> None:
        """Ask nothing yet."""
        self._source = source
        self._signer = signer
        self._clock = clock
        self.name = repr(source)

    def has(self, question: str) -> bool:
        """Whether the source has one of the verbs that it need not have."""
        return hasattr(self._source, question)

    def credential(self, question: str) -> Credential | Failure:
        """Ask `fetch` or `fetch_fresh`."""
        try:
            credential = self._called(question if self.has(question) else "fetch")
            if not isinstance(credential, Credential):
                kind = type(credential).__name__
                text = f"{self.name}: a Credential is wanted, not {kind}"
                return Failure.of(CredentialInvalid, text)
            self._check(credential)
        except PartnerAuthError as error:
            is_passing = getattr(error, "reason", "") in _ABSENT and self._absence_is_transient()
            return Failure(error, is_passing=is_passing)
        except Exception as error:  # noqa: BLE001  a source may raise anything, with the secret in it
            text = f"{self.name}: the source raised {type(error).__name__}"
            return Failure.of(SourceUnavailable, text, reason="unreachable")
        return credential

    def alternates(self) -> tuple[Credential, ...]:
        """Ask what may be valid around a rotation; an error means that there are none."""
        try:
            return tuple(self._usable(self._called("alternates")))
        except Exception:  # noqa: BLE001  an error means that there are none
            return ()

    def fingerprint(self) -> object:
        """Return the fingerprint, wrapped, or None: the source has none, or it failed."""
        try:
            return (self._source.fingerprint(),)
        except Exception:  # noqa: BLE001  an error means unchanged
            return None

    def _absence_is_transient(self) -> bool:
        """Whether what is not there may be on its way, as a file that is being replaced is."""
        return bool(getattr(self._source, "absence_is_transient", False))

    def _called(self, question: str) -> Any:
        result = getattr(self._source, question)()
        if not inspect.isawaitable(result):
            return result
        import asyncio  # only for a source that is a coroutine function

        async def finished() -> Any:
            return await result

        return asyncio.run(finished())

    def _usable(self, found: Iterable[object]) -> Iterable[Credential]:
        for credential in found:
            if not isinstance(credential, Credential):
                continue
            try:
                self._check(credential)
            except PartnerAuthError:
                continue
            yield credential

    def _check(self, credential: Credential) -> None:
        self._signer.check(credential)
        expires = epoch(credential.expires_at)
        if expires is not None and expires <= self._clock.now() + _LEAST_LIFE:
            raise CredentialInvalid(
                f"{self.name}: the credential expired at {moment(expires)}: renew it in the store"
            )
