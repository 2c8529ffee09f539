"""What it costs to authenticate one request when a token is held: `python -m benchmarks.hot_path`.

Medians of interleaved rounds, so that a machine that changes its speed changes it for all. Ratios
are what counts.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import httpx
import httpx2
import jwt
import requests

from partner_auth import Credential, PartnerAuth

URL = "https://api.partner.example/portfolio"
ORIGIN = "https://api.partner.example"
KEY = "k" * 32
ROUNDS, CALLS = 15, 2_000


class HandWritten(requests.auth.AuthBase):
    """What people write: a cached token, a deadline, and a hook for the 401."""

    def __init__(self) -> None:
        self.token, self.until = "", 0.0

    def __call__(self, request: Any) -> Any:
        if time.time() > self.until:
            now = int(time.time())
            self.token = jwt.encode(
                {"clientId": "acme", "iat": now, "exp": now + 900}, KEY, algorithm="HS256"
            )
            self.until = now + 840
        request.headers["Authorization"] = f"Bearer {self.token}"
        request.register_hook("response", self.handle_401)
        return request

    def handle_401(self, response: Any, **kwargs: Any) -> Any:
        return response


def static_flow(client: Any) -> Any:
    """Return the least that httpx can be asked to do: a header that never changes."""

    class Static(client.Auth):  # type: ignore[misc, name-defined]
        def auth_flow(self, request: Any) -> Any:
            request.headers["Authorization"] = "Bearer static"
            yield request

    return Static()


def prepared() -> Any:
    return requests.Request("GET", URL, headers={"Accept": "application/json"}).prepare()


def sign_requests(auth: Any) -> Callable[[], float]:
    def timed() -> float:
        asked = [prepared() for _ in range(CALLS)]
        began = time.perf_counter()
        for request in asked:
            auth(request)
        return (time.perf_counter() - began) / CALLS

    return timed


def drive_sync(client: Any, auth: Any) -> Callable[[], float]:
    answer = client.Response(200)

    def timed() -> float:
        asked = [client.Request("GET", URL) for _ in range(CALLS)]
        began = time.perf_counter()
        for request in asked:
            flow = auth.sync_auth_flow(request)
            next(flow)
            answer.request = request
            try:
                flow.send(answer)
            except StopIteration:
                pass
        return (time.perf_counter() - began) / CALLS

    return timed


def drive_async(client: Any, auth: Any) -> Callable[[], float]:
    answer = client.Response(200)

    async def loop() -> float:
        asked = [client.Request("GET", URL) for _ in range(CALLS)]
        began = time.perf_counter()
        for request in asked:
            flow = auth.async_auth_flow(request)
            await anext(flow)
            answer.request = request
            try:
                await flow.asend(answer)
            except StopAsyncIteration:
                pass
        return (time.perf_counter() - began) / CALLS

    return lambda: asyncio.run(loop())


def main() -> int:
    """Print microseconds and ratios to the first of each group."""
    ours = PartnerAuth(Credential("acme", KEY), origins=ORIGIN)
    ours.token()
    groups: dict[str, dict[str, Callable[[], float]]] = {
        "requests": {"by hand": sign_requests(HandWritten()), "partner_auth": sign_requests(ours)},
    }
    for client in (httpx, httpx2):
        name = client.__name__
        groups[f"{name} sync"] = {
            "static header": drive_sync(client, static_flow(client)),
            "partner_auth": drive_sync(client, ours),
        }
        groups[f"{name} async"] = {
            "static header": drive_async(client, static_flow(client)),
            "partner_auth": drive_async(client, ours),
        }
    for group, candidates in groups.items():
        times: dict[str, list[float]] = {name: [] for name in candidates}
        for _ in range(ROUNDS):
            for name, timed in candidates.items():
                times[name].append(timed())
        base = statistics.median(next(iter(times.values())))
        for name, measured in times.items():
            middle = statistics.median(measured)
            print(f"{group:14} {name:14} {middle * 1e6:7.2f} µs   {middle / base:5.2f} x")
    return 0


if __name__ == "__main__":
    sys.exit(main())
