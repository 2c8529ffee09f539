"""A server that answers by a function, byte by byte: what `PartnerServer` lacks."""

from __future__ import annotations

import contextlib
import http.client
import socketserver
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple


class Request(NamedTuple):
    """What arrived."""

    method: str
    path: str
    headers: http.client.HTTPMessage
    body: bytes


class Server(socketserver.ThreadingTCPServer):
    """Answer each request with the pieces that a function returns: bytes are sent, numbers slept.

    A `b""` ends the connection after what was sent before it.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, answer: Callable[[Request], Iterable[bytes | float]]) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        self.answer = answer
        self.requests: list[Request] = []
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    def __exit__(self, *exc: object) -> None:
        self.shutdown()
        super().__exit__(*exc)


class _Connection(socketserver.StreamRequestHandler):
    disable_nagle_algorithm = True

    def handle(self) -> None:
        with contextlib.suppress(OSError):
            while self._exchange():
                pass

    def _exchange(self) -> bool:
        line = self.rfile.readline().decode().split()
        if not line:
            return False
        headers = http.client.parse_headers(self.rfile)
        if "chunked" in headers.get("Transfer-Encoding", ""):
            body = b"".join(self._chunks())
        else:
            body = self.rfile.read(int(headers.get("Content-Length", "0")))
        request = Request(line[0], line[1], headers, body)
        self.server.requests.append(request)
        for piece in self.server.answer(request):
            if isinstance(piece, bytes):
                if not piece:
                    return False
                self.wfile.write(piece)
            else:
                time.sleep(piece)
        return True

    def _chunks(self) -> Iterator[bytes]:
        while size := int(self.rfile.readline(), 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()


def head(status: int, *lines: str) -> bytes:
    """Return a status line and headers."""
    first = f"HTTP/1.1 {status} {http.client.responses[status]}"
    return "\r\n".join([first, *lines, "", ""]).encode()


def whole(status: int, body: bytes, *lines: str) -> bytes:
    """Return a whole answer."""
    return head(status, f"Content-Length: {len(body)}", *lines) + body


def chunk(body: bytes) -> bytes:
    """Return one chunk of a chunked body; the empty one ends it."""
    return b"%x\r\n%s\r\n" % (len(body), body)
