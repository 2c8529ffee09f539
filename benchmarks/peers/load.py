"""One candidate under load, for `benchmarks.rotation`, in an environment of its own.

Run as `python load.py CANDIDATE threads|asyncio PARTNER STORE`. It reads a command a line and
answers each with a line of JSON: `fresh` (begin anew, as a restarted process does), `begin` and
`end` (count in between), `start` (another object of its own sends too, until `end`).

Each is the thinnest adapter that a careful user would write. It imports a peer when it is asked
for, and none of partner_auth for the others.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import json
import logging
import sys
import threading
import time
import urllib.request
from typing import Any

import httpx
import jwt
import requests

WORKERS = 6
PAUSE = 0.01
TICK = 0.002
LIFETIME = 900


class Store:
    """The store over HTTP, as a service would ask it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def read(self, what: str = "current") -> Any:
        with self._opener.open(f"{self.url}/{what}", timeout=10) as answer:
            return json.load(answer)


def signed(secret: dict[str, str]) -> str:
    now = int(time.time())
    claims = {"clientId": secret["client_id"], "iat": now, "exp": now + LIFETIME}
    return jwt.encode(claims, secret["secret_key"], algorithm="HS256")


class Candidate:
    """What is compared: gives clients, for threads and for asyncio."""

    package = ""
    doors = ("threads", "asyncio")
    path = "/portfolio"

    def __init__(self, store: Store, partner: str) -> None:
        self.store, self.partner = store, partner

    def session(self) -> requests.Session:
        session = requests.Session()
        session.auth = self.for_requests()
        return session

    def client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(auth=self.for_httpx())

    def for_requests(self) -> Any:
        raise NotImplementedError

    def for_httpx(self) -> Any:
        raise NotImplementedError


class Hook(requests.auth.AuthBase):
    """A header, and one resend after a 401, in requests."""

    def __init__(self, token: Any, after_401: Any) -> None:
        self.token, self.after_401 = token, after_401

    def __call__(self, request: Any) -> Any:
        request.headers["Authorization"] = f"Bearer {self.token()}"
        request.register_hook("response", self.retry_once)
        return request

    def retry_once(self, response: Any, **options: Any) -> Any:
        if response.status_code != 401:
            return response
        used = response.request.headers["Authorization"].removeprefix("Bearer ")
        _ = response.content
        response.close()
        again = response.request.copy()
        again.headers["Authorization"] = f"Bearer {self.after_401(used)}"
        answer = response.connection.send(again, **options)
        answer.history.append(response)
        return answer


class Flow(httpx.Auth):
    """The same in httpx, without blocking the loop."""

    def __init__(self, token: Any, after_401: Any) -> None:
        self.token, self.after_401 = token, after_401

    async def async_auth_flow(self, request: Any) -> Any:
        token = self.token()
        request.headers["Authorization"] = f"Bearer {token}"
        response = yield request
        if response.status_code == 401:
            request.headers["Authorization"] = f"Bearer {await self.after_401(token)}"
            yield request


class Static(Candidate):
    """A header that never changes, at a path that takes it: the floor."""

    path = "/public"

    def for_requests(self) -> Any:
        return self.with_header

    def for_httpx(self) -> Any:
        return self.with_header

    def with_header(self, request: Any) -> Any:
        request.headers["Authorization"] = "Bearer x"
        return request


class PartnerAuth(Candidate):
    """Ours."""

    package = "partner-auth"

    def __init__(self, store: Store, partner: str) -> None:
        super().__init__(store, partner)
        import partner_auth

        def credential(secret: Any) -> Any:
            return partner_auth.Credential(**secret)

        class Source:
            def fetch(self) -> Any:
                return credential(store.read())

            def alternates(self) -> Any:
                return [credential(secret) for secret in store.read("alternates")]

        self.auth = partner_auth.PartnerAuth(Source(), origins=partner)

    def for_requests(self) -> Any:
        return self.auth

    def for_httpx(self) -> Any:
        return self.auth


class Guide(Candidate):
    """The partner guide's example: sign; on a 401 sign again with the same secret, once."""

    def __init__(self, store: Store, partner: str) -> None:
        super().__init__(store, partner)
        self.secret = store.read()

    def for_requests(self) -> Any:
        return Hook(lambda: signed(self.secret), lambda used: signed(self.secret))

    def for_httpx(self) -> Any:
        async def again(used: str) -> str:
            return signed(self.secret)

        return Flow(lambda: signed(self.secret), again)


class ByHand(Candidate):
    """Written with care: a token for all, and one read of the store at a 401, behind a lock."""

    def __init__(self, store: Store, partner: str) -> None:
        super().__init__(store, partner)
        self.held = signed(store.read())
        self.lock, self.alock = threading.Lock(), asyncio.Lock()

    def reread(self, used: str) -> str:
        with self.lock:
            if self.held == used:
                self.held = signed(self.store.read())
            return self.held

    async def areread(self, used: str) -> str:
        async with self.alock:
            if self.held == used:
                self.held = signed(await asyncio.to_thread(self.store.read))
            return self.held

    def for_requests(self) -> Any:
        return Hook(lambda: self.held, self.reread)

    def for_httpx(self) -> Any:
        return Flow(lambda: self.held, self.areread)


class SingleFlight(Candidate):
    """singleflight-auth: one refresh for all who got a 401, whatever the token is."""

    package = "singleflight-auth"

    def __init__(self, store: Store, partner: str) -> None:
        super().__init__(store, partner)
        self.held = signed(store.read())

    def for_requests(self) -> Any:
        from singleflight_auth import RequestsSingleFlightAuth

        self.auth = getattr(self, "auth", None) or RequestsSingleFlightAuth(
            get_token=lambda: self.held, refresh=self.refresh
        )
        return self.auth

    def for_httpx(self) -> Any:
        from singleflight_auth import AsyncSingleFlightAuth

        self.auth = getattr(self, "auth", None) or AsyncSingleFlightAuth(
            get_token=lambda: self.held, refresh=self.arefresh
        )
        return self.auth

    def refresh(self) -> str:
        self.held = signed(self.store.read())
        return self.held

    async def arefresh(self) -> str:
        return await asyncio.to_thread(self.refresh)


class Google(Candidate):
    """google-auth's AuthorizedSession, with credentials that sign for this partner."""

    package = "google-auth"
    doors = ("threads",)

    def __init__(self, store: Store, partner: str) -> None:
        super().__init__(store, partner)
        import datetime as dt

        from google.auth import credentials

        class Signing(credentials.Credentials):
            def refresh(self, request: Any) -> None:
                self.token = signed(store.read())
                lifetime = dt.timedelta(seconds=LIFETIME)
                now = dt.datetime.now(dt.UTC).replace(tzinfo=None)
                self.expiry = now + lifetime

        self.credentials = Signing()

    def session(self) -> requests.Session:
        from google.auth.transport.requests import AuthorizedSession

        return AuthorizedSession(self.credentials)


class AwsCaching(Candidate):
    """aws-secretsmanager-caching as the cache of the secret, and a hook by hand."""

    package = "aws-secretsmanager-caching"
    doors = ("threads",)

    def __init__(self, store: Store, partner: str) -> None:
        super().__init__(store, partner)
        from aws_secretsmanager_caching import SecretCache

        class Client:
            def describe_secret(self, SecretId: str) -> Any:  # noqa: N803 - boto3's name
                return {"VersionIdsToStages": {store.read()["version"]: ["AWSCURRENT"]}}

            def get_secret_value(self, SecretId: str, VersionId: str) -> Any:  # noqa: N803
                return {"SecretString": json.dumps(store.read())}

        self.cache = SecretCache(client=Client())
        self.lock = threading.Lock()
        self.held = self.now()

    def now(self) -> str:
        return signed(json.loads(self.cache.get_secret_string("partner")))

    def reread(self, used: str) -> str:
        with self.lock:
            if self.held == used:
                self.cache.refresh_secret_now("partner")
                self.held = self.now()
            return self.held

    def for_requests(self) -> Any:
        return Hook(lambda: self.held, self.reread)


CANDIDATES: dict[str, type[Candidate]] = {
    "static header": Static,
    "PartnerAuth": PartnerAuth,
    "the partner's guide": Guide,
    "by hand, with care": ByHand,
    "singleflight-auth": SingleFlight,
    "google-auth": Google,
    "aws-secretsmanager-caching": AwsCaching,
}


class Load:
    """Workers that send until they are told to stop, and what they saw since `begin`."""

    def __init__(self, kind: type[Candidate], store: Store, partner: str) -> None:
        self.kind, self.store, self.partner = kind, store, partner
        self.url = partner + kind.path
        self.stop, self.workers = threading.Event(), list[Any]()
        self.begin()

    def make(self) -> Candidate:
        return self.kind(self.store, self.partner)

    def begin(self) -> None:
        self.took, self.failed, self.errors, self.lag = list[float](), 0, 0, 0.0

    def end(self) -> dict[str, float]:
        self.halt()
        return {
            "requests": len(self.took),
            "failed": self.failed,
            "errors": self.errors,
            "longest": max(self.took, default=0.0),
            "lag": self.lag,
        }

    def fresh(self) -> None:
        self.halt()
        self.stop = threading.Event()
        self.start(WORKERS)

    def halt(self) -> None:
        self.stop.set()
        for thread in self.workers:
            thread.join()
        self.workers.clear()

    def start(self, workers: int) -> None:
        raise NotImplementedError

    def note(self, began: float, status: int) -> None:
        self.took.append(time.monotonic() - began)
        self.failed += status != 200

    def run(self, target: Any, *arguments: Any) -> None:
        self.workers.append(threading.Thread(target=target, args=arguments, daemon=True))
        self.workers[-1].start()


class Threads(Load):
    """With requests."""

    def start(self, workers: int) -> None:
        candidate = self.make()
        for _ in range(workers):
            self.run(self.send, candidate)

    def send(self, candidate: Candidate) -> None:
        with candidate.session() as session:
            while not self.stop.wait(PAUSE):
                began, status = time.monotonic(), 0
                try:
                    status = session.get(self.url, timeout=10).status_code
                except Exception:
                    self.errors += 1
                self.note(began, status)


class Asyncio(Load):
    """With httpx."""

    def start(self, workers: int) -> None:
        self.run(lambda: asyncio.run(self.send(workers)))

    async def send(self, workers: int) -> None:
        candidate = await asyncio.to_thread(self.make)
        async with candidate.client() as client:
            await asyncio.gather(self.tick(), *(self.one(client) for _ in range(workers)))

    async def one(self, client: httpx.AsyncClient) -> None:
        while not self.stop.is_set():
            await asyncio.sleep(PAUSE)
            began, status = time.monotonic(), 0
            try:
                status = (await client.get(self.url)).status_code
            except Exception:
                self.errors += 1
            self.note(began, status)

    async def tick(self) -> None:
        while not self.stop.is_set():
            due = time.monotonic() + TICK
            await asyncio.sleep(TICK)
            self.lag = max(self.lag, time.monotonic() - due)


def main() -> None:
    """Obey."""
    name, door, partner, store = sys.argv[1:]
    logging.disable(logging.WARNING)
    kind = CANDIDATES[name]
    load = (Threads if door == "threads" else Asyncio)(kind, Store(store), partner)
    load.make()  # imports what it needs, before anything is measured
    print(json.dumps(kind.package and importlib.metadata.version(kind.package)), flush=True)
    for line in sys.stdin:
        match line.strip():
            case "fresh":
                said: Any = load.fresh()
            case "begin":
                said = load.begin()
            case "start":
                said = load.start(2)
            case "end":
                said = load.end()
        print(json.dumps(said), flush=True)
    load.halt()


if __name__ == "__main__":
    main()
