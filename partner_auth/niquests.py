"""PartnerAuth for niquests: `PartnerAuth` for its sessions, `AsyncPartnerAuth` for its asynchronous ones."""

# niquests can't be installed beside requests, where the types are checked:
# pyright: reportMissingImports=false, reportUntypedBaseClass=false

from __future__ import annotations

import inspect
import time
from datetime import timedelta
from typing import Any

from partner_auth import _partner_auth
from partner_auth._authenticator import reply
from partner_auth._door import MOST_READ, READ_WITHIN, answer_of
from partner_auth._extras import extra
from partner_auth._flight import within
from partner_auth._origins import origin_of_url
from partner_auth._places import Lease, Place
from partner_auth._requests_family import (
    Hook,
    RequestsFamily,
    can_be_resent,
    no_middleware,
    notes_position,
    resend_of,
)
from partner_auth._tokens import Signed

with extra("niquests", "niquests"):
    from niquests import Response
    from niquests.auth import AsyncAuthBase, AuthBase

__all__ = ["AsyncPartnerAuth", "PartnerAuth"]


class PartnerAuth(_partner_auth.PartnerAuth, AuthBase):
    """The same as `partner_auth.PartnerAuth`, as a subclass of niquests' own base class."""


class AsyncHook(Hook):
    """The hook for asynchronous sessions: they await a method, but not an object."""

    __slots__ = ()

    async def answered(self, response: Any, **kwargs: Any) -> Any:
        """Return the answer, or the one that a resend brought."""
        return await self.auth._answered(self, response, kwargs)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as a hook that does nothing."""
        return _NoHook, ()


class _NoHook:
    async def answered(self, response: Any, **_kwargs: Any) -> Any:
        return response


class AsyncPartnerAuth(RequestsFamily, AsyncAuthBase):
    """The same for `niquests.AsyncSession`, which awaits only an auth made for it.

    The arguments are those of `partner_auth.PartnerAuth`.
    """

    async def __call__(self, request: Any, *handler: Any) -> Any:
        """Sign a prepared request and see to its answer.

        Raises:
            CredentialError: no credential can be had; it is the client's own error too.
            InsecureTransport: the request goes over plain http; likewise.
            ConfigurationError: the client is none that this object is for.
        """
        if handler:
            raise no_middleware(request)
        place = self._place_asked(request)
        if place is None:
            return request
        patient = _is_awaited(request.body) or not notes_position(request)
        lease = None if patient else self._good_lease(place)
        if lease is None:
            lease = await self._alease_for(request, place, patient=patient)
        request.headers["Authorization"] = lease.header
        _hook_up(request, lease.attachment or self._hook(place, lease))
        return request

    def _hook(self, place: Place, lease: Lease) -> Any:
        hook = lease.attachment = AsyncHook(self, place, lease.signed).answered
        return hook

    async def _answered(self, hook: Hook, response: Any, kwargs: dict[str, Any]) -> Any:
        if response.status_code not in self._rejects and not hook.place.troubled:
            return response
        taken_up = self._taken_up(hook.place, hook.signed, response, origin_of_url)
        return response if taken_up is None else await self._mended(response, *taken_up, kwargs)

    async def _mended(
        self, response: Any, place: Place, signed: Signed | None, kwargs: dict[str, Any]
    ) -> Any:
        """Return the answer, or the one that a resend brought.

        Nothing of a refused answer is read before its request goes out again: what was read of an
        asynchronous one could not be given back.
        """
        refused: list[Any] = []
        steps = self._recovering(
            place, signed, answer_of(response), replayable=_can_be_resent(response)
        )
        try:
            step = next(steps, None)
            while step is not None:
                send = await self._auntil_send(steps, step)
                if send is None or not _can_be_resent(response):
                    break
                signed = send
                again = resend_of(response, send)
                await _drop(response)
                refused.append(response)
                response = await _sent(response.connection, again, kwargs)
                step = reply(steps, answer_of(response))
        except BaseException:
            await _closed(response)  # a pool would wait for its connection for ever
            raise
        finally:
            steps.close()
        if refused:
            response.history = [*response.history, *refused]
            if signed is not None and response.is_redirect:
                # the session follows a redirect from the request that it holds
                first = refused[0].request
                first.headers["Authorization"] = signed.header
                _hook_up(first, AsyncHook(self, place, signed).answered)
        return response


def _hook_up(request: Any, hook: Any) -> None:
    """Put our hook first, in place of an older one: the user's see the final answer."""
    others = [one for one in request.hooks["response"] if not _is_ours(one)]
    request.hooks["response"] = [hook, *others]


def _is_ours(hook: Any) -> bool:
    return isinstance(getattr(hook, "__self__", None), (AsyncHook, _NoHook))


def _is_awaited(body: Any) -> bool:
    """Whether a body is an asynchronous file: where it stands can't be told here."""
    return inspect.iscoroutinefunction(getattr(body, "seek", None))


def _can_be_resent(response: Any) -> bool:
    return not _is_awaited(response.request.body) and can_be_resent(response)


async def _sent(connection: Any, request: Any, kwargs: dict[str, Any]) -> Any:
    began = time.perf_counter()
    # the answer is wanted now: a multiplexed one would be a promise
    response = await connection.send(request, **kwargs | {"multiplexed": False})
    response.elapsed = timedelta(seconds=time.perf_counter() - began)
    response.request = request
    return response


async def _drop(response: Any) -> None:
    """Read a bounded part of a refused answer, undecoded, keep that and let the connection go."""
    data, until = bytearray(), time.monotonic() + READ_WITHIN
    try:
        while len(data) < MOST_READ and time.monotonic() < until:
            reading = response.raw.read1(MOST_READ - len(data), decode_content=False)
            piece = await within(reading, until - time.monotonic())
            if not piece:
                break
            data += piece
    except Exception:  # noqa: BLE001, S110  what is wrong with a refused body changes nothing
        pass
    await _closed(response)
    response._content, response._content_consumed = bytes(data), True
    response.__class__ = Response  # as niquests does with what it has read


async def _closed(response: Any) -> None:
    closed = response.close()
    if inspect.isawaitable(closed):
        await closed
