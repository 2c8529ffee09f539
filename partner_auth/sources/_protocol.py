"""What a source of credentials is: one verb, and three that it may have besides."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol, runtime_checkable

from partner_auth._credentials import Credential


@runtime_checkable
class CredentialSource(Protocol):
    """Anything that can be asked for the current credential.

    `fetch` may block: it runs in a thread of its own, one at a time for each `PartnerAuth`, and is
    given up after `RefreshPolicy.timeout` seconds, so its own time-outs should lie below that. It
    may be a coroutine function, which is run to its end in a private event loop. Raise
    `SourceUnavailable` for "not now", `SourceRejected` for "no", and `CredentialInvalid` for what
    can't be read; anything else counts as "not now" and only its type's name is shown.

    A source may also have (each is looked up when it is needed, none is required):

    * `alternates() -> Sequence[Credential]`: what may be valid around a rotation (pending,
      previous), likeliest first; at most two are used. An error here means that there are none.
    * `fetch_fresh() -> Credential`: like `fetch`, past any cache in between; used after a
      rejection.
    * `fingerprint() -> object`: any value compared by `==`, from local constant-time work such as a
      `stat`; asked just before `fetch` and at most once a second after it. A change makes the
      credential stale.

    `repr(source)` names it in errors and events, and never holds a secret.
    """

    def fetch(self) -> Credential | Awaitable[Credential]:
        """Return the credential that the store holds now."""
        ...


CredentialCallable = Callable[[], Credential | Awaitable[Credential]]
