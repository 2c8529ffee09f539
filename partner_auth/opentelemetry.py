"""Events as OpenTelemetry metrics and span events: `PartnerAuth(..., on_event=Observer())`."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from datetime import datetime
from typing import Any

from partner_auth._clock import Clock, checked
from partner_auth._extras import extra
from partner_auth.events import (
    ClockSkewLearned,
    CredentialFetched,
    CredentialRotated,
    Event,
    RequestRejected,
    RequestResent,
    ServedStale,
    SourceFailed,
    TokenSigned,
)

with extra("otel", "opentelemetry"):
    from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation, get_meter
    from opentelemetry.trace import get_current_span

__all__ = ["Observer"]

SOURCE, ORIGIN, REASON = "partner_auth.source", "partner_auth.origin", "error.type"
Attributes = Mapping[str, str]


class Observer:
    """Count what happens, and note it on the span that is current where it happens.

    One object may serve any number of `PartnerAuth` objects: their sources tell them apart. No
    secret, token or part of one becomes an attribute, and no version or client id that of a metric.

    Args:
        meter_provider: None: the global one, also if it is set later.
        then: is called with each event afterwards, as `on_event` would be.
        clock: what the age is measured by; None: the machine's.
    """

    def __init__(
        self,
        meter_provider: MeterProvider | None = None,
        *,
        then: Callable[[Event], object] | None = None,
        clock: Clock | None = None,
    ) -> None:
        """Make the instruments; nothing is measured yet."""
        self._given = meter_provider
        self._then = then
        self._clock = checked(clock)
        self._lock = threading.Lock()  # guards the one below
        self._landed: dict[str, float] = {}  # by source, on the monotonic clock
        meter = get_meter("partner_auth", meter_provider=meter_provider)
        count = meter.create_counter
        self._fetches = count(
            "partner_auth.source.fetches", "{fetch}", "Reads of the store; error.type if one failed"
        )
        self._durations = meter.create_histogram(
            "partner_auth.source.fetch.duration",
            "s",
            "How long reads of the store took that landed",
        )
        self._rotations = count(
            "partner_auth.credential.rotations", "{rotation}", "Another credential came into use"
        )
        self._stale = count(
            "partner_auth.credential.stale", "{token}", "Served past its time, the store being away"
        )
        self._signed = count("partner_auth.token.signed", "{token}", "Tokens signed")
        self._resent = count(
            "partner_auth.request.resent", "{request}", "Refused requests that went out again"
        )
        self._rejected = count(
            "partner_auth.request.rejected", "{request}", "Refused answers that went to the caller"
        )
        self._offset = meter.create_gauge(
            "partner_auth.clock.offset", "s", "How far the partner's clock is ahead of ours"
        )
        meter.create_observable_gauge(
            "partner_auth.credential.age",
            [self._ages],
            "s",
            "Time since the store was last read, where a credential is held",
        )

    def __call__(self, event: Event) -> None:
        """Take note of one event."""
        self._measure(event)
        span = get_current_span()
        if span.is_recording():
            span.add_event(f"partner_auth.{type(event).__name__}", _described(event))
        if self._then is not None:
            self._then(event)

    def __repr__(self) -> str:
        """Name it."""
        return "Observer()"

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as one that reports to the global provider of whoever loads it."""
        if self._given is not None:
            raise TypeError("an Observer with a meter_provider can't be pickled: leave it out")
        return _made_again, (self._then,)

    def _measure(self, event: Event) -> None:
        source = {SOURCE: event.source}
        match event:
            case CredentialFetched():
                self._land(event.source)
                self._fetches.add(1, source)
                self._durations.record(event.took, source)
            case SourceFailed():
                if not event.held:
                    self._forget(event.source)
                self._fetches.add(1, source | {REASON: event.reason or event.error})
            case CredentialRotated():
                self._rotations.add(1, source)
            case ServedStale():
                self._stale.add(1, source)
            case TokenSigned():
                self._signed.add(1, source | {ORIGIN: event.origin})
            case RequestResent():
                why = {"partner_auth.why": event.why}
                self._resent.add(1, source | why | {ORIGIN: event.origin})
            case RequestRejected():
                self._rejected.add(1, source | {ORIGIN: event.origin})
            case ClockSkewLearned():
                self._offset.set(event.offset, source | {ORIGIN: event.origin})
            case _:
                pass  # one of a later version

    def _land(self, source: str) -> None:
        with self._lock:
            self._landed[source] = self._clock.monotonic()

    def _forget(self, source: str) -> None:
        with self._lock:
            self._landed.pop(source, None)

    def _ages(self, _options: CallbackOptions) -> Iterable[Observation]:
        now = self._clock.monotonic()
        with self._lock:
            landed = dict(self._landed)
        return [Observation(now - then, {SOURCE: source}) for source, then in landed.items()]


def _made_again(then: Callable[[Event], object] | None) -> Observer:
    return Observer(then=then)


def _described(event: Event) -> dict[str, str | bool | int | float]:
    told = ((field.name, getattr(event, field.name)) for field in fields(event))
    return {f"partner_auth.{name}": _plain(value) for name, value in told if value is not None}


def _plain(value: object) -> str | bool | int | float:
    if isinstance(value, (str, bool, int, float)):
        return value
    if isinstance(value, datetime):
        return value.isoformat()
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
