"""MCP's client over HTTP goes on through a rotation: tools are called, streams stay open."""

from __future__ import annotations

import contextlib
import threading
import time

import anyio
import httpx2
import jwt
import pytest
import uvicorn
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.server import MCPServer

from partner_auth import PartnerAuth
from partner_auth.testing import MemoryStore


class Gate:
    """A server of tools that asks for a token: `secret` is the one that it believes."""

    def __init__(self, secret):
        self.secret = secret
        self.statuses = []
        tools = MCPServer("partner")
        tools.add_tool(self.add)
        self.app = tools.streamable_http_app()

    @staticmethod
    def add(a: int, b: int) -> int:
        """Add two numbers."""
        return a + b

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http" or self.believes(dict(scope["headers"])):
            return await self.app(scope, receive, self.watched(send))
        self.statuses.append(401)
        await send({"type": "http.response.start", "status": 401, "headers": []})
        await send({"type": "http.response.body", "body": b"refused"})
        return None

    def watched(self, send):
        async def watched(message):
            if message["type"] == "http.response.start":
                self.statuses.append(message["status"])
            await send(message)

        return watched

    def believes(self, headers):
        _, _, token = headers.get(b"authorization", b"").partition(b"Bearer ")
        with contextlib.suppress(jwt.InvalidTokenError):
            return bool(jwt.decode(token, self.secret, ["HS256"]))
        return False


@contextlib.contextmanager
def serving(app):
    """Serve on a free port of loopback, in a thread."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="critical", ws="none"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started and thread.is_alive():
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


# On trio the older mode leaves generators of httpx2 behind that trio complains of, without us too.
@pytest.mark.parametrize(
    "backend,mode", [("asyncio", "legacy"), ("asyncio", "auto"), ("trio", "auto")]
)
def test_a_tool_is_called_through_a_rotation(backend, mode):
    """With a session and the long stream that it listens to, and without."""
    gate, store = Gate("k" * 40), MemoryStore("acme", "k" * 40)

    async def main(url):
        auth = PartnerAuth(store, origins=url)
        async with (
            httpx2.AsyncClient(auth=auth) as http,
            Client(streamable_http_client(f"{url}/mcp", http_client=http), mode=mode) as client,
        ):
            first = await client.call_tool("add", {"a": 1, "b": 2})
            gate.secret = "n" * 40
            store.set("n" * 40)
            second = await client.call_tool("add", {"a": 3, "b": 4})
            return [one.content[0].text for one in (first, second)]

    with serving(gate) as url:
        assert anyio.run(main, url, backend=backend) == ["3", "7"]
    assert gate.statuses.count(401) == 1
