"""A partner and a store in memory, on a clock that the test moves: enough for the 401 rule by hand."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from email.utils import format_datetime
from typing import Any

import httpx

from partner_auth import Credential, PartnerAuth, RefreshPolicy
from partner_auth._clock import moment
from partner_auth.events import Event
from partner_auth.testing import Clock
from tests.concurrency.kit import quiet

ORIGIN = "https://api.partner.example"
OTHER = "https://other.partner.example"


class Store:
    """A source whose answers the test sets; counts what it is asked."""

    def __init__(self, current: str = "old", *others: str) -> None:
        self.current, self.others = current, others
        self.error: Exception | None = None
        self.reads = self.alternate_reads = 0

    def __repr__(self) -> str:
        return "Store()"

    def fetch(self) -> Credential:
        self.reads += 1
        if self.error:
            raise self.error
        return credential(self.current)

    def alternates(self) -> list[Credential]:
        self.alternate_reads += 1
        if self.error:
            raise self.error
        return [credential(name) for name in self.others]


def credential(name: str) -> Credential:
    return Credential("acme", f"{name}-" * 40, version=name)


class Transport(httpx.BaseTransport):
    """Answers by a function and, unlike httpx's own, leaves a one-shot body as it is."""

    def __init__(self, answer: Callable[[httpx.Request], httpx.Response]) -> None:
        self._answer = answer

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        return self._answer(request)


class World:
    """A client, its partner and its store."""

    def __init__(self, store: Any = None, **options: Any) -> None:
        self.clock = Clock()
        self.store = store or Store()
        self.accepted: set[str] | None = {"old"}
        self.sent: list[tuple[str, str]] = []
        self.answer: Callable[[httpx.Request], httpx.Response | None] = lambda request: None
        self.challenge: str | None = None
        self.skew = 0.0
        self.events: list[Event] = []
        settings: dict[str, Any] = {
            "origins": [ORIGIN, OTHER],
            "claims": lambda credential: {"v": credential.version},
            "refresh": RefreshPolicy(jitter=0),
            "on_event": self.events.append,
            "clock": self.clock,
        }
        self.auth = PartnerAuth(self.store, **{**settings, **options})
        self.client = httpx.Client(auth=self.auth, transport=Transport(self._answer))

    def _answer(self, request: httpx.Request) -> httpx.Response:
        claims = claims_of(request)
        self.sent.append((claims["v"], request.url.path))
        special = self.answer(request)
        if special is not None:
            return special
        now = self.clock.now() + self.skew
        fits = claims["iat"] <= now < claims["exp"]
        if fits and self.accepted is not None and claims["v"] in self.accepted:
            return httpx.Response(200)
        headers = {"Date": format_datetime(moment(now) or moment(0), usegmt=True)}
        if self.challenge:
            headers["WWW-Authenticate"] = self.challenge
        return httpx.Response(401, headers=headers)

    def get(self, path: str = "/portfolio", origin: str = ORIGIN) -> int:
        return self.client.get(origin + path).status_code

    def post_once(self, path: str = "/portfolio") -> int:
        """Send a body that can't be sent again."""
        return self.client.post(ORIGIN + path, content=iter([b"once"])).status_code

    def counted(self, name: str) -> int:
        """How many events of this kind there were; those of a read follow the answer."""
        quiet()
        return sum(type(event).__name__ == name for event in self.events)

    @property
    def versions(self) -> list[str]:
        """The secrets that were sent, in order."""
        return [version for version, _ in self.sent]

    def settle(self) -> World:
        """Send one accepted request and forget it."""
        assert self.get() == 200
        self.sent.clear()
        self.store.reads = self.store.alternate_reads = 0
        return self


def claims_of(request: httpx.Request) -> dict[str, Any]:
    payload = request.headers["Authorization"].split(".")[1]
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload + "=="))
    return claims
