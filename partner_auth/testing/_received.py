"""What the test partner remembers: each request, and what it made of it."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from email.message import Message
from typing import Any


@dataclass(frozen=True)
class Received:
    """Show one request as the partner saw it, and what it made of it.

    Its `repr` leaves out headers, body and token, so that a failed assertion stays readable and
    shows no token.

    Args:
        method: as sent.
        path: the target as sent, query included.
        status: what the partner decided to answer when the request had arrived; None: it dropped
            the connection.
        accepted_by: the secret that the token was accepted with: "current", "previous" (it was
            current once) or "other"; None if it was refused or not looked at.
        refusal: why its token was not accepted, in one word: missing_token, malformed_token,
            unsupported_algorithm, unknown_secret, bad_claims, wrong_client, issued_in_future,
            expired, rejecting, forbidden, missing_cookie; None if it was accepted or not looked at.
        node: which of the partner's nodes answered, counted from 0.
        connection: the number of the TCP connection that it came over; equal numbers mean that it
            was kept alive.
        time: when it arrived, in seconds since the epoch, on the partner's clock with its skew.
        headers: by name, in any case; `get_all` gives those that came twice.
        body: all its bytes, chunks joined.
        token: the bearer token, None without one.
        claims: what the token claims, verified or not; empty without a readable token.
    """

    method: str
    path: str
    status: int | None
    accepted_by: str | None
    refusal: str | None
    node: int
    connection: int
    time: float
    headers: Message = field(repr=False)
    body: bytes = field(repr=False)
    token: str | None = field(repr=False)
    claims: dict[str, Any] = field(repr=False)


class Journal:
    """The part of `PartnerServer` that remembers."""

    def __init__(self) -> None:
        """Remember nothing yet."""
        self._arrived = threading.Condition()  # guards the two below
        self._requests: list[Received] = []
        self._connections = 0

    @property
    def requests(self) -> list[Received]:
        """What has arrived since the start or `clear`, in order: a copy."""
        with self._arrived:
            return list(self._requests)

    @property
    def connections(self) -> int:
        """How many TCP connections have been taken since the start or `clear`."""
        return self._connections

    def clear(self) -> None:
        """Forget the requests and connections so far; the connections' numbers go on."""
        with self._arrived:
            self._requests.clear()
            self._connections = 0

    def wait_for(self, count: int, timeout: float = 5.0) -> list[Received]:
        """Wait until `count` requests have arrived, and return them.

        Raises:
            TimeoutError: they have not within `timeout` seconds.
        """
        with self._arrived:
            if not self._arrived.wait_for(lambda: len(self._requests) >= count, timeout):
                raise TimeoutError(
                    f"{self!r}: {len(self._requests)} requests after {timeout:g} s, not {count}"
                )
            return list(self._requests)

    def _connected(self) -> None:
        with self._arrived:
            self._connections += 1

    def _record(self, received: Received) -> None:
        with self._arrived:
            self._requests.append(received)
            self._arrived.notify_all()
