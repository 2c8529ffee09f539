"""One GET with the standard library alone, and the 401 rule around it: no extra is needed."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from email.message import Message
from http.client import HTTPException
from typing import Any
from urllib.error import URLError

from partner_auth._authenticator import Authenticator, reply
from partner_auth._credentials import Secret
from partner_auth._origins import origin_of_url
from partner_auth._recovery import Answer
from partner_auth._tokens import Signed
from partner_auth.exceptions import ConfigurationError

MOST_READ = 65_536
READ_WITHIN = 2.0
TIMEOUT = 10.0


@dataclass(frozen=True)
class Reply:
    """What the partner answered; `took` is seconds, `arrived` seconds since the epoch."""

    status: int
    headers: Message
    body: bytes = field(repr=False)
    took: float
    arrived: float


def ask(url: str, header: Secret | None = None) -> Reply | Exception:
    """Send a GET with this `Authorization`; return the answer as it is, or what went wrong.

    No redirect is followed, no status is an error, and a bounded part of the body is read.
    """
    from urllib.request import Request

    request = Request(url, headers={"User-Agent": "partner-auth", "Accept": "*/*"})  # noqa: S310  a_url lets no other scheme through
    if header is not None:
        request.add_unredirected_header("Authorization", str(header.reveal()))
    began = time.monotonic()
    try:
        with _opener().open(request, timeout=TIMEOUT) as response:
            took, arrived = time.monotonic() - began, time.time()
            return Reply(response.status, response.headers, _read(response), took, arrived)
    except (OSError, HTTPException) as error:
        cause = error.reason if isinstance(error, URLError) else error
        return (cause if isinstance(cause, Exception) else error).with_traceback(None)


def _opener() -> Any:
    from urllib.request import HTTPErrorProcessor, HTTPSHandler, build_opener

    class AsItIs(HTTPErrorProcessor):
        """Return every answer; so nobody follows a redirect or asks for a password."""

        def http_response(self, request: Any, response: Any) -> Any:  # noqa: ARG002  urllib's signature
            return response

        https_response = http_response

    return build_opener(AsItIs, HTTPSHandler(context=_trust()))


def _trust() -> Any:
    """Trust whom OpenSSL trusts, and whom requests is told to."""
    import ssl

    context = ssl.create_default_context()
    extra = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE")
    if extra and os.path.exists(extra):
        folder = os.path.isdir(extra)
        context.load_verify_locations(
            cafile=None if folder else extra, capath=extra if folder else None
        )
    return context


def _read(response: Any) -> bytes:
    parts, size, until = [], 0, time.monotonic() + READ_WITHIN
    while size < MOST_READ and time.monotonic() < until:
        try:
            part = response.read1(MOST_READ - size)
        except (OSError, HTTPException):  # what has come is enough to explain it
            break
        if not part:
            break
        parts.append(part)
        size += len(part)
    return b"".join(parts)


class SignedRequests(Authenticator):
    """The door for the standard library: it adapts and decides nothing."""

    @property
    def source(self) -> Any:
        """Where the secret comes from, as `PartnerAuth` chooses it."""
        return self._source

    def get(self, url: str) -> Reply | Exception:
        """Send one GET, signed, and see to its answer.

        Raises:
            CredentialError: no credential can be had.
            InsecureTransport: the URL is plain http.
            ConfigurationError: the URL is none of `origins`.
        """
        place = self._place(origin_of_url(url))
        if place is None:
            raise ConfigurationError(
                "that URL is none of PARTNER_BASE_URL, so no request to it is signed"
            )
        lease = self._good_lease(place) or self._lease(place)
        answer = _send(url, lease.signed)
        if isinstance(answer, Exception):
            return answer
        if answer.status not in self._rejects:
            self._note(place, lease.signed, answer.status)
            return answer
        steps = self._recovering(place, lease.signed, _told(answer), replayable=True)
        try:
            step = next(steps, None)
            while step is not None and (signed := self._until_send(steps, step)) is not None:
                again = _send(url, signed)
                if isinstance(again, Exception):
                    return again
                answer = again
                step = reply(steps, _told(answer))
        finally:
            steps.close()
        return answer


def _send(url: str, signed: Signed) -> Reply | Exception:
    return ask(url, Secret(signed.header))


def _told(answer: Reply) -> Answer:
    headers = answer.headers
    return Answer(answer.status, headers.get("Date"), headers.get("WWW-Authenticate"))
