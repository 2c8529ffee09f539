"""Regular files of bounded size, read without ever waiting for a writer; nothing else is read."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from partner_auth._credentials import Secret
from partner_auth.exceptions import (
    ConfigurationError,
    CredentialInvalid,
    Failure,
    SourceRejected,
    SourceUnavailable,
)
from partner_auth.sources._document import LIMIT

# A FIFO opens at once, and a terminal does not become ours. Not every system has all of them.
_FLAGS = sum(
    getattr(os, flag, 0) for flag in ("O_RDONLY", "O_NONBLOCK", "O_NOCTTY", "O_CLOEXEC", "O_BINARY")
)

_NOT_FOUND = {errno.ENOENT, errno.ENOTDIR}
_DENIED = {errno.EACCES, errno.EPERM}
_NO_FILE = {errno.ELOOP, errno.ENAMETOOLONG, errno.ENXIO, errno.ENODEV, errno.EINVAL}

_AGAIN = 4

Content = TypeVar("Content")
Stamp = tuple[int, int, int, int] | None


def read_regular(path: Path, what: str) -> Secret | Failure:
    """Return a file's content, or why it can't be had; `what` names the setting that wants it."""
    try:
        handle = os.open(path, _FLAGS)
    except OSError as error:
        return refusal(error, path, what)
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            return _no_file(path, what)
        content = _read(handle)
    except OSError as error:
        return refusal(error, path, what)
    finally:
        os.close(handle)
    if len(content) > LIMIT:
        size = f"{LIMIT // 1024} KiB"
        text = f"{what}: {str(path)!r} is longer than {size}, which no credential is"
        return Failure.of(CredentialInvalid, text)
    return Secret(content)


def refusal(error: OSError, path: Path, what: str) -> Failure:
    """Sort what the system says into "not there", "not allowed", "not a file" and "not now"."""
    if error.errno in _NOT_FOUND:
        text = f"{what}: there is no {str(path)!r}: mount or write it, or name another path"
        return Failure.of(SourceRejected, text, reason="not_found")
    if error.errno in _DENIED:
        text = f"{what}: {str(path)!r} may not be read: give this process's user the right to"
        return Failure.of(SourceRejected, text, reason="denied")
    if error.errno in _NO_FILE:
        return _no_file(path, what)
    text = f"{what}: {str(path)!r} can't be read for now ({os.strerror(error.errno or 0)})"
    return Failure.of(SourceUnavailable, text, reason="unreachable")


def settled(state: Callable[[], object], read: Callable[[], Content]) -> Content:
    """Return what `read` does; once more where `state` changed meanwhile: half may be of before."""
    before, content = state(), read()
    for _ in range(_AGAIN):
        after = state()
        if after == before:
            break
        before, content = after, read()
    return content


def stamp(path: Path) -> Stamp:
    """Return what changes when the file does; None when it is not there."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _read(handle: int) -> bytes:
    content = b""
    while len(content) <= LIMIT:
        part = os.read(handle, LIMIT + 1 - len(content))
        if not part:
            break
        content += part
    return content


def _no_file(path: Path, what: str) -> Failure:
    text = f"{what}: {str(path)!r} is no regular file (a directory, pipe or device): name a file"
    return Failure.of(ConfigurationError, text)
