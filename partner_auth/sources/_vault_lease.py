"""A token in use: when it was had, how long it lives, and when to see to it."""

from __future__ import annotations

from partner_auth.sources._vault_answers import Grant

# Of a token's life. Between them lies what `RefreshPolicy.jitter` may bring a read forward.
_RENEW_AT, _READ_AT = 1 / 2, 2 / 3
_PAUSE = 1 / 12  # while it should be renewed and can't be: else each request would be a read


class Lease:
    """A token, since when (monotonic seconds) and for how long it lives."""

    __slots__ = (
        "accepted",
        "from_login",
        "full_life",
        "life",
        "looked_up",
        "origin",
        "renewable",
        "since",
        "token",
    )

    def __init__(self, grant: Grant, since: float, origin: str, *, from_login: bool) -> None:
        self.token = grant.token
        self.origin = origin
        self.from_login = from_login
        self.accepted = False  # whether a server has taken it yet
        self.looked_up = from_login  # whether its life is known, or was asked for in vain
        self.begin(grant, since)

    def begin(self, grant: Grant, since: float) -> None:
        """Begin its life, as far as that is known; one of 0 seconds has no end."""
        self.life: float | None = grant.life or None
        self.full_life = self.life
        self.renewable = grant.renewable
        self.since = since

    def renew(self, grant: Grant, since: float) -> None:
        """Begin another life; one that `explicit_max_ttl` cut to less than half is the last."""
        full_life = self.full_life
        self.begin(grant, since)
        self.full_life = full_life
        if self.life is not None and self.life < (full_life or 0.0) / 2:
            self.renewable = False

    def is_due(self, now: float) -> bool:
        """Whether it is time to renew or replace it."""
        return self._is_ours_to_keep and self._age(now) >= _RENEW_AT

    def is_over(self, now: float) -> bool:
        """Whether it has died."""
        return self._age(now) >= 1

    def read_again_in(self, now: float) -> float | None:
        """Return in how many seconds a read should come for the token's sake."""
        if self.life is None or not self._is_ours_to_keep:
            return None
        return max(self.life * _PAUSE, self.since + self.life * _READ_AT - now)

    @property
    def _is_ours_to_keep(self) -> bool:
        return self.renewable or self.from_login

    def _age(self, now: float) -> float:
        return 0.0 if self.life is None else (now - self.since) / self.life
