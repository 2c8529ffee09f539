"""How often the store is read, how long what it gave may be used, and how failures are spaced."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from datetime import timedelta

from partner_auth.exceptions import ConfigurationError

DAY = 86_400.0


def seconds(name: str, value: object, *, least: float = 0.0, most: float = 366 * DAY) -> float:
    """Return a number of seconds or a `timedelta` as float seconds between `least` and `most`.

    Raises:
        ConfigurationError: it is a bool, no number, not finite, or outside the bounds.
    """
    if isinstance(value, timedelta):
        value = value.total_seconds()
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < math.inf:
        raise ConfigurationError(
            f"{name}: a finite number of seconds or a timedelta is wanted, not {value!r}"
        )
    if not least <= value <= most:
        raise ConfigurationError(
            f"{name}={value!r}: between {least:g} and {most:g} seconds is wanted"
        )
    return float(value)


@dataclass(frozen=True)
class RefreshPolicy:
    """When to read the store. All are seconds (or `timedelta`), but `jitter`, a fraction.

    Args:
        fresh_for: a credential is used for this long before the store is read again in the
            background.
        max_stale: for this long after that it still serves while the store can't be read.
        jitter: the random part by which `fresh_for` is shortened, so that a fleet does not read in
            step. The first read of a process falls anywhere in `fresh_for`; 0 makes every time
            exact.
        timeout: one read of the store fails after this long; all who wait for it fail together.
        backoff: the pause after a failed read; it doubles up to `backoff_max` while a credential is
            held.
        backoff_max: the longest such pause.
        cooldown: the longest pause after a refusal, by the store or by the partner.

    Raises:
        ConfigurationError: a value is no finite number or out of range.
    """

    fresh_for: float = 900.0
    max_stale: float = 3600.0
    jitter: float = 0.1
    timeout: float = 10.0
    backoff: float = 1.0
    backoff_max: float = 60.0
    cooldown: float = 30.0

    def __post_init__(self) -> None:
        """Check and turn every value into a float."""
        for field in fields(self):
            name = f"RefreshPolicy({field.name}=)"
            value = seconds(
                name, getattr(self, field.name), most=1.0 if field.name == "jitter" else 366 * DAY
            )
            if value == 0 and field.name not in ("jitter", "max_stale"):
                raise ConfigurationError(f"{name}: more than 0 seconds is wanted")
            object.__setattr__(self, field.name, value)
        if self.backoff > self.backoff_max:
            raise ConfigurationError("RefreshPolicy: backoff is longer than backoff_max")
