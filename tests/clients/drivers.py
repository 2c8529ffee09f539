"""aiohttp behind the same small driver as the clients in tests/conformance."""

from __future__ import annotations

import contextlib
import json
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
from anyio.from_thread import start_blocking_portal

import partner_auth.aiohttp
from tests.conformance.clients import TIMEOUT, Streamed


class Answer:
    """What an `aiohttp.ClientResponse` says, by the names that the other clients use."""

    def __init__(self, response: aiohttp.ClientResponse, content: bytes) -> None:
        self.status_code = response.status
        self.headers = response.headers
        self.cookies = {name: morsel.value for name, morsel in response.cookies.items()}
        self.history = [Answer(hop, b"") for hop in response.history]
        self.request = response.request_info
        self.content = content

    def json(self) -> Any:
        return json.loads(self.content)


class Aiohttp:
    """`aiohttp.ClientSession` with the middleware, in an event loop of its own."""

    library = aiohttp
    is_async = True
    base_error = aiohttp.ClientError
    connection_error = aiohttp.ClientConnectionError

    def __init__(
        self,
        auth: Any,
        *,
        redirects: bool = True,
        max_redirects: int = 10,
        verify: Path | None = None,
        headers: dict[str, str] | None = None,
        one_connection: bool = False,
        **session: Any,
    ) -> None:
        self._exits = contextlib.ExitStack()
        self._portal = self._exits.enter_context(start_blocking_portal("asyncio"))
        self._options = {"allow_redirects": redirects, "max_redirects": max_redirects}
        if verify is not None:
            self._options["ssl"] = ssl.create_default_context(cafile=verify)

        async def make() -> aiohttp.ClientSession:
            session.setdefault("timeout", aiohttp.ClientTimeout(total=TIMEOUT))
            return aiohttp.ClientSession(
                middlewares=(of_aiohttp(auth),),
                headers=headers,
                connector=aiohttp.TCPConnector(limit=1 if one_connection else 100),
                cookie_jar=aiohttp.CookieJar(unsafe=True),  # the tests' partner has no name
                **session,
            )

        self.native = self.call(make)

    def call(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call, and await in the client's own loop."""
        return self._portal.call(function, *args)

    def request(self, method: str, url: str, **given: Any) -> Answer:
        async def request() -> Answer:
            async with self.native.request(method, url, **self._given(given)) as response:
                return Answer(response, await response.read())

        return self.call(request)

    @contextlib.contextmanager
    def stream(self, method: str, url: str, **given: Any) -> Iterator[Streamed]:
        options = self._given(given) | {"auto_decompress": False}
        opened = self.native.request(method, url, **options)
        with self._portal.wrap_async_context_manager(opened) as response:
            yield Streamed(
                Answer(response, b""),
                lambda: self.call(response.content.read, 8192),
                lambda: self.call(response.read),
            )

    def get(self, url: str, **given: Any) -> Answer:
        return self.request("GET", url, **given)

    def post(self, url: str, **given: Any) -> Answer:
        return self.request("POST", url, **given)

    def one_shot(self) -> Any:
        """Return a body that can't be sent again."""
        return _pieces()

    @property
    def cookies(self) -> dict[str, str]:
        return {cookie.key: cookie.value for cookie in self.native.cookie_jar}

    def close(self) -> None:
        self.call(self.native.close)
        self._exits.close()

    def _given(self, given: dict[str, Any]) -> dict[str, Any]:
        if "content" in given:
            given["data"] = given.pop("content")
        if "timeout" in given:
            given["timeout"] = aiohttp.ClientTimeout(total=given["timeout"])
        return {**self._options, **given}


async def _pieces() -> AsyncIterator[bytes]:
    yield b"order"


def of_aiohttp(auth: Any) -> partner_auth.aiohttp.PartnerAuth:
    """Return the middleware with the source and the options of another kind of PartnerAuth."""
    if isinstance(auth, partner_auth.aiohttp.PartnerAuth):
        return auth
    return partner_auth.aiohttp.PartnerAuth(auth._source, **auth._options())
