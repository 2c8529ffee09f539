"""A loopback server that stands where a store does and throttles, hangs, lies, or passes it on.

`server.answer` decides: it takes a `Request` and returns a `Reply`, `HANG` or `DROP`. Set it to any
function, or with `say`, `say_in_turn` and `pass_on_to`.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import urlsplit

HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "date", "server"}


@dataclass(frozen=True)
class Request:
    """What came: `path` with its query, `headers` by lower-case name."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Reply:
    """What goes back. `drip`: seconds before each byte; `claims`: the body's length, if a lie."""

    status: int = 200
    body: bytes | str | dict[str, Any] = b""
    headers: dict[str, str] = field(default_factory=dict)
    drip: float = 0.0
    claims: int | None = None

    @property
    def content(self) -> bytes:
        if isinstance(self.body, dict):
            return json.dumps(self.body).encode()
        return self.body.encode() if isinstance(self.body, str) else self.body


HANG = Reply(status=0)  # the request is read, and nothing ever comes
DROP = Reply(status=-1)  # the connection is closed without an answer

Answer = Callable[[Request], Reply]


class LyingServer:
    """Runs from construction to `close()`. `requests` and `connections` are what came so far."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.connections = 0
        self.answer: Answer = lambda _: Reply(404)
        self._released = threading.Event()
        self._server = _Server(self)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def say(self, reply: Reply | None = None, /, **parts: Any) -> None:
        """Answer everything from now on with this, or `Reply(**parts)`."""
        said = reply or Reply(**parts)
        self.answer = lambda _: said

    def say_in_turn(self, *replies: Reply | Answer) -> None:
        """Answer with one after the other, and with the last for ever; a function is asked."""
        left = list(replies)

        def answer(request: Request) -> Reply:
            now = left.pop(0) if len(left) > 1 else left[0]
            return now if isinstance(now, Reply) else now(request)

        self.answer = answer

    def pass_on_to(self, upstream: str) -> None:
        """Stand before `upstream` (http://host:port) as a proxy that changes nothing."""
        self.answer = passed_on(upstream)

    def release(self) -> None:
        """Let go of all that hang: their connections are closed."""
        self._released.set()
        self._released = threading.Event()

    def close(self) -> None:
        """Stop, and let go of all that hang."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self._released.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def passed_on(upstream: str) -> Answer:
    """Return an `answer` that asks `upstream` and gives back what it says."""
    host = urlsplit(upstream).netloc

    def answer(request: Request) -> Reply:
        connection = http.client.HTTPConnection(host, timeout=30)
        try:
            headers = {k: v for k, v in request.headers.items() if k != "connection"}
            connection.request(request.method, request.path, request.body, headers)
            response = connection.getresponse()
            kept = {k: v for k, v in response.getheaders() if k.lower() not in HOP_BY_HOP}
            return Reply(response.status, response.read(), kept)
        finally:
            connection.close()

    return answer


@contextlib.contextmanager
def black_hole() -> Iterator[str]:
    """Give the URL of a port at which no connection is ever completed."""
    with contextlib.ExitStack() as sockets:
        hole = sockets.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):  # fills its queue; what comes after that is not even refused
            waiting = sockets.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(hole.getsockname())
        yield f"http://127.0.0.1:{hole.getsockname()[1]}"


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, liar: LyingServer) -> None:
        self.liar = liar
        super().__init__(("127.0.0.1", 0), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        self.liar.connections += 1
        super().process_request(request, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients that give up are what this is for."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else each answer waits 40 ms for its second half
    server: _Server

    def _respond(self) -> None:
        liar = self.server.liar
        length = int(self.headers.get("Content-Length") or 0)
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(self.command, self.path, headers, self.rfile.read(length))
        liar.requests.append(request)
        reply = liar.answer(request)
        if reply is HANG:
            liar._released.wait()
        if reply in (HANG, DROP):
            self.close_connection = True
            return
        self._send(reply)

    def _send(self, reply: Reply) -> None:
        content = reply.content
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.send_header(
            "Content-Length", str(len(content) if reply.claims is None else reply.claims)
        )
        self.end_headers()
        if self.command != "HEAD":
            self._write(content, reply.drip)
        if reply.claims is not None:
            self.close_connection = True

    def _write(self, content: bytes, drip: float) -> None:
        if not drip:
            self.wfile.write(content)
            return
        for byte in content:
            time.sleep(drip)
            self.wfile.write(bytes((byte,)))

    def __getattr__(self, name: str) -> Callable[[], None]:
        """Take every method for one of ours."""
        if name.startswith("do_"):
            return self._respond
        raise AttributeError(name)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name there
        """Say nothing."""
