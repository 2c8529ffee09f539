"""Events on their way out: to the logger `partner_auth` and to the caller's `on_event`."""

from __future__ import annotations

import contextvars
import inspect
import logging
from collections.abc import Callable
from dataclasses import fields
from datetime import datetime

from partner_auth.events import CredentialRotated, Event, SourceFailed
from partner_auth.exceptions import ConfigurationError

_LEVELS: dict[type[Event], int] = {CredentialRotated: logging.INFO, SourceFailed: logging.WARNING}
log = logging.getLogger("partner_auth")
_telling: contextvars.ContextVar[frozenset[tuple[int, type[Event]]]] = contextvars.ContextVar(
    "partner_auth_telling"
)


class Reporter:
    """Write each event to the log and hand it to a callback, whose errors stay here."""

    def __init__(self, on_event: Callable[[Event], object] | None) -> None:
        """Check the callback. Raise `ConfigurationError` when it can't be called, or is a coroutine function."""
        if on_event is not None and (
            not callable(on_event) or inspect.iscoroutinefunction(on_event)
        ):
            raise ConfigurationError("on_event: a plain function of one event is wanted")
        self.on_event = on_event

    def report(self, event: Event, *, loud: bool = False) -> None:
        """Pass `event` on; `loud` makes the line a WARNING."""
        level = logging.WARNING if loud else _LEVELS.get(type(event), logging.DEBUG)
        if log.isEnabledFor(level):
            log.log(level, "%s", _line(event), extra={"partner_auth_event": event})
        told, this = _telling.get(frozenset()), (id(self), type(event))
        if self.on_event is None or this in told:
            return  # one that answers an event by causing the like would be told without end
        before = _telling.set(told | {this})
        try:
            self.on_event(event)
        except Exception as error:  # noqa: BLE001  a callback's fault must not cost a request
            log.warning("on_event raised %s for %s", type(error).__name__, type(event).__name__)
        finally:
            _telling.reset(before)

    def warn(self, text: str) -> None:
        """Write a WARNING that is no event."""
        log.warning("%s", text)


def _line(event: Event) -> str:
    said = (f"{field.name}={_shown(getattr(event, field.name))}" for field in fields(event))
    return f"{type(event).__name__} " + " ".join(said)


def _shown(value: object) -> str:
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%dT%H:%M:%SZ")
    return f"{value:.3f}" if isinstance(value, float) else repr(value)
