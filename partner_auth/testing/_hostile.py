"""The bodies of a 401 that a client must survive: each a framing and the bytes that follow."""

from __future__ import annotations

import functools
import gzip
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

BLOCK = 65_536
HUGE = 4 * 1024 * 1024
BOMB = 64 * 1024 * 1024

Rest = Callable[[float], bool]
"""Pause for so many seconds, at most until the server closes; say whether it has closed."""


@dataclass(frozen=True)
class Body:
    """What goes over the wire after the status line."""

    chunks: Iterator[bytes]
    headers: dict[str, str] = field(default_factory=dict)
    reusable: bool = True  # whether the connection can carry another request after it


def plain(body: bytes) -> Body:
    """Frame `body` as it should be."""
    return Body(iter((body,)), {"Content-Length": str(len(body))})


def shaped(kind: str, body: bytes, rest: Rest) -> Body:
    """Make the answer that `PartnerServer.hostile(kind)` promises out of an honest one."""
    return SHAPES[kind](body, rest)


def _endless(_body: bytes, rest: Rest) -> Body:
    def chunks() -> Iterator[bytes]:
        while not rest(0):
            yield b"%x\r\n%s\r\n" % (BLOCK, b" " * BLOCK)

    return Body(chunks(), {"Transfer-Encoding": "chunked"}, reusable=False)


def _drip(_body: bytes, rest: Rest) -> Body:
    def chunks() -> Iterator[bytes]:
        while not rest(0.1):
            yield b"1\r\n \r\n"

    return Body(chunks(), {"Transfer-Encoding": "chunked"}, reusable=False)


def _silent(body: bytes, rest: Rest) -> Body:
    def chunks() -> Iterator[bytes]:
        while not rest(60.0):
            yield b""

    return Body(chunks(), {"Content-Length": str(len(body))}, reusable=False)


def _cut(body: bytes, _rest: Rest) -> Body:
    return Body(iter((body,)), {"Content-Length": str(len(body) + 1000)}, reusable=False)


def _bad_gzip(body: bytes, _rest: Rest) -> Body:
    return Body(iter((body,)), {"Content-Length": str(len(body)), "Content-Encoding": "gzip"})


def _huge(_body: bytes, _rest: Rest) -> Body:
    blocks = (b" " * BLOCK for _ in range(HUGE // BLOCK))
    return Body(blocks, {"Content-Length": str(HUGE)})


def _gzip(body: bytes, _rest: Rest) -> Body:
    packed = gzip.compress(body)
    return Body(iter((packed,)), {"Content-Length": str(len(packed)), "Content-Encoding": "gzip"})


@functools.cache
def _packed_bomb() -> bytes:
    packer = zlib.compressobj(wbits=31)
    blocks = (packer.compress(bytes(BLOCK)) for _ in range(BOMB // BLOCK))
    return b"".join(blocks) + packer.flush()


def _bomb(_body: bytes, _rest: Rest) -> Body:
    packed = _packed_bomb()
    return Body(iter((packed,)), {"Content-Length": str(len(packed)), "Content-Encoding": "gzip"})


def _empty(_body: bytes, _rest: Rest) -> Body:
    return plain(b"")


def _none(body: bytes, _rest: Rest) -> Body:
    return plain(body)


SHAPES: dict[str, Callable[[bytes, Rest], Body]] = {
    "endless": _endless,
    "drip": _drip,
    "silent": _silent,
    "cut": _cut,
    "bad-gzip": _bad_gzip,
    "huge": _huge,
    "gzip": _gzip,
    "bomb": _bomb,
    "empty": _empty,
    "none": _none,
}
