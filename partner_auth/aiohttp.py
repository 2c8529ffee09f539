"""PartnerAuth for aiohttp: a client middleware. It adapts and decides nothing.

It sits below aiohttp's redirects: each hop arrives as a request of its own, without a mark.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any

from partner_auth._authenticator import Authenticator, reply
from partner_auth._door import MOST_READ, READ_WITHIN, Door, joined_cookies
from partner_auth._extras import extra
from partner_auth._origins import origin_of
from partner_auth._places import Lease, Place
from partner_auth._recovery import Answer
from partner_auth._tokens import Signed
from partner_auth.exceptions import ConfigurationError

with extra("aiohttp", "aiohttp"):
    from aiohttp import (
        ClientError,
        ClientHandlerType,
        ClientRequest,
        ClientResponse,
        MultipartWriter,
        hdrs,
    )
    from aiohttp.payload import AsyncIterablePayload, BytesPayload, IOBasePayload

__all__ = ["PartnerAuth"]


class PartnerAuth(Door):
    """Sign the requests of `aiohttp.ClientSession(middlewares=(PartnerAuth(...),))`.

    The arguments are those of `partner_auth.PartnerAuth`, but `origins` must be named (or
    `PARTNER_BASE_URL`), since each hop of a redirect is signed or left alone by itself. A 401 that
    is mended stays below the client: `history` doesn't show it, its cookies are kept. One object
    serves any number of sessions and event loops.

    Raises:
        ConfigurationError: no origins are named, or another argument is wrong.
    """

    if not TYPE_CHECKING:  # checkers see the signature that is passed on

        @functools.wraps(Authenticator.__init__)
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            if self._origins.named is None:
                raise ConfigurationError(
                    "an aiohttp middleware sees each hop of a redirect as a request of its own, "
                    "so it must know where tokens may go: name origins=…"
                )

    def __call__(
        self, request: ClientRequest, handler: ClientHandlerType | None = None
    ) -> Awaitable[ClientResponse]:
        """Sign a request, send it, and see to its answer.

        Raises:
            CredentialError: no credential can be had; it is aiohttp's own error too.
            InsecureTransport: the request or the hop goes over plain http; likewise.
            ConfigurationError: another client took it for an auth of its own.
        """
        if handler is None:
            client = type(request).__module__.partition(".")[0]
            raise ConfigurationError(
                f"{client} took the middleware for aiohttp for an auth of its own: use "
                "partner_auth.PartnerAuth"
            )
        return self._answered(request, handler)

    async def _answered(self, request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
        url = request.url
        key = url.scheme, url.raw_host, url.port
        place = self._known.get(key) or self._place_for(
            request, key, origin_of(url.scheme, url.raw_host or "", url.port)
        )
        if place is None:
            return await handler(request)
        lease = await self._lease_sent(request, place)
        request.headers[hdrs.AUTHORIZATION] = lease.header
        response = await handler(request)
        refused = response.status in self._rejects
        if not refused and not place.troubled:
            return response
        # a middleware further in may have put its own header in place of ours
        ours = request.headers.get(hdrs.AUTHORIZATION) == lease.header
        signed = lease.signed if ours else None
        if refused:
            return await self._mended(request, handler, response, place, signed)
        if signed is not None:
            self._note(place, signed, response.status)
        return response

    async def _lease_sent(self, request: ClientRequest, place: Place) -> Lease:
        lasting = _is_lasting(request.body)
        lease = self._good_lease(place) if lasting else None
        return lease or await self._alease_for(request, place, patient=not lasting)

    async def _mended(
        self,
        request: ClientRequest,
        handler: ClientHandlerType,
        response: ClientResponse,
        place: Place,
        signed: Signed | None,
    ) -> ClientResponse:
        """Return the answer, or the one that a resend brought.

        Nothing of a refused answer is read before its request goes out again. aiohttp buffers its
        beginning by itself and gives the connection of a short one back at once, so little would
        be gained; and what was read could not be given back.
        """
        steps = self._recovering(
            place, signed, _answer(response), replayable=_can_be_resent(request.body)
        )
        try:
            step = next(steps, None)
            while step is not None:
                send = await self._auntil_send(steps, step)
                if send is None or not _can_be_resent(request.body):
                    break
                await _drop(request, response)
                _take_cookies(request, response)
                request.headers[hdrs.AUTHORIZATION] = send.header
                response = await handler(request)
                step = reply(steps, _answer(response))
        except BaseException:
            response.close()  # a pool would wait for its connection for ever
            raise
        finally:
            steps.close()
        return response


def _answer(response: ClientResponse) -> Answer:
    headers = response.headers
    return Answer(response.status, headers.get(hdrs.DATE), headers.get(hdrs.WWW_AUTHENTICATE))


# -- bodies


def _is_lasting(body: Any) -> bool:
    """Whether a body can go out many times: memory, files that seek, multiparts of those."""
    if not body or isinstance(body, BytesPayload):
        return True
    if isinstance(body, MultipartWriter):
        return all(_is_lasting(part) for part, _, _ in body)
    return isinstance(body, IOBasePayload) and _can_seek(body._value)


def _can_seek(file: Any) -> bool:
    try:
        return bool(file.seekable())
    except (AttributeError, OSError, ValueError):  # ValueError: it is closed
        return False


def _can_be_resent(body: Any) -> bool:
    """Whether a body can go out once more: aiohttp rewinds what it has not marked as consumed."""
    if not body:
        return True
    # a stream is not consumed where the 401 came in place of the `100 Continue`
    return not body.consumed and (_is_lasting(body) or isinstance(body, AsyncIterablePayload))


# -- the resend


async def _drop(request: ClientRequest, response: ClientResponse) -> None:
    """Let a refused answer's connection go: back to the pool if it can be read to its end."""
    left = MOST_READ
    limit = asyncio.timeout(READ_WITHIN)
    try:
        async with limit:
            while left and (piece := await response.content.read(left)):
                left -= len(piece)
    except ClientError:
        pass  # what is wrong with a refused body changes nothing
    except TimeoutError:
        if not limit.expired():
            raise  # aiohttp's own: the time of the whole request is over
    response.release()
    await request.close()  # release cancels an upload: it must have left a file before the next
    request.update_expect_continue()  # the wait for a 100 was cancelled with it


def _take_cookies(request: ClientRequest, response: ClientResponse) -> None:
    """Carry the 401's cookies into jar and resend: aiohttp takes only the last answer's."""
    given = response.headers.getall(hdrs.SET_COOKIE, ())
    if not given:
        return
    jar = request.session.cookie_jar
    jar.update_cookies_from_headers(given, response.url)
    kept = jar.filter_cookies(request.url)
    fresh = [f"{name}={kept[name].coded_value}" for name in response.cookies if name in kept]
    if fresh:
        old = request.headers.getall(hdrs.COOKIE, ())
        request.headers[hdrs.COOKIE] = joined_cookies(*old, *fresh)
