"""`partner-auth serve`: a partner API on this machine, to practise rotations on."""

from __future__ import annotations

import json
import os
import shlex
import sys
import tempfile
import threading
from argparse import ArgumentTypeError, Namespace
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from partner_auth.cli._output import say, wrapped
from partner_auth.cli._parser import Command, Parser
from partner_auth.exceptions import ConfigurationError

if TYPE_CHECKING:
    from partner_auth.testing import PartnerServer, Received

_HELP = """\
Run the partner API of the test kit on a port of this machine, with a store
(a file) that holds its secret. Type a word to rotate the secret, refuse tokens,
or set its clock wrong, and see what your program makes of it. Ctrl-C ends it.

Exit codes: 0 ended, 2 the command line was wrong.

examples:
  partner-auth serve
  partner-auth serve --client-id acme --port 8001"""


def add_options(parser: Parser) -> None:
    """Declare the command's options."""
    parser.add_argument(
        "--client-id", default="acme", metavar="ID", help="that it wants (default: acme)"
    )
    parser.add_argument(
        "--port", type=_port, default=0, metavar="N", help="to serve on (default: a free one)"
    )


def run(arguments: Namespace) -> int:
    """Serve until Ctrl-C, or until the word quit."""
    with tempfile.TemporaryDirectory(prefix="partner-auth-") as folder:
        store = Store(Path(folder, "partner.json"), arguments.client_id)
        with _started(arguments.client_id, arguments.port) as server:
            play = Play(server, store)
            try:
                say(_invitation(server, store, play))
                play.follow()
            except KeyboardInterrupt:
                print(file=sys.stderr)  # the prompt is not to stand behind ^C
    return 0


class Store:
    """A file that is replaced whole, and that its owner alone can read."""

    def __init__(self, path: Path, client_id: str) -> None:
        """Write nothing yet."""
        self.path = path
        self._client_id = client_id

    @property
    def url(self) -> str:
        """What `PARTNER_AUTH_SOURCE` is to be."""
        return self.path.as_uri()

    def hold(self, secret: str, **others: str) -> None:
        """Hold a secret, with the `next` and the `previous` one where known."""
        known = {f"secret_key_{label}": other for label, other in others.items()}
        document = {"client_id": self._client_id, "secret_key": secret, **known}
        beside = self.path.with_suffix(".new")
        with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump(document, file)
        beside.replace(self.path)


class Play:
    """The words that are typed, and what they do to partner and store."""

    def __init__(self, server: PartnerServer, store: Store) -> None:
        """Put the first secret into the store."""
        self._server = server
        self._store = store
        self._stored = str(server.secret)
        self._next = ""
        store.hold(self._stored)
        self._verbs: dict[str, tuple[str, Callable[[], object]]] = {
            "rotate": ("partner and store change together", self._rotate),
            "overlap": ("the partner takes both secrets, the store has the new one", self._overlap),
            "retire": ("the partner takes the new secret alone", server.retire),
            "partner": ("the partner changes first; the store knows it as next", self._partner),
            "store": ("the store follows", self._follow),
            "reject": ("the partner refuses every token", server.reject),
            "restore": ("the partner takes tokens again", server.restore),
            "skew": ("set the partner's clock: skew 300", lambda: None),
        }

    def follow(self) -> None:
        """Do what is typed; without a keyboard serve on."""
        for line in sys.stdin:
            word, _, rest = line.strip().partition(" ")
            if word == "quit":
                return
            say(self._done(word, rest))
        threading.Event().wait()

    def help(self) -> str:
        """Return the words."""
        lines = [f"  {word:<9}{what}" for word, (what, _) in self._verbs.items()]
        return "\n".join([*lines, "  quit     end it, as Ctrl-C does"])

    def _done(self, word: str, rest: str) -> str:
        if word == "skew":
            return self._skew(rest)
        if word not in self._verbs:
            return self.help()
        what, do = self._verbs[word]
        do()
        return f"done: {what}"

    def _skew(self, text: str) -> str:
        try:
            self._server.skew(float(text))
        except ValueError:
            return "skew wants seconds, such as: skew -300"
        return f"done: the partner's clock is {float(text):+g} s from yours"

    def _rotate(self) -> None:
        self._put(str(self._server.rotate(store=False)))

    def _overlap(self) -> None:
        self._put(str(self._server.rotate(overlap=True, store=False)))

    def _partner(self) -> None:
        self._next = str(self._server.rotate(store=False))
        self._store.hold(self._stored, next=self._next)

    def _follow(self) -> None:
        self._put(self._next or self._stored)

    def _put(self, secret: str) -> None:
        previous, self._stored, self._next = self._stored, secret, ""
        self._store.hold(secret, previous=previous)


def _started(client_id: str, port: int) -> PartnerServer:
    server = _server(client_id, port)
    try:
        return server.start()
    except OSError as error:
        raise ConfigurationError(f"port {port}: {error.strerror}: name another one") from None


def _port(text: str) -> int:
    if text.isascii() and text.isdecimal() and int(text) in range(1, 65_536):
        return int(text)
    raise ArgumentTypeError("a number from 1 to 65535 is wanted")


def _server(client_id: str, port: int) -> PartnerServer:
    from partner_auth.testing import PartnerServer  # with PyJWT, which no other command needs yet

    class Told(PartnerServer):
        """The partner, which says what it received and remembers nothing of it."""

        def _record(self, received: Received) -> None:
            by = received.accepted_by and f"accepted, by the {received.accepted_by} secret"
            path = received.path.partition("?")[0]
            say(f"{received.method} {path} {received.status}: {by or received.refusal or 'public'}")

    return Told(client_id=client_id, port=port)


def _invitation(server: PartnerServer, store: Store, play: Play) -> str:
    return "\n".join(
        [
            f"A partner API for practice, at {server.url} (Ctrl-C ends it).",
            "",
            "In another terminal:",
            "",
            f"  export PARTNER_BASE_URL={server.url}",
            f"  export PARTNER_AUTH_SOURCE={shlex.quote(store.url)}",
            '  curl -H "Authorization: Bearer $(partner-auth token)" \\',
            "    $PARTNER_BASE_URL/portfolio",
            "  partner-auth doctor --url $PARTNER_BASE_URL/portfolio",
            "  partner-auth watch --url $PARTNER_BASE_URL/portfolio --every 1",
            "",
            wrapped("Here type a word (and Enter), such as rotate:"),
            play.help(),
            "",
        ]
    )


COMMAND = Command(
    "serve", "run a partner API on this machine, to practise on", _HELP, add_options, run
)
