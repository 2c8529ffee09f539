"""The parts put together, without a client's word: signing is a method, recovery begins at the answer."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Self, TypeVar

from partner_auth._cache import Cache
from partner_auth._clock import SYSTEM, Clock, checked, moment
from partner_auth._credentials import Credential
from partner_auth._flight import Steps, Wait, adrive, await_, drive, in_event_loop, wait
from partner_auth._looks import Looks
from partner_auth._origins import Origin, Origins, base_origin, origin_of_url
from partner_auth._places import Lease, Place
from partner_auth._policy import RefreshPolicy
from partner_auth._recovery import ACCEPTED, Answer, Recovering, Recovery, Step, judged
from partner_auth._report import Reporter
from partner_auth._tokens import Claims, Signed, Signer
from partner_auth.events import Event
from partner_auth.exceptions import ConfigurationError, PartnerAuthError, warn
from partner_auth.sources import CredentialSource, EnvSource
from partner_auth.sources._callable import source_or_error
from partner_auth.sources._protocol import CredentialCallable

T = TypeVar("T")
_MOST_KNOWN = 1024
_STATUSES = range(400, 600)
_NOWHERE = ("\0", Place(None, named=False))
_USUAL = frozenset({401})


@dataclass(frozen=True)
class OriginStatus:
    """What is in use at one origin; times are aware, in UTC, `clock_offset` is seconds."""

    version: str | None
    rejected_since: datetime | None
    next_look: datetime | None
    clock_offset: float


@dataclass(frozen=True)
class Status:
    """How a `PartnerAuth` stands, without I/O and without a secret: for a readiness probe.

    `state` is `empty` (nothing is held: never read, gone, or revoked), `fresh`, `stale` (the store
    could not be read lately, or is being read) or `rejected` (refused at some origin now). Times
    are aware, in UTC; `clock_offset` is how many seconds the partner's clock is ahead, where it
    differs most.
    """

    source: str
    state: str
    client_id: str | None
    version: str | None
    fetched_at: datetime | None
    token_expires_at: datetime | None
    clock_offset: float
    last_error: str | None
    next_read: datetime | None
    origins: Mapping[str, OriginStatus] = field(default_factory=dict)


class Authenticator:
    """Sign requests with a partner's secret and mend the 401s that a rotation brings. See `PartnerAuth`."""

    def __init__(
        self,
        source: CredentialSource | Credential | CredentialCallable | str | None = None,
        *,
        origins: str | Iterable[str] | None = None,
        lifetime: float | timedelta = 900.0,
        algorithm: str = "HS256",
        claims: Claims | None = None,
        key_id: str | None = None,
        rejects: Iterable[int] = (401,),
        refresh: RefreshPolicy = RefreshPolicy(),  # noqa: B008  immutable
        on_event: Callable[[Event], object] | None = None,
        clock: Clock | None = None,
    ) -> None:
        """Check all that can be checked without I/O. Nothing is read, connected or started."""
        origins = _origins_given(source is None, origins)
        found = _source_given(source)
        del source  # somebody may pass the secret itself: no frame of an error is to hold it
        if isinstance(found, PartnerAuthError):
            raise found
        self._source = found
        if not isinstance(refresh, RefreshPolicy):
            raise ConfigurationError(
                f"refresh: a RefreshPolicy is wanted, not {type(refresh).__name__}"
            )
        self._rejects = _checked_rejects(rejects)
        self._origins = Origins(origins)
        self._clock = checked(clock)
        signer = Signer(lifetime, algorithm, claims, key_id)
        self._cache = Cache(self._source, refresh, signer, self._clock, Reporter(on_event))
        self._looks = Looks(self._cache)
        self._now, self._wall = self._clock.monotonic, self._clock.now
        self._known: dict[object, Place] = {}  # by what a door takes from a URL at no cost
        self._latest = _NOWHERE  # a URL's beginning, and where it leads
        self._first_signed: Origin | None = None
        self._warned_of_second = False

    def __repr__(self) -> str:
        """Show where the secret comes from and where tokens go."""
        if not hasattr(self, "_cache"):
            return "PartnerAuth(…)"  # half-made, in the frame of an error
        named = self._origins.named
        origins = "" if named is None else f", origins={sorted(map(str, named))!r}"
        return f"PartnerAuth({self._cache.name}{origins})"

    # -- for those who want the token alone

    def token(self, url: str | None = None) -> str:
        """Return the token that a request would carry now (to that URL's origin), without `Bearer`.

        Raises:
            CredentialError: none can be had; the message says why. A start-up check.
            InsecureTransport: the URL is plain http.
            ConfigurationError: the URL is none of `origins`, or this would block an event loop:
                await `atoken()`.
        """
        place = self._place_wanted(url)
        lease = self._good_lease(place)
        if lease is None:
            lease = self._blocking(self._cache.take(place), "atoken()")
        return lease.signed.token

    async def atoken(self, url: str | None = None) -> str:
        """Return the token that a request would carry now; like `token()`, for asyncio and trio."""
        place = self._place_wanted(url)
        lease = self._good_lease(place)
        if lease is None:
            lease = await adrive(self._cache.take(place), self._clock)
        return lease.signed.token

    def refresh(self, wait: bool = True) -> None:
        """Read the store now, past any cache in between and any pause, and forget rejections.

        Args:
            wait: False only starts the read and takes no lock: for a signal handler or a push
                callback.

        Raises:
            CredentialError: the read failed; what is held stays, unless the store refused.
            ConfigurationError: this would block an event loop: await `arefresh()`.
        """
        if wait:
            self._blocking(self._cache.refresh(), "arefresh()")
            return
        self._cache.refresh_soon()

    async def arefresh(self) -> None:
        """Read the store now; like `refresh()`, for asyncio and trio."""
        await adrive(self._cache.refresh(), self._clock)

    def status(self) -> Status:
        """Return how things stand, without I/O."""
        cache, now, wall = self._cache, self._now(), self._wall()
        state, due = cache.state(), moment(cache.next_read())
        with cache.lock:
            held, failure = cache.holding.held, cache.holding.failure
            signed, places = cache.last_signed, list(cache.places.values())
            current = held.credential if held and state != "empty" else None
            told = {
                place.name: _origin_status(place, current, now, wall)
                for place in places
                if place.origin
            }
            rejected = any(place.rejected_since is not None for place in places)
        cache.catch_up()
        return Status(
            source=cache.name,
            state="rejected" if rejected and state != "empty" else state,
            client_id=current.client_id if current else None,
            version=current.version if current else None,
            fetched_at=moment(held.fetched_at) if held and current else None,
            token_expires_at=moment(signed.expires_at) if signed and current else None,
            clock_offset=max((place.offset for place in places), key=abs, default=0.0),
            last_error=failure.text if failure else None,
            next_read=due,
            origins=told,
        )

    # -- for the doors

    def _place(self, origin: Origin | None) -> Place | None:
        """Return what is known of an origin, or None where nothing is signed.

        Raises:
            InsecureTransport: a token would go over plain http.
        """
        if origin is None or not self._origins.admit(origin):
            return None
        if self._origins.named is None:
            self._warn_of_second(origin)
        return self._cache.place(origin, named=self._origins.named is not None)

    def _remember(self, key: object, origin: Origin | None) -> Place | None:
        place = self._place(origin)
        if place is not None:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            self._known[key] = place
        return place

    def _good_lease(self, place: Place) -> Lease | None:
        """Return the lease if it can be used without another thought."""
        lease = place.lease
        if (
            lease is None
            or self._now() >= lease.until
            or not lease.wall_from <= self._wall() < lease.wall_until
        ):
            return None
        return lease

    def _lease(self, place: Place, *, patient: bool = False, no_wait: str = "") -> Lease:
        if no_wait:
            return _at_once(self._cache.take(place), no_wait)
        return drive(self._cache.take(place, patient=patient), self._clock)

    async def _alease(self, place: Place, *, patient: bool = False) -> Lease:
        return await adrive(self._cache.take(place, patient=patient), self._clock)

    def _note(self, place: Place, signed: Signed, status: int) -> None:
        """Take note of an answer that is no refusal."""
        if judged(Answer(status), self._rejects) is ACCEPTED:
            self._looks.accepted(place, signed)

    def _recovering(
        self, place: Place, signed: Signed | None, answer: Answer, *, replayable: bool
    ) -> Recovering:
        return Recovery(self._looks, place, self._rejects, replayable=replayable).steps(
            signed, answer
        )

    def _until_send(self, steps: Recovering, step: Step | None) -> Signed | None:
        """Do the waiting of these steps in this thread. Return what to send, or None: the answer goes back."""
        while isinstance(step, Wait):
            step = reply(steps, wait(step, self._clock))
        return None if step is None else step.signed

    async def _auntil_send(self, steps: Recovering, step: Step | None) -> Signed | None:
        """Do the waiting of these steps in this task. Return what to send, or None: the answer goes back."""
        while isinstance(step, Wait):
            step = reply(steps, await await_(step, self._clock))
        return None if step is None else step.signed

    # -- inside

    def _place_wanted(self, url: str | None) -> Place:
        if url is None:
            named = self._origins.named
            only = next(iter(named)) if named is not None and len(named) == 1 else None
            return self._cache.place(only, named=only is not None)
        place = self._place(origin_of_url(url))
        if place is None:
            raise ConfigurationError(
                "token(url): that URL is none of `origins`, so no request to it would be signed"
            )
        return place

    def _blocking(self, steps: Steps[T], instead: str) -> T:
        if not in_event_loop():
            return drive(steps, self._clock)
        return _at_once(
            steps,
            f"the store must be read first, which would block this event loop: await {instead}",
        )

    def _warn_of_second(self, origin: Origin) -> None:
        first = self._first_signed
        if first is None:
            self._first_signed = origin
        elif first != origin and not self._warned_of_second:
            self._warned_of_second = True
            text = f"tokens now go to {origin} as well as to {first}: name the partner's with origins=…"
            warn(text)

    def __reduce_ex__(self, protocol: object) -> tuple[Any, ...]:
        """Pickle source and options, never a credential or token."""
        options = self._options()
        for name, value in options.items():
            if callable(value) and "<" in getattr(value, "__qualname__", ""):
                raise TypeError(
                    f"PartnerAuth({name}=) is a local function: pickling wants one of a module's top level"
                )
        return _made_again, (type(self), self._source, options)

    def _options(self) -> dict[str, Any]:
        named, cache = self._origins.named, self._cache
        return {
            "origins": None if named is None else tuple(map(str, sorted(named))),
            "lifetime": cache.signer.lifetime,
            "algorithm": cache.signer.algorithm,
            "claims": cache.signer.claims,
            "key_id": cache.signer.key_id,
            "rejects": tuple(sorted(self._rejects)),
            "refresh": cache.policy,
            "on_event": cache.reporter.on_event,
            "clock": None if self._clock is SYSTEM else self._clock,
        }

    def __copy__(self) -> Self:
        """Return itself: the held credential is shared on purpose."""
        return self

    def __deepcopy__(self, memo: object) -> Self:
        """Return itself: the held credential is shared on purpose."""
        return self


def _at_once(steps: Steps[T], text: str) -> T:
    """Take steps to their result without a wait. Raise `ConfigurationError` with `text` where one is needed."""
    try:
        next(steps)
    except StopIteration as stop:
        result: T = stop.value
        return result
    finally:
        steps.close()
    raise ConfigurationError(text)


def reply(steps: Recovering, answer: bool | Answer) -> Step | None:
    """Return the next step, or None when an answer goes back."""
    try:
        return steps.send(answer)
    except StopIteration:
        return None


def _made_again(
    cls: type[Authenticator], source: CredentialSource, options: dict[str, Any]
) -> Authenticator:
    return cls(source, **options)


def _source_given(source: object) -> CredentialSource | PartnerAuthError:
    if source is not None:
        return source_or_error(source)
    if os.environ.get("PARTNER_AUTH_SOURCE", "").strip():
        return source_or_error(os.environ["PARTNER_AUTH_SOURCE"].strip())
    return EnvSource()


def _origins_given(
    by_environment: bool, origins: str | Iterable[str] | None
) -> str | Iterable[str] | None:
    if origins is not None or not by_environment:
        return origins
    url = os.environ.get("PARTNER_BASE_URL", "").strip()
    return base_origin(url) if url else None


def _checked_rejects(rejects: object) -> frozenset[int]:
    codes = [rejects] if isinstance(rejects, int) else rejects
    if isinstance(codes, Iterable) and not isinstance(codes, (str, bytes)):
        listed = list(codes)
        if all(isinstance(code, int) and code in _STATUSES for code in listed):
            codes = frozenset(listed)
            return _USUAL if codes == _USUAL else codes  # thousands of objects share it
    raise ConfigurationError(
        "rejects: the status codes (400 to 599) that mean that the token was refused"
    )


def _origin_status(
    place: Place, current: Credential | None, now: float, wall: float
) -> OriginStatus:
    in_use = place.in_use(current)
    next_look = wall + place.next_look - now if place.next_look > now else None
    return OriginStatus(
        version=in_use.version if in_use else None,
        rejected_since=moment(place.rejected_wall),
        next_look=moment(next_look),
        clock_offset=place.offset,
    )
