"""What happens inside, as frozen objects: handed to `on_event` and written to the logger `partner_auth`.

They carry what an engineer asks at three in the morning, and never a secret or a token. Times are
aware datetimes in UTC, ages and pauses are seconds. `source` is the source's repr, `version` the
store's own name for the version.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

__all__ = [
    "ClockSkewLearned",
    "CredentialFetched",
    "CredentialRotated",
    "Event",
    "RequestRejected",
    "RequestResent",
    "ServedStale",
    "SourceFailed",
    "TokenSigned",
]


@dataclass(frozen=True)
class Event:
    """The base of all events."""

    source: str


@dataclass(frozen=True)
class CredentialFetched(Event):
    """A read of the store landed; `next_read` is when the credential turns stale."""

    client_id: str
    version: str | None
    changed: bool
    took: float
    next_read: datetime | None


@dataclass(frozen=True)
class CredentialRotated(Event):
    """Another credential came into use: everywhere, or (`origin` set) an alternate at one origin."""

    client_id: str
    version: str | None
    previous_version: str | None
    previous_age: float
    origin: str | None = None


@dataclass(frozen=True)
class TokenSigned(Event):
    """A token was signed."""

    origin: str
    client_id: str
    version: str | None
    expires_at: datetime
    clock_offset: float


@dataclass(frozen=True)
class RequestResent(Event):
    """A refused request goes out again: `why` is `rotated`, `found`, `trial` or `unsigned`."""

    origin: str
    version: str | None
    sends: int
    why: str


@dataclass(frozen=True)
class RequestRejected(Event):
    """A refused answer goes back to its caller.

    `tried` are the versions that were sent, `challenge` the first 200 printable characters of
    `WWW-Authenticate` (without words of 40 letters and more, which may be a token), `why` says what
    ended the matter and `next_look` when the store is asked again.
    """

    origin: str
    version: str | None
    age: float
    status: int
    tried: tuple[str | None, ...]
    challenge: str
    why: str
    rejected_since: datetime | None
    next_look: datetime | None


@dataclass(frozen=True)
class ServedStale(Event):
    """A credential past its `fresh_for` served a request, since the store could not be read."""

    version: str | None
    age: float
    error: str
    next_read: datetime | None


@dataclass(frozen=True)
class ClockSkewLearned(Event):
    """The partner's clock differs by `offset` seconds (positive: it is ahead); 0 when that is over."""

    origin: str
    offset: float


@dataclass(frozen=True)
class SourceFailed(Event):
    """A read of the store failed; `held` says whether a credential serves meanwhile."""

    error: str
    reason: str
    message: str
    held: bool
    age: float | None
    next_read: datetime | None
