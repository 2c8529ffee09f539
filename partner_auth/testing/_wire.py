"""HTTP/1.1 messages on a socket: one request read, one answer written."""

from __future__ import annotations

import http.client
import socket
from dataclasses import dataclass
from email.message import Message
from typing import BinaryIO

from partner_auth.testing._hostile import Body

LINE = 65_537
BAD_REQUEST = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


@dataclass(frozen=True)
class Incoming:
    """One request that has arrived whole."""

    method: str
    path: str
    headers: Message
    body: bytes
    connection: int
    keep_alive: bool


@dataclass(frozen=True)
class Outgoing:
    """What is sent back: a status, the headers apart from the framing, and the body."""

    status: int
    headers: list[tuple[str, str]]
    body: Body


def read(connection: socket.socket, stream: BinaryIO, number: int) -> Incoming | None:
    """Return the next request; None: the client has closed the connection."""
    line = stream.readline(LINE)
    if not line:
        return None
    method, path, version = line.decode("latin-1").split()
    headers = http.client.parse_headers(stream)
    if headers.get("Expect", "").lower() == "100-continue":
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
    kept = "close" not in headers.get("Connection", "").lower() and version == "HTTP/1.1"
    return Incoming(method, path, headers, _body(headers, stream), number, kept)


def send(connection: socket.socket, incoming: Incoming, outgoing: Outgoing) -> bool:
    """Send the answer to a request; return whether the connection can carry another one."""
    keep = incoming.keep_alive and outgoing.body.reusable
    connection.sendall(_head(outgoing, keep_alive=keep))
    for chunk in () if incoming.method == "HEAD" else outgoing.body.chunks:
        connection.sendall(chunk)
    return keep


def _body(headers: Message, stream: BinaryIO) -> bytes:
    if "chunked" in headers.get("Transfer-Encoding", "").lower():
        return b"".join(_chunks(stream))
    return _exactly(stream, int(headers.get("Content-Length", "0")))


def _chunks(stream: BinaryIO) -> list[bytes]:
    chunks = []
    while size := int(stream.readline(LINE).partition(b";")[0], 16):
        chunks.append(_exactly(stream, size))
        stream.readline(LINE)
    http.client.parse_headers(stream)  # the trailers
    return chunks


def _exactly(stream: BinaryIO, size: int) -> bytes:
    if size < 0:
        raise ValueError("a negative length")
    data = stream.read(size)
    if len(data) < size:
        raise ConnectionError("the client went away in the midst of a body")
    return data


def _head(outgoing: Outgoing, *, keep_alive: bool) -> bytes:
    lines = [f"HTTP/1.1 {outgoing.status} {http.client.responses.get(outgoing.status, 'Status')}"]
    headers = [*outgoing.headers, *outgoing.body.headers.items()]
    if not keep_alive:
        headers.append(("Connection", "close"))
    lines += [f"{name}: {value}" for name, value in headers]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")
