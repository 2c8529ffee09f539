"""The partner itself: a loopback HTTP server, put together from what it believes and answers."""

from __future__ import annotations

import ssl
from collections.abc import Iterable
from email.utils import formatdate
from typing import TYPE_CHECKING, Any, Self

from partner_auth._clock import Clock
from partner_auth.testing._answers import Answers
from partner_auth.testing._issuer import Issuer
from partner_auth.testing._loopback import Loopback
from partner_auth.testing._received import Journal, Received
from partner_auth.testing._wire import Incoming, Outgoing

if TYPE_CHECKING:
    from partner_auth import PartnerAuth


class PartnerServer(Answers, Issuer, Journal):
    """Play the partner over real HTTP/1.1 on a free loopback port, with a store for its secret.

        with PartnerServer() as server, requests.Session() as session:
            session.auth = server.auth()
            assert session.get(f"{server.url}/portfolio").ok
            server.rotate()
            assert session.get(f"{server.url}/portfolio").ok
            assert [r.status for r in server.requests] == [200, 401, 200]

    It answers `/portfolio` with JSON, `/echo` with the number and SHA-256 of the bytes it got, what
    `answer` adds, and 404 elsewhere, whatever the method; and 401 to a token that it does not
    believe. All its switches may be used from any thread, while requests are under way.

    Args:
        secret: the first secret; None: a random one. For RS, PS, ES and EdDSA it is the private
            key as a PEM.
        client_id: the claim `clientId` that is wanted.
        algorithms: those accepted; `auth` signs with the first.
        clock: tells its time (a `Clock`, or anything with `now()` and `monotonic()`); None: the
            machine's. Delays are in real time.
        leeway: how many seconds `iat` and `exp` may be off.
        ssl_context: speak TLS with it; `url` is https then.
        port: the one to take; 0: a free one.
    """

    def __init__(
        self,
        secret: str | bytes | None = None,
        *,
        client_id: str = "acme",
        algorithms: Iterable[str] = ("HS256",),
        clock: Clock | None = None,
        leeway: float = 0.0,
        ssl_context: ssl.SSLContext | None = None,
        port: int = 0,
    ) -> None:
        """Open nothing yet: `start`, or enter a `with` block."""
        Answers.__init__(self)
        Journal.__init__(self)
        Issuer.__init__(self, secret, client_id, algorithms, clock, leeway)
        self._loopback = Loopback(self._connected, self._respond, ssl_context, port)
        self._scheme = "https" if ssl_context else "http"

    def start(self) -> Self:
        """Take the port and begin to answer. Raise `OSError` when it is taken."""
        if self._loopback.closing.is_set():
            raise RuntimeError(f"{self!r} was closed: make another one")
        self._loopback.listen()
        return self

    def close(self) -> None:
        """Break every connection, free the port, end every thread; may be called twice."""
        self._store.release()
        self._loopback.closing.set()
        self._gate.release()
        self._loopback.close()

    def __enter__(self) -> Self:
        """Start."""
        return self.start()

    def __exit__(self, *exc: object) -> None:
        """Close."""
        self.close()

    def __repr__(self) -> str:
        """Show where it listens."""
        return f"PartnerServer({self.client_id!r}, port={self._loopback.port})"

    @property
    def url(self) -> str:
        """Its origin, such as `http://127.0.0.1:40123`; known once it has been started."""
        if not self._loopback.port:
            raise RuntimeError(
                "PartnerServer has no address yet: start() it, or use it in a with block"
            )
        return f"{self._scheme}://127.0.0.1:{self._loopback.port}"

    def auth(self, **options: Any) -> PartnerAuth:
        """Make a `PartnerAuth` with its store, origin, algorithm and clock; `options` win."""
        import partner_auth

        given: dict[str, Any] = {
            "source": self._store,
            "algorithm": self.algorithms[0],
            "clock": self.clock,
        }
        if "origins" not in options:
            given["origins"] = self.url
        return partner_auth.PartnerAuth(**(given | options))

    def down(self, *, drop: bool = False) -> None:
        """Refuse connections, or take and `drop` them, until `up`; those that are open break."""
        self._loopback.dropping = drop
        if drop:
            self._loopback.listen()
            self._loopback.break_connections()
        else:
            self._loopback.refuse()

    def up(self) -> None:
        """End `down`, on the same port."""
        self._loopback.dropping = False
        self._loopback.listen()

    def _respond(self, incoming: Incoming) -> Outgoing | None:
        now, node, token = self.now(), self._keyring.pick(), _bearer(incoming)
        verdict = self._judged(incoming, self._keyring.judge(token, node, now))
        outgoing = self._outgoing(
            incoming, verdict.refusal, formatdate(now, usegmt=True), self._loopback.closing.wait
        )
        self._record(
            Received(
                method=incoming.method,
                path=incoming.path,
                status=outgoing.status if outgoing is not None else None,
                accepted_by=verdict.accepted_by,
                refusal=verdict.refusal,
                node=node,
                connection=incoming.connection,
                time=now,
                headers=incoming.headers,
                body=incoming.body,
                token=token,
                claims=verdict.claims,
            )
        )
        self._gate.hold()
        return outgoing


def _bearer(incoming: Incoming) -> str | None:
    """Return the token of the one header that carries it, spelt as the partner's guide does."""
    lines = incoming.headers.get_all("Authorization", [])
    if len(lines) != 1 or not lines[0].startswith("Bearer "):
        return None
    return str(lines[0].removeprefix("Bearer ").strip()) or None
