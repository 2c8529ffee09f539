"""What makes an answer slow, for the partner and for the store alike."""

from __future__ import annotations

import math
import threading


class Gate:
    """Hold up those who pass, each for a set number of real seconds or until released."""

    def __init__(self) -> None:
        """Stand open."""
        self._lock = threading.Lock()  # guards the three below
        self._seconds = 0.0
        self._left: int | None = None
        self._released = threading.Event()

    def delay(self, seconds: float, times: int | None = None) -> None:
        """Hold up the next `times` who pass (None: all) for `seconds`, but nobody who is inside."""
        if not seconds >= 0:
            raise ValueError(
                f"delay: a number of seconds from 0 to math.inf is wanted, not {seconds!r}"
            )
        with self._lock:
            self._seconds, self._left = seconds, times

    def release(self) -> None:
        """Let everybody inside go at once, and stand open."""
        with self._lock:
            self._seconds = 0.0
            released, self._released = self._released, threading.Event()
        released.set()

    def pause(self) -> float:
        """Return the seconds that whoever passes next is held up for, and count that one."""
        with self._lock:
            if self._left is not None:
                self._left -= 1
                if self._left < 0:
                    return 0.0
            return self._seconds

    def hold(self) -> None:
        """Hold up the calling thread for as long as it is set."""
        released = self._released
        seconds = self.pause()
        if seconds:
            released.wait(None if math.isinf(seconds) else seconds)
