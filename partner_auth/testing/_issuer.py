"""Whom the test partner believes: the secrets it issues, its nodes, its clock, and the store."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable

from partner_auth._clock import Clock
from partner_auth._credentials import Credential, Secret
from partner_auth.testing._keyring import FOREVER, Keyring
from partner_auth.testing._store import MemoryStore


class Issuer:
    """The part of `PartnerServer` that issues secrets and believes tokens."""

    def __init__(
        self,
        secret: str | bytes | None,
        client_id: str,
        algorithms: Iterable[str],
        clock: Clock | None,
        leeway: float,
    ) -> None:
        """Accept one secret, which the store holds too."""
        self.client_id = client_id
        self.algorithms: tuple[str, ...] = (
            (algorithms,) if isinstance(algorithms, str) else tuple(algorithms)
        )
        self.clock = clock
        self._skew = 0.0
        first = self._issued(secret)
        self._keyring = Keyring(first, client_id, self.algorithms, leeway)
        self._store = MemoryStore(client_id, Credential(client_id, first, version="1"))

    @property
    def store(self) -> MemoryStore:
        """The store that `rotate` keeps in step: slow it down, break it, count its reads."""
        return self._store

    source = store  # the same object by the name that PartnerAuth calls it

    @property
    def secret(self) -> str | bytes:
        """The secret that it issued last: by `rotate`, or the first one of `accept`."""
        return self._keyring.current.reveal()

    def rotate(
        self,
        secret: str | bytes | None = None,
        *,
        overlap: bool | float = False,
        store: bool = True,
        node: int | None = None,
    ) -> str | bytes:
        """Issue a new secret and return it; by default the old one stops, and the store has it.

        The three orders of a rotation:

        * partner first: `new = server.rotate(store=False)`, later `server.store.set(new)`
        * store first: `server.store.set(new)`, later `server.rotate(new)`
        * with an overlap: `server.rotate(overlap=True)`, later `server.retire()`

        Args:
            secret: the new one; None: a random one.
            overlap: also accept what was accepted before: until `retire` (True), or for so many
                seconds on its clock.
            store: whether the store gets the new one, now.
            node: switch this node alone, and the others with the same secret later; None: all.
        """
        new = self._issued(secret)
        self._keyring.rotate(new, self._overlap_end(overlap), node)
        if store:
            self._store.set(new.reveal())
        return new.reveal()

    def accept(self, *secrets: str | bytes, node: int | None = None) -> None:
        """Accept exactly these, on one node, or on all (None), where the first becomes `secret`."""
        self._keyring.accept([Secret(secret) for secret in secrets], node)

    def retire(self) -> None:
        """End an overlap: accept the current secret alone, on every node."""
        self._keyring.accept([self._keyring.current], None)

    def reject(self) -> None:
        """Refuse every token until `restore` or `accept`."""
        self._keyring.reject(rejecting=True)

    def restore(self) -> None:
        """End `reject`: accept what was accepted before."""
        self._keyring.reject(rejecting=False)

    def nodes(self, count: int, seed: int | None = None) -> None:
        """Be `count` machines behind one address, taken in turn, or by chance from `seed`.

        Each accepts what the first one does now. Switch them one by one with `rotate(new, node=0)`,
        `rotate(new, node=1)`, …
        """
        self._keyring.spread(count, seed)

    def skew(self, seconds: float) -> None:
        """Set its clock so many seconds ahead (negative: behind), for checks and `Date` alike."""
        self._skew = seconds

    def now(self) -> float:
        """Return the time on its clock, in seconds since the epoch (UTC)."""
        return (time.time() if self.clock is None else self.clock.now()) + self._skew

    def _overlap_end(self, overlap: bool | float) -> float | None:
        if overlap is True:
            return FOREVER
        return self.now() + overlap if overlap else None

    def _issued(self, secret: str | bytes | None) -> Secret:
        if secret is not None:
            return Secret(secret)
        if not all(name.startswith("HS") for name in self.algorithms):
            raise ValueError(
                f"PartnerServer: {self.algorithms[0]} needs a secret, a private key as a PEM"
            )
        return Secret(secrets.token_urlsafe(48))
