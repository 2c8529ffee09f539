"""Reads of the store tell of themselves after they have woken who waited: here one waits for that."""

from __future__ import annotations

import threading

_WITHIN = 0.5  # seconds: a store that hangs is told of by its time-out
_NAME = "partner_auth-read"


def let_reads_tell() -> None:
    """Wait for the events of reads that have just ended."""
    for thread in threading.enumerate():
        if thread.name == _NAME:
            thread.join(_WITHIN)
