"""What the test partner answers, whoever asks: slow, failing, hostile, redirecting on demand."""

from __future__ import annotations

import hashlib
import http.client
import json
import threading
from typing import Any
from urllib.parse import urlsplit

from partner_auth.testing._gate import Gate
from partner_auth.testing._hostile import SHAPES, Rest, plain, shaped
from partner_auth.testing._keyring import Verdict
from partner_auth.testing._wire import Incoming, Outgoing

DROPPED = 0


class Answers:
    """The switches of `PartnerServer` that shape its answers: each holds until it is set anew."""

    def __init__(self) -> None:
        """Answer as a healthy partner does."""
        self._gate = Gate()
        self._counting = threading.Lock()  # guards _next
        self.reset()

    def reset(self) -> None:
        """Answer as at first, quickly and honestly; secrets, skew and records are left alone."""
        self._gate.release()
        with self._counting:
            self._next: list[int] = []
        self._forbidden: set[str] = set()
        self._public: set[str] = set()
        self._redirects: dict[str, tuple[str, int]] = {}
        self._documents: dict[str, tuple[Any, int]] = {}
        self._challenge: str | None = None
        self._shape = "none"
        self._cookie: tuple[str, str] | None = None
        self._dates: tuple[str, ...] | None = None

    def delay(self, seconds: float, times: int | None = None) -> None:
        """Answer the next `times` requests (None: all) only after `seconds` of real time.

        `math.inf` holds them until `release`: with that and `wait_for` a test gathers requests that
        are under way together, without sleeping. What is answered was decided on arrival.
        """
        self._gate.delay(seconds, times)

    def release(self) -> None:
        """Send every answer that is held up at once, and delay no more."""
        self._gate.release()

    def fail(self, status: int, times: int = 1) -> None:
        """Answer the next `times` requests with `status`, such as 503, whatever their token."""
        with self._counting:
            self._next += [status] * times

    def drop(self, times: int = 1) -> None:
        """Break the connection of each of the next `times` requests instead of answering."""
        self.fail(DROPPED, times)

    def forbid(self, *paths: str) -> None:
        """Answer 401 on these paths always, as a partner does that means 403."""
        self._forbidden |= set(paths)

    def public(self, *paths: str) -> None:
        """Answer these paths without looking at the token, as a stranger would."""
        self._public |= set(paths)

    def challenge(self, text: str | None) -> None:
        """Send `WWW-Authenticate: text` with each 401; None, as at first: send none."""
        self._challenge = text

    def hostile(self, kind: str | None) -> None:
        """Give each 401 a body that a careless client chokes on; None or "none": an honest one.

        * `endless`: chunks as fast as they are read, for ever; `huge`: 4 MiB; `empty`: nothing
        * `drip`: one byte each 0.1 s, for ever; `silent`: a length is promised and nothing comes
        * `cut`: the connection ends before the promised length
        * `gzip`: compressed as it should be; `bad-gzip`: said to be, but not; `bomb`: 64 kB that
          unpack to 64 MiB

        On a HEAD request there is no body to shape.
        """
        name = kind or "none"
        if name not in SHAPES:
            raise ValueError(f"hostile: one of {', '.join(SHAPES)} is wanted, not {kind!r}")
        self._shape = name

    def redirect(self, path: str, to: str, status: int = 302) -> None:
        """Redirect `path` to the URL or path `to`.

        A token is asked for first, unless the path is `public`.
        """
        self._redirects[path] = (to, status)

    def answer(self, path: str, document: Any, status: int = 200) -> None:
        """Answer `path` with `document` as JSON."""
        self._documents[path] = (document, status)

    def cookies(self, name: str | None = "partner", value: str = "1") -> None:
        """Set this cookie with each 401 and refuse every request without it; None: ask for none."""
        self._cookie = (name, value) if name is not None else None

    def dates(self, *texts: str | None) -> None:
        """Send these texts as they stand as `Date` headers; none: send none; None: be honest."""
        self._dates = None if None in texts else tuple(text for text in texts if text is not None)

    def _planned(self) -> int | None:
        with self._counting:
            return self._next.pop(0) if self._next else None

    def _judged(self, incoming: Incoming, verdict: Verdict) -> Verdict:
        """Return what comes of the request, after what came of its token."""
        if urlsplit(incoming.path).path in self._public:
            return Verdict(claims=verdict.claims)
        objection = None if verdict.refusal else self._objection(incoming)
        return Verdict(None, objection, verdict.claims) if objection else verdict

    def _objection(self, incoming: Incoming) -> str | None:
        if urlsplit(incoming.path).path in self._forbidden:
            return "forbidden"
        if self._cookie is not None and "=".join(self._cookie) not in _cookies(incoming):
            return "missing_cookie"
        return None

    def _outgoing(
        self, incoming: Incoming, refusal: str | None, date: str, rest: Rest
    ) -> Outgoing | None:
        planned = self._planned()
        if planned == DROPPED:
            return None
        if planned not in (None, 401):
            return self._failed(planned, date)
        if planned or refusal:
            return self._refused(refusal or "rejecting", date, rest)
        return self._granted(incoming, date)

    def _refused(self, refusal: str, date: str, rest: Rest) -> Outgoing:
        headers = self._common(date)
        if self._challenge is not None:
            headers.append(("WWW-Authenticate", self._challenge))
        if self._cookie is not None:
            headers.append(("Set-Cookie", f"{'='.join(self._cookie)}; Path=/"))
        return Outgoing(401, headers, shaped(self._shape, _json({"error": refusal}), rest))

    def _failed(self, status: int, date: str) -> Outgoing:
        phrase = http.client.responses.get(status, "failed")
        return Outgoing(status, self._common(date), plain(_json({"error": phrase})))

    def _granted(self, incoming: Incoming, date: str) -> Outgoing:
        path = urlsplit(incoming.path).path
        if path in self._redirects:
            to, status = self._redirects[path]
            return Outgoing(status, [*self._common(date), ("Location", to)], plain(b""))
        document, status = self._documents.get(path) or _document(path, incoming.body)
        return Outgoing(status, self._common(date), plain(_json(document)))

    def _common(self, date: str) -> list[tuple[str, str]]:
        dates = (date,) if self._dates is None else self._dates
        return [("Content-Type", "application/json"), *(("Date", text) for text in dates)]


def _document(path: str, body: bytes) -> tuple[Any, int]:
    if path == "/portfolio":
        return {"positions": [{"symbol": "ACME", "quantity": 12}]}, 200
    if path == "/echo":
        return {"bytes": len(body), "sha256": hashlib.sha256(body).hexdigest()}, 200
    return {"error": f"nothing at {path}: PartnerServer.answer() puts something there"}, 404


def _cookies(incoming: Incoming) -> list[str]:
    return [
        pair.strip() for line in incoming.headers.get_all("Cookie", []) for pair in line.split(";")
    ]


def _json(document: Any) -> bytes:
    return json.dumps(document).encode()
