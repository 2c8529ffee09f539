"""niquests behind the same small drivers as the clients in tests/conformance."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import niquests
from anyio.from_thread import start_blocking_portal
from niquests.adapters import AsyncHTTPAdapter, HTTPAdapter

import partner_auth.niquests
from tests.conformance.clients import TIMEOUT, Requests, Streamed


class Niquests(Requests):
    """`niquests.Session`."""

    library = niquests
    base_error = niquests.RequestException
    connection_error = niquests.ConnectionError
    adapter = HTTPAdapter

    def __init__(
        self,
        auth: Any,
        *,
        redirects: bool = True,
        max_redirects: int | None = None,
        verify: Path | None = None,
        headers: dict[str, str] | None = None,
        one_connection: bool = False,
        on_answer: Callable[[Any], None] | None = None,
    ) -> None:
        self.session = self.native = self.made()
        self.session.auth = auth
        self.session.headers.update(headers or {})
        self._options = {"allow_redirects": redirects, "timeout": TIMEOUT}
        if max_redirects is not None:
            self.session.max_redirects = max_redirects
        if verify is not None:
            self._options["verify"] = str(verify)
        if one_connection:
            self.session.mount("http://", self.adapter(pool_maxsize=1, pool_block=True))
        if on_answer is not None:
            self.session.hooks["response"].append(lambda answer, **_: on_answer(answer))

    def made(self) -> Any:
        return niquests.Session()

    def prepare(self, method: str, url: str, **given: Any) -> Any:
        return self.session.prepare_request(niquests.Request(method, url, **given))


class AsyncNiquests(Niquests):
    """`niquests.AsyncSession`, in an event loop of its own."""

    is_async = True
    adapter = AsyncHTTPAdapter

    def __init__(self, auth: Any, **options: Any) -> None:
        self._exits = contextlib.ExitStack()
        self._portal = self._exits.enter_context(start_blocking_portal("asyncio"))
        super().__init__(asynchronous(auth), **options)

    def made(self) -> Any:
        return self._portal.call(niquests.AsyncSession)

    def request(self, method: str, url: str, **given: Any) -> Any:
        if "content" in given:
            given["data"] = given.pop("content")
        options = {**self._options, **given}
        return self._portal.call(lambda: self.session.request(method, url, **options))

    @contextlib.contextmanager
    def stream(self, method: str, url: str, **given: Any) -> Iterator[Streamed]:
        response = self.request(method, url, stream=True, **given)

        async def read() -> Any:
            return await response.content

        def piece() -> bytes:
            return self._portal.call(lambda: response.raw.read1(8192, decode_content=False))

        yield Streamed(response, piece, lambda: self._portal.call(read))
        self._portal.call(response.close)

    def one_shot(self) -> Any:
        """Return a body that can't be sent again."""
        return _pieces()

    def close(self) -> None:
        self._portal.call(self.session.close)
        self._exits.close()


async def _pieces() -> AsyncIterator[bytes]:
    yield b"order"


def asynchronous(auth: Any) -> partner_auth.niquests.AsyncPartnerAuth:
    """Return the same for asynchronous sessions."""
    _, source, options = auth.__reduce_ex__(2)[1]
    return partner_auth.niquests.AsyncPartnerAuth(source, **options)
