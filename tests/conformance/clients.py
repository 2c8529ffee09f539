"""One small driver over every client, so that the body of each test is written once.

An async client runs in an event loop of its own, in another thread, and is called through anyio's
blocking portal. What comes back is the client's own response: the names that the tests use mean the
same in all (`status_code`, `history`, `request`, `elapsed`, `headers`, `content`, `json()`).
"""

from __future__ import annotations

import contextlib
import copy
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import httpx2
import requests
from anyio.from_thread import start_blocking_portal
from requests.adapters import HTTPAdapter

TIMEOUT = 10.0


class Requests:
    """`requests.Session`."""

    library = requests
    is_async = False
    base_error = requests.RequestException
    connection_error = requests.ConnectionError

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
        spy: bool = False,
    ) -> None:
        self.session = self.native = requests.Session()
        self.session.auth = auth
        self.session.headers.update(headers or {})
        self._options = {"allow_redirects": redirects, "timeout": TIMEOUT}
        if max_redirects is not None:
            self.session.max_redirects = max_redirects
        if verify is not None:
            self._options["verify"] = str(verify)  # a variable would beat the session's
        if one_connection:
            self.session.mount("http://", HTTPAdapter(pool_maxsize=1, pool_block=True))
        if on_answer is not None:
            self.session.hooks["response"].append(lambda answer, **_: on_answer(answer))
        if spy:
            self.spy = SpyAdapter()
            self.session.mount("http://", self.spy)

    def request(self, method: str, url: str, **given: Any) -> Any:
        if "content" in given:
            given["data"] = given.pop("content")
        return self.session.request(method, url, **{**self._options, **given})

    def prepare(self, method: str, url: str, **given: Any) -> Any:
        return self.session.prepare_request(requests.Request(method, url, **given))

    def send(self, prepared: Any) -> Any:
        return self.session.send(prepared, **self._options)

    @contextlib.contextmanager
    def stream(self, method: str, url: str, **given: Any) -> Iterator[Streamed]:
        with self.request(method, url, stream=True, **given) as response:
            chunks = response.raw.stream(8192, decode_content=False)
            yield Streamed(response, lambda: next(chunks, b""), lambda: response.content)

    def get(self, url: str, **given: Any) -> Any:
        return self.request("GET", url, **given)

    def post(self, url: str, **given: Any) -> Any:
        return self.request("POST", url, **given)

    def one_shot(self) -> Any:
        """Return a body that can't be sent again."""
        return iter([b"order"])

    @property
    def cookies(self) -> dict[str, str | None]:
        return self.session.cookies.get_dict()

    def close(self) -> None:
        self.session.close()


class Httpx:
    """`httpx.Client` and `httpx.AsyncClient`, and those of httpx2."""

    def __init__(
        self,
        auth: Any,
        *,
        library: Any,
        backend: str | None,
        redirects: bool = True,
        max_redirects: int | None = None,
        verify: Path | None = None,
        headers: dict[str, str] | None = None,
        one_connection: bool = False,
        on_answer: Callable[[Any], None] | None = None,
        spy: bool = False,
        http2: bool = False,
    ) -> None:
        self.library = library
        self.is_async = backend is not None
        self.base_error = library.HTTPError
        self.connection_error = library.ConnectError
        self._exits = contextlib.ExitStack()
        if backend is not None:
            self._portal = self._exits.enter_context(start_blocking_portal(backend))
        options: dict[str, Any] = {"auth": auth, "timeout": TIMEOUT, "follow_redirects": redirects}
        options |= {"headers": headers, "http2": http2}
        if spy:
            self.spy = options["transport"] = _spy_transport(library, is_async=self.is_async)
        if max_redirects is not None:
            options["max_redirects"] = max_redirects
        if verify is not None:
            options["verify"] = ssl.create_default_context(cafile=verify)
        if one_connection:
            options["limits"] = library.Limits(max_connections=1)
        if on_answer is not None:
            options["event_hooks"] = {"response": [self._hook(on_answer)]}
        self.native = (library.AsyncClient if self.is_async else library.Client)(**options)

    def call(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call, and await in the client's own loop."""
        return self._portal.call(function, *args) if self.is_async else function(*args)

    def request(self, method: str, url: str, **given: Any) -> Any:
        return self.call(lambda: self.native.request(method, url, **given))

    def prepare(self, method: str, url: str, **given: Any) -> Any:
        return self.native.build_request(method, url, **given)

    def send(self, prepared: Any) -> Any:
        return self.call(self.native.send, prepared)

    @contextlib.contextmanager
    def stream(self, method: str, url: str, **given: Any) -> Iterator[Streamed]:
        opened = self.native.stream(method, url, **given)
        if self.is_async:
            opened = self._portal.wrap_async_context_manager(opened)
        with opened as response:
            chunks = response.aiter_raw() if self.is_async else response.iter_raw()
            step = chunks.__anext__ if self.is_async else chunks.__next__
            read = response.aread if self.is_async else response.read
            yield Streamed(response, lambda: self._piece(step), lambda: self.call(read))
            if self.is_async:
                self.call(chunks.aclose)

    def get(self, url: str, **given: Any) -> Any:
        return self.request("GET", url, **given)

    def post(self, url: str, **given: Any) -> Any:
        return self.request("POST", url, **given)

    def one_shot(self) -> Any:
        """Return a body that can't be sent again."""
        return _pieces() if self.is_async else iter([b"order"])

    @property
    def cookies(self) -> dict[str, str]:
        return dict(self.native.cookies)

    def close(self) -> None:
        self.call(self.native.aclose if self.is_async else self.native.close)
        self._exits.close()

    def _piece(self, step: Callable[[], Any]) -> bytes:
        try:
            piece: bytes = self.call(step)
        except (StopIteration, StopAsyncIteration):
            return b""
        return piece

    def _hook(self, told: Callable[[Any], None]) -> Callable[[Any], Any]:
        if not self.is_async:
            return told

        async def hook(answer: Any) -> None:
            told(answer)

        return hook


async def _pieces() -> AsyncIterator[bytes]:
    yield b"order"


class SpyAdapter(HTTPAdapter):
    """An adapter of the user's own: it keeps what it was given, and counts what is read."""

    def __init__(self) -> None:
        super().__init__()
        self.given: list[dict[str, Any]] = []
        self._raws: list[Any] = []

    def send(self, request: Any, **given: Any) -> Any:
        self.given.append(given)
        response = super().send(request, **given)
        self._raws.append(response.raw)
        return response

    @property
    def read(self) -> list[int]:
        """How many bytes of each answer's body were read."""
        return [raw.tell() for raw in self._raws]


def _spy_transport(library: Any, *, is_async: bool) -> Any:
    """Make a transport of the user's own: it keeps what it was given, and counts what is read."""
    given: list[dict[str, Any]] = []
    read: list[int] = []

    class Counted(_Counted, library.SyncByteStream, library.AsyncByteStream):
        pass

    def spied(request: Any, response: Any) -> Any:
        given.append(copy.deepcopy(request.extensions))
        read.append(0)
        response.stream = Counted(response.stream, read, len(read) - 1)
        return response

    class Sync(library.HTTPTransport):
        def handle_request(self, request: Any) -> Any:
            return spied(request, super().handle_request(request))

    class Async(library.AsyncHTTPTransport):
        async def handle_async_request(self, request: Any) -> Any:
            return spied(request, await super().handle_async_request(request))

    transport = (Async if is_async else Sync)()
    transport.given, transport.read = given, read
    return transport


class _Counted:
    """A stream that counts the bytes that are read of it."""

    def __init__(self, stream: Any, read: list[int], index: int) -> None:
        self._stream, self._read, self._index = stream, read, index

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._stream:
            self._read[self._index] += len(piece)
            yield piece

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for piece in self._stream:
            self._read[self._index] += len(piece)
            yield piece

    def close(self) -> None:
        self._stream.close()

    async def aclose(self) -> None:
        await self._stream.aclose()


class Streamed:
    """An answer whose body is still on the wire."""

    def __init__(
        self, response: Any, piece: Callable[[], bytes], read: Callable[[], bytes]
    ) -> None:
        self.response = response
        self.status_code: int = response.status_code
        self._piece = piece
        self.read = read  # the whole, decoded

    def raw(self, least: int | None = None) -> bytes:
        """Return the body as it came, or its first bytes: at least `least` of them."""
        data = b""
        while least is None or len(data) < least:
            piece = self._piece()
            if not piece:
                break
            data += piece
        return data


def _httpx(library: Any, backend: str | None) -> Callable[..., Httpx]:
    return lambda auth, **options: Httpx(auth, library=library, backend=backend, **options)


CLIENTS: dict[str, Callable[..., Any]] = {
    "requests": Requests,
    "httpx": _httpx(httpx, None),
    "httpx2": _httpx(httpx2, None),
    "httpx-asyncio": _httpx(httpx, "asyncio"),
    "httpx2-asyncio": _httpx(httpx2, "asyncio"),
    "httpx-trio": _httpx(httpx, "trio"),
    "httpx2-trio": _httpx(httpx2, "trio"),
}
OF_HTTPX = [name for name in CLIENTS if name != "requests"]
SYNC = ["requests", "httpx", "httpx2"]
ASYNC = [name for name in CLIENTS if name not in SYNC]
