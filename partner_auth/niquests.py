"""PartnerAuth for niquests: `PartnerAuth` for its sessions, `AsyncPartnerAuth` for its asynchronous ones."""

# niquests can't be installed beside requests, where the types are checked:
# pyright: reportMissingImports=false, reportUntypedBaseClass=false

from __future__ import annotations

import inspect
from typing import Any

from niquests.auth import AsyncAuthBase, AuthBase

from partner_auth import _partner_auth
from partner_auth._authenticator import reply
from partner_auth._door import Door, answer_of
from partner_auth._origins import origin_of_url
from partner_auth._places import Lease, Place
from partner_auth._requests_family import can_be_resent, notes_position, resend_of
from partner_auth._tokens import Signed

__all__ = ["AsyncPartnerAuth", "PartnerAuth"]


class PartnerAuth(_partner_auth.PartnerAuth, AuthBase):
    """The same as `partner_auth.PartnerAuth`, as a subclass of niquests' own base class."""


class AsyncHook:
    """The response hook of one token; pickled as nothing."""

    def __init__(self, auth: AsyncPartnerAuth, place: Place, signed: Signed) -> None:
        """Hold the token that its requests carry."""
        self._auth, self._place, self._signed = auth, place, signed

    async def answered(self, response: Any, **kwargs: Any) -> Any:
        """Return the answer, or the one that a resend brought."""
        return await self._auth._answered(self._place, self._signed, response, kwargs)

    def __repr__(self) -> str:
        """Show no token."""
        return "<partner_auth response hook>"

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as a hook that does nothing."""
        return _NoHook, ()


class _NoHook:
    async def answered(self, response: Any, **_kwargs: Any) -> Any:
        return response


class AsyncPartnerAuth(Door, AsyncAuthBase):
    """The same for `niquests.AsyncSession`, which awaits only an auth made for it.

    The arguments are those of `partner_auth.PartnerAuth`. A refused answer is closed unread before
    its request goes out again.
    """

    async def __call__(self, request: Any) -> Any:
        """Sign a prepared request and see to its answer.

        Raises:
            CredentialError: no credential can be had; it is the client's own error too.
            InsecureTransport: the request goes over plain http; likewise.
        """
        place = self._place_for(request, request.url, origin_of_url(request.url))
        if place is None:
            return request
        patient = not notes_position(request)
        lease: Lease | None = None if patient else self._good_lease(place)
        if lease is None:
            lease = await self._alease_for(request, place, patient=patient)
        request.headers["Authorization"] = lease.header
        listed = request.hooks["response"]
        others = [hook for hook in listed if not _is_ours(hook)]
        request.hooks["response"] = [AsyncHook(self, place, lease.signed).answered, *others]
        return request

    async def _answered(
        self, place: Place, signed: Signed, response: Any, kwargs: dict[str, Any]
    ) -> Any:
        taken_up = self._taken_up(place, signed, response, origin_of_url)
        if taken_up is None:
            return response
        place, refused_token = taken_up
        refused: list[Any] = []
        steps = self._recovering(
            place, refused_token, answer_of(response), replayable=can_be_resent(response)
        )
        try:
            step = next(steps, None)
            while step is not None:
                send = await self._auntil_send(steps, step)
                if send is None or not can_be_resent(response):
                    break
                closed = response.close()
                if inspect.isawaitable(closed):
                    await closed
                refused.append(response)
                request = resend_of(response, send)
                response = await response.connection.send(request, **kwargs)
                response.request = request
                step = reply(steps, answer_of(response))
        finally:
            steps.close()
        response.history = [*response.history, *refused]
        return response


def _is_ours(hook: Any) -> bool:
    return isinstance(getattr(hook, "__self__", None), AsyncHook)
