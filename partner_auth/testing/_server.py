"""The partner itself: a loopback HTTP server that verifies tokens, and rotates and misbehaves on demand."""

from __future__ import annotations

import secrets
import ssl
import time
from collections.abc import Iterable
from email.utils import formatdate
from typing import TYPE_CHECKING, Any, Self

from partner_auth._credentials import Credential, Secret
from partner_auth.testing._answers import Answers
from partner_auth.testing._clock import WallClock
from partner_auth.testing._keyring import FOREVER, Keyring
from partner_auth.testing._loopback import Incoming, Loopback, Outgoing
from partner_auth.testing._received import Journal, Received
from partner_auth.testing._store import MemoryStore

if TYPE_CHECKING:
    from partner_auth import PartnerAuth


class PartnerServer(Answers, Journal):
    """Play the partner over real HTTP/1.1 on a free port of 127.0.0.1, with a store that holds its secret.

        with PartnerServer() as server, requests.Session() as session:
            session.auth = server.auth()
            assert session.get(f"{server.url}/portfolio").ok
            server.rotate()
            assert session.get(f"{server.url}/portfolio").ok
            assert [r.status for r in server.requests] == [200, 401, 200]

    It answers `/portfolio` with JSON, `/echo` with the number and SHA-256 of the bytes it got, what `answer` adds,
    and 404 elsewhere, whatever the method; and 401 to a token that it does not believe. All its switches may be used
    from any thread, while requests are under way.

    Args:
        secret: the first secret; None: a random one. For RS*, PS*, ES* and EdDSA it is the private key as a PEM.
        client_id: the claim `clientId` that is wanted.
        algorithms: those accepted; `auth` signs with the first.
        clock: tells its time (a `Clock`, or anything with `now()`); None: the machine's. Delays are in real time.
        leeway: how many seconds `iat` and `exp` may be off.
        ssl_context: speak TLS with it; `url` is https then.
    """

    def __init__(
        self,
        secret: str | bytes | None = None,
        *,
        client_id: str = "acme",
        algorithms: Iterable[str] = ("HS256",),
        clock: WallClock | None = None,
        leeway: float = 0.0,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        """Open nothing yet: `start`, or enter a `with` block."""
        Answers.__init__(self)
        Journal.__init__(self)
        self.client_id = client_id
        self.algorithms = (algorithms,) if isinstance(algorithms, str) else tuple(algorithms)
        self.clock = clock
        first = self._issued(secret)
        self._keyring = Keyring(first, client_id, self.algorithms, leeway)
        self._store = MemoryStore(client_id, Credential(client_id, first, version="1"))
        self._loopback = Loopback(self._connected, self._respond, ssl_context)
        self._scheme = "https" if ssl_context else "http"
        self._skew = 0.0

    def start(self) -> Self:
        """Take a free port and begin to answer."""
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
        """Make a `PartnerAuth` for it: its store, origin, algorithm and clock, unless `options` say otherwise."""
        import partner_auth

        given = {
            "origins": self.url,
            "algorithm": self.algorithms[0],
            "clock": self.clock,
            **options,
        }
        return partner_auth.PartnerAuth(given.pop("source", self._store), **given)

    @property
    def store(self) -> MemoryStore:
        """The store that `rotate` keeps in step: slow it down, break it, count its reads."""
        return self._store

    source = store  # the same object by the name that PartnerAuth calls it

    @property
    def secret(self) -> str | bytes:
        """The secret that it issued last: by `rotate`, or the first one of `accept`."""
        return self._keyring.current.reveal()

    def rotate(
        self,
        secret: str | bytes | None = None,
        *,
        overlap: bool | float = False,
        store: bool = True,
        node: int | None = None,
    ) -> str | bytes:
        """Issue a new secret and return it; by default the old one stops at once and the store has the new one.

        The three orders of a rotation:

        * partner first: `new = server.rotate(store=False)`, later `server.store.set(new)`
        * store first: `server.store.set(new)`, later `server.rotate(new)`
        * with an overlap: `server.rotate(overlap=True)`, later `server.retire()`

        Args:
            secret: the new one; None: a random one.
            overlap: accept what was accepted before as well: True: until `retire`; a number: for so many seconds on
                its clock.
            store: whether the store gets the new one, now.
            node: switch this node alone, and the others with the same secret later; None: all.
        """
        new = self._issued(secret)
        self._keyring.rotate(new, self._overlap_end(overlap), node)
        if store:
            self._store.set(new.reveal())
        return new.reveal()

    def accept(self, *secrets: str | bytes, node: int | None = None) -> None:
        """Accept exactly these, on one node or on all (None); the first is the current one. None: accept nothing."""
        self._keyring.accept([Secret(secret) for secret in secrets], node)

    def retire(self) -> None:
        """End an overlap: accept the current secret alone, on every node."""
        self._keyring.accept([self._keyring.current], None)

    def reject(self) -> None:
        """Refuse every token until `restore` or `accept`."""
        self._keyring.reject(rejecting=True)

    def restore(self) -> None:
        """End `reject`: accept what was accepted before."""
        self._keyring.reject(rejecting=False)

    def nodes(self, count: int, seed: int | None = None) -> None:
        """Be `count` machines behind one address, taken in turn, or by chance from `seed`; each accepts the same at first.

        Switch them one by one with `rotate(new, node=0)`, `rotate(new, node=1)`, …
        """
        self._keyring.spread(count, seed)

    def skew(self, seconds: float) -> None:
        """Run its clock so many seconds ahead of the true time (negative: behind), in its checks and `Date` headers."""
        self._skew = seconds

    def now(self) -> float:
        """Return the time on its clock, in seconds since the epoch (UTC)."""
        return (time.time() if self.clock is None else self.clock.now()) + self._skew

    def down(self, *, drop: bool = False) -> None:
        """Refuse connections, or take and `drop` them; those that are open break, requests under way too."""
        self._loopback.dropping = drop
        if drop:
            self._loopback.break_connections()
        else:
            self._loopback.refuse()

    def up(self) -> None:
        """End `down`, on the same port."""
        self._loopback.dropping = False
        self._loopback.listen()

    def _overlap_end(self, overlap: bool | float) -> float | None:
        if overlap is True:
            return FOREVER
        return self.now() + overlap if overlap else None

    def _issued(self, secret: str | bytes | None) -> Secret:
        if secret is not None:
            return Secret(secret)
        if not all(name.startswith("HS") for name in self.algorithms):
            raise ValueError(
                f"PartnerServer: {self.algorithms[0]} needs a secret, a private key as a PEM"
            )
        return Secret(secrets.token_urlsafe(48))

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
    return str(lines[0].removeprefix("Bearer "))
