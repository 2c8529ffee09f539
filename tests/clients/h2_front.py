"""HTTP/2 over TLS in front of a `PartnerServer`: each stream is one request to it over HTTP/1.1.

Flow control is as RFC 9113 has it: what a client doesn't give back is not sent to it again.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import httpx
import pytest
from anyio.from_thread import start_blocking_portal

HOP = {"connection", "keep-alive", "transfer-encoding", "host"}


class Front:
    """Where it listens, and on how many connections it was asked."""

    def __init__(self, behind: str, certificate: Path) -> None:
        self.behind = behind
        self.url = ""
        self.connections = 0
        self._change = threading.Condition()  # guards the next
        self._sending = 0
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.tls.load_cert_chain(certificate)
        self.tls.set_alpn_protocols(["h2"])

    @contextlib.contextmanager
    def counted(self, by: int = 1) -> Iterator[None]:
        """Count an answer that is being sent, or one that waits for the client."""
        with self._change:
            self._sending += by
        try:
            yield
        finally:
            with self._change:
                self._sending -= by
                self._change.notify_all()

    def settle(self) -> None:
        """Wait until every answer is sent, or as much of it as the client's windows allow."""
        with self._change:
            assert self._change.wait_for(lambda: not self._sending, 5)

    @contextlib.asynccontextmanager
    async def open(self):
        """Listen."""
        async with httpx.AsyncClient(timeout=60, limits=httpx.Limits()) as client:
            self.client = client
            loop = asyncio.get_running_loop()
            server = await loop.create_server(lambda: _Connection(self), "127.0.0.1", ssl=self.tls)
            self.url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            yield
            server.close()


class _Connection(asyncio.Protocol):
    def __init__(self, front: Front) -> None:
        self.front = front
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        self.moved = asyncio.Event()  # a window has grown
        self.arriving: dict[int, tuple[dict[str, str], bytearray]] = {}
        self.answering: dict[int, asyncio.Task[None]] = {}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.front.connections += 1
        self.h2.initiate_connection()
        self.flush()

    def connection_lost(self, exc: Exception | None) -> None:
        for task in self.answering.values():
            task.cancel()

    def flush(self) -> None:
        self.transport.write(self.h2.data_to_send())

    def data_received(self, data: bytes) -> None:
        for event in self.h2.receive_data(data):
            match event:
                case h2.events.RequestReceived():
                    headers = {k.decode(): v.decode() for k, v in event.headers}
                    self.arriving[event.stream_id] = headers, bytearray()
                case h2.events.DataReceived():
                    self.arriving[event.stream_id][1].extend(event.data)
                    self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                case h2.events.StreamEnded():
                    answer = self.answer(event.stream_id, *self.arriving.pop(event.stream_id))
                    self.answering[event.stream_id] = asyncio.create_task(answer)
                case h2.events.StreamReset():
                    if event.stream_id in self.answering:
                        self.answering[event.stream_id].cancel()
                case h2.events.WindowUpdated() | h2.events.RemoteSettingsChanged():
                    self.moved.set()
        self.flush()

    async def answer(self, stream: int, headers: dict[str, str], body: bytearray) -> None:
        url = self.front.behind + headers[":path"]
        passed = {k: v for k, v in headers.items() if k[0] != ":" and k not in HOP}
        asked = self.front.client.stream(
            headers[":method"], url, headers=passed, content=bytes(body)
        )
        with self.front.counted():
            try:
                async with asked as answer:
                    await self.carry(stream, answer)
            except httpx.HTTPError:  # it breaks off behind
                self.h2.reset_stream(stream)
            except h2.exceptions.StreamClosedError:  # the client has had enough
                return
            self.flush()

    async def carry(self, stream: int, answer: httpx.Response) -> None:
        heads = [(k, v) for k, v in answer.headers.multi_items() if k not in HOP]
        self.h2.send_headers(stream, [(":status", str(answer.status_code)), *heads])
        self.flush()
        async for piece in answer.aiter_raw():
            await self.send(stream, piece)
        self.h2.end_stream(stream)

    async def send(self, stream: int, data: bytes) -> None:
        while data:
            room = self.h2.local_flow_control_window(stream)
            while not room:
                self.moved.clear()
                with self.front.counted(-1):
                    await self.moved.wait()
                room = self.h2.local_flow_control_window(stream)
            size = min(room, self.h2.max_outbound_frame_size)
            self.h2.send_data(stream, data[:size])
            data = data[size:]
            self.flush()
            await asyncio.sleep(0)


@contextlib.contextmanager
def front(behind: str, certificate: Path) -> Iterator[Front]:
    """Stand in front of a server until the block ends."""
    made = Front(behind, certificate)
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(made.open()):
        yield made


@pytest.fixture
def partner(partner_server, certificate):
    """A partner that speaks HTTP/2: `partner.front` is what stands before it."""
    with front(partner_server.url, certificate) as before:
        partner_server.front = before
        yield partner_server
