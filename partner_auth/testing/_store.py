"""A store in memory that is a `CredentialSource`: what a test rotates, slows down and breaks."""

from __future__ import annotations

import copy
import threading

from partner_auth._credentials import Credential, Secret
from partner_auth.testing._gate import Gate


class MemoryStore:
    """Hold one client's secret, as a secrets manager would: pass it as `PartnerAuth(store)`.

    A read gives what the store held when the read began, however long `delay` makes it take; so a
    test can change the store while a read is under way. Every method may be called from any thread.

    Args:
        client_id: what the credential's `client_id` is.
        secret: what it holds at first: a str or bytes, or a whole `Credential`.
    """

    def __init__(self, client_id: str, secret: str | bytes | Credential) -> None:
        """Hold `secret` as version 1."""
        self._client_id = client_id
        self._gate = Gate()
        self._changed = threading.Condition()  # guards all below
        self._version = 1
        self._current = self._credential(secret, "1")
        self._pending: Credential | None = None
        self._previous: Credential | None = None
        self._error: BaseException | None = None
        self._errors_left: int | None = None
        self._reads = 0
        self._alternate_reads = 0

    def set(self, secret: str | bytes | Credential) -> None:
        """Hold another secret from now on, under the next version; the same one changes nothing.

        A whole `Credential` is held as it is, with its own version, key id and times. `pending` and
        `previous` are left alone: a store that knows those is told so.
        """
        with self._changed:
            credential = self._credential(secret, str(self._version + 1))
            if credential.same_as(self._current) and not isinstance(secret, Credential):
                return
            self._version += 1
            self._current = credential

    @property
    def pending(self) -> str | bytes | None:
        """The secret that is to come, None if the store knows of none: assign to it."""
        return _revealed(self._pending)

    @pending.setter
    def pending(self, secret: str | bytes | Credential | None) -> None:
        self._pending = self._credential(secret, "pending") if secret is not None else None

    @property
    def previous(self) -> str | bytes | None:
        """The secret before the current one, None if the store knows of none: assign to it."""
        return _revealed(self._previous)

    @previous.setter
    def previous(self, secret: str | bytes | Credential | None) -> None:
        self._previous = self._credential(secret, "previous") if secret is not None else None

    def fail(
        self, error: BaseException | type[BaseException] | None, times: int | None = None
    ) -> None:
        """Raise a copy of `error` at the next `times` reads (None: all); None mends the store.

        `store.fail(SourceUnavailable("down"))` is an outage, `store.fail(SourceRejected("gone",
        reason="deleted"))` a revocation.
        """
        with self._changed:
            self._error = error() if isinstance(error, type) else error
            self._errors_left = times

    def delay(self, seconds: float, times: int | None = None) -> None:
        """Make the next `times` reads (None: all) take `seconds`; `math.inf`: until `release`."""
        self._gate.delay(seconds, times)

    def release(self) -> None:
        """Let every read that is delayed go on at once, and delay no more."""
        self._gate.release()

    @property
    def reads(self) -> int:
        """How many times `fetch` has been called."""
        return self._reads

    @property
    def alternate_reads(self) -> int:
        """How many times `alternates` has been called."""
        return self._alternate_reads

    def wait_for_reads(self, count: int, timeout: float = 5.0) -> None:
        """Wait until `fetch` has been called `count` times in all.

        Raises:
            TimeoutError: it has not within `timeout` seconds.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._reads >= count, timeout):
                raise TimeoutError(
                    f"{self!r}: {self._reads} reads after {timeout:g} s, not {count}"
                )

    def fetch(self) -> Credential:
        """Return the current credential: `CredentialSource.fetch`."""
        with self._changed:
            self._reads += 1
            self._changed.notify_all()
            held, error = self._current, self._next_error()
        self._answer(error)
        return held

    def alternates(self) -> list[Credential]:
        """Return `pending` and `previous`, where known: `CredentialSource.alternates`."""
        with self._changed:
            self._alternate_reads += 1
            held, error = (self._pending, self._previous), self._next_error()
        self._answer(error)
        return [credential for credential in held if credential is not None]

    def __repr__(self) -> str:
        """Name the client, never the secret."""
        return f"MemoryStore({self._client_id!r})"

    def _answer(self, error: BaseException | None) -> None:
        self._gate.hold()
        if error is not None:
            raise copy.copy(error)

    def _next_error(self) -> BaseException | None:
        if self._error is None or self._errors_left is None:
            return self._error
        self._errors_left -= 1
        return self._error if self._errors_left >= 0 else None

    def _credential(self, secret: str | bytes | Credential, version: str) -> Credential:
        if isinstance(secret, Credential):
            return secret
        return Credential(self._client_id, Secret(secret), version=version)


def _revealed(credential: Credential | None) -> str | bytes | None:
    return credential.secret_key.reveal() if credential is not None else None
