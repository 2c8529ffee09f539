"""What the doors of all clients do alike: which answers are taken up, and how errors leave."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from partner_auth._authenticator import Authenticator
from partner_auth._origins import Origin
from partner_auth._places import Lease, Place
from partner_auth._recovery import Answer
from partner_auth._tokens import Signed
from partner_auth.exceptions import (
    ConfigurationError,
    InsecureTransport,
    PartnerAuthError,
    SourceUnavailable,
    raised_by_client,
)

MOST_READ = 65_536  # bytes of a refused answer
READ_WITHIN = 1.0  # seconds, and as long again for a piece that has begun


class Door(Authenticator):
    """The authenticator with what its doors share."""

    def _place_for(self, request: Any, key: object, origin: Origin | None) -> Place | None:
        """Return what is known of where a request goes, or None where nothing is signed."""
        error: PartnerAuthError
        try:
            return self._remember(key, origin)
        except InsecureTransport as insecure:
            error = insecure
        raise as_the_clients(error, request)

    def _lease_for(self, request: Any, place: Place, *, patient: bool, no_wait: str = "") -> Lease:
        """Return a lease. `no_wait`: what to say in place of a wait, where there must be none."""
        error: PartnerAuthError
        try:
            return self._lease(place, patient=patient, no_wait=no_wait)
        except PartnerAuthError as failed:
            error = failed
        raise as_the_clients(error, request)

    async def _alease_for(self, request: Any, place: Place, *, patient: bool) -> Lease:
        error: PartnerAuthError
        try:
            return await self._alease(place, patient=patient)
        except PartnerAuthError as failed:
            error = failed
        raise as_the_clients(error, request)

    def _taken_up(
        self, place: Place, signed: Signed, response: Any, origin: Callable[[Any], Origin | None]
    ) -> tuple[Place, Signed | None] | None:
        """Return where a refusal is ours and what it refused; None: the answer goes back as it is.

        `place` and `signed` are those of the first request, which redirects may have led elsewhere.
        """
        request = response.request
        ours = request.headers.get("Authorization") == signed.header
        if response.status_code not in self._rejects:
            if ours and place.troubled:
                self._note(place, signed, response.status_code)
            return None
        if not (ours or place.named):
            return None
        try:
            at = self._place(origin(request.url))
        except InsecureTransport:
            return None
        return None if at is None else (at, signed if ours else None)


def answer_of(response: Any) -> Answer:
    """Return what the rule asks of an answer."""
    headers = response.headers
    return Answer(response.status_code, headers.get("Date"), headers.get("WWW-Authenticate"))


def position_of(body: Any) -> int | None:
    """Return where a seekable body stands; None: it can't be sent again."""
    try:
        position = body.tell() if body.seekable() else None
    except (AttributeError, OSError, ValueError):
        return None
    return position if isinstance(position, int) else None


def is_rewound(body: Any, position: object) -> bool:
    """Put a body back to where it stood; False: that can't be done."""
    try:
        body.seek(position)
    except (AttributeError, OSError, TypeError, ValueError):
        return False
    return True


def joined_cookies(*headers: str) -> str:
    """Return the `Cookie` header with the cookies of all; of two with one name the later stays."""
    pairs: dict[str, str] = {}
    for header in headers:
        for pair in filter(None, map(str.strip, header.split(";"))):
            pairs[pair.partition("=")[0]] = pair
    return "; ".join(pairs.values())


def client_of(thing: object, name: str) -> Any:
    """Return the client that a request or response belongs to: its module, which has `name`."""
    for kind in type(thing).__mro__:  # a user's own class derives from the client's
        module = sys.modules.get(kind.__module__.partition(".")[0])
        if hasattr(module, name):
            return module
    return None


def as_the_clients(error: PartnerAuthError, request: object) -> PartnerAuthError:
    """Return the error as one of the client that made `request`.

    SDKs retry a connection error and hide its text; the client's base error they pass on.
    """
    if isinstance(error, ConfigurationError):
        return error
    transient = isinstance(error, SourceUnavailable)
    for connection, base in (
        ("ConnectError", "HTTPError"),
        ("ConnectionError", "RequestException"),
        ("ClientConnectionError", "ClientError"),
    ):
        client = client_of(request, connection)
        if hasattr(client, base):  # `builtins` has a ConnectionError too
            return raised_by_client(
                error, getattr(client, connection if transient else base), request
            )
    return error
