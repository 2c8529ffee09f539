"""The same rotations under load, for this library and others: `python -m benchmarks.rotation`.

In real time: six threads with requests, or six tasks with httpx, against a partner and a store on
loopback; a read of the store takes 20 ms. Medians of interleaved rounds. Each candidate runs in a
process of its own (`peers/load.py`), the peers in an environment that is made below `build/`; one
that can't be installed is left out with a word. `--markdown` prints the tables of the docs.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import secrets
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.peers.load import CANDIDATES
from partner_auth.testing import PartnerServer

ROOT = Path(__file__).parents[1]
PEERS = ROOT / "build" / "peers"
LOAD = ROOT / "benchmarks" / "peers" / "load.py"
STORE_TAKES = 0.02

Step = tuple[float, str]
# What happens when, in seconds: the partner takes both (B), the new one alone (P), the old one ends
# (E); the store knows it as pending (N), has it (S); a process starts (+); a node switches (0, 1).
ORDERS: dict[str, list[Step]] = {
    "overlap": [(0.35, "B"), (0.7, "S"), (1.05, "E")],
    "at once": [(0.35, "S"), (0.35, "P")],
    "store first": [(0.35, "S"), (0.7, "P")],
    "partner first, pending known": [(0.2, "N"), (0.35, "P"), (0.7, "S")],
    "a start in the gap": [(0.35, "S"), (0.5, "+"), (0.85, "P")],
    "two nodes, one by one": [(0.3, "N"), (0.35, "0"), (0.5, "S"), (0.7, "1")],
    "partner first, nobody knows": [(0.35, "P"), (0.7, "S")],
}
NONE = "\N{EN DASH}"
AFTER = 0.45  # seconds that traffic goes on after the last step
UNSERVED = "partner first, nobody knows"
SERVED = [order for order in ORDERS if order != UNSERVED]
DOORS = ("threads", "asyncio")


class Store(ThreadingHTTPServer):
    """A store that takes its time, and counts."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.reads: Counter[str] = Counter()
        self.number = 0
        self.current = self.made("")
        self.beside: list[dict[str, str]] = []
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    def made(self, secret: str) -> dict[str, str]:
        self.number += 1
        return {"client_id": "acme", "secret_key": secret, "version": str(self.number)}

    def put(self, secret: str) -> None:
        self.beside = [self.current]
        self.current = self.made(secret)

    def announce(self, secret: str) -> None:
        self.beside = [self.made(secret), *self.beside[:1]]


class _Answer(BaseHTTPRequestHandler):
    server: Store

    def do_GET(self) -> None:
        what = self.path.strip("/")
        self.server.reads[what] += 1
        time.sleep(STORE_TAKES)
        known = self.server.current if what == "current" else self.server.beside
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(known).encode())

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Child:
    """One candidate behind one door, in a process of its own."""

    def __init__(self, python: Path, name: str, door: str, partner: str, store: str) -> None:
        self.process = subprocess.Popen(
            [python, LOAD, name, door, partner, store],
            env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONSAFEPATH": "1", "NO_PROXY": "*"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.version = self.heard()

    def ask(self, verb: str) -> Any:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{verb}\n")
        self.process.stdin.flush()
        return self.heard()

    def heard(self) -> Any:
        assert self.process.stdout is not None
        return json.loads(self.process.stdout.readline())

    def close(self) -> None:
        self.process.communicate(timeout=30)


class Run(NamedTuple):
    """What came of one rotation."""

    requests: int
    failed: int
    sends: int
    reads: int  # of the current secret
    alternates: int
    longest: float
    lag: float


def rotate(child: Child, partner: PartnerServer, store: Store, steps: list[Step]) -> Run:
    """Take the steps at their times under load, and count."""
    new = secrets.token_urlsafe(48)
    verbs: dict[str, Callable[[], object]] = {
        "B": lambda: partner.rotate(new, overlap=True, store=False),
        "E": partner.retire,
        "P": lambda: partner.rotate(new, store=False),
        "N": lambda: store.announce(new),
        "S": lambda: store.put(new),
        "+": lambda: child.ask("start"),
        "0": lambda: partner.rotate(new, store=False, node=0),
        "1": lambda: partner.rotate(new, store=False, node=1),
    }
    partner.nodes(2 if steps[-1][1] == "1" else 1, seed=7)
    store.beside = []
    child.ask("fresh")
    time.sleep(0.25)  # for the first read, and connections
    child.ask("begin")
    partner.clear()
    store.reads.clear()
    began = time.monotonic()
    for at, verb in [*steps, (steps[-1][0] + AFTER, "")]:
        time.sleep(max(0.0, began + at - time.monotonic()))
        verbs.get(verb, bool)()
    came = child.ask("end")
    started = any(verb == "+" for _, verb in steps)
    reads = max(0, store.reads["current"] - started)  # without the first one of that process
    return Run(
        int(came["requests"]),
        int(came["failed"]),
        len(partner.requests),
        reads,
        store.reads["alternates"],
        came["longest"],
        came["lag"],
    )


class Key(NamedTuple):
    candidate: str
    door: str
    order: str


Results = dict[Key, list[Run]]
Figure = Callable[[list[Run]], str]


def measure(names: dict[str, Path], rounds: int, versions: dict[str, str]) -> Results:
    """Let each candidate go through all orders behind each door, again and again."""
    results: Results = defaultdict(list)
    with PartnerServer() as partner, contextlib.closing(_Closing(Store())) as held:
        store = held.store
        partner.public("/public")
        store.put(str(partner.secret))
        for number in range(rounds):
            for name, door in _pairs(names):
                print(f"round {number + 1} of {rounds}: {name}, {door}", file=sys.stderr)
                child = Child(names[name], name, door, partner.url, store.url)
                versions[name] = child.version
                for order, steps in ORDERS.items():
                    came = rotate(child, partner, store, steps)
                    results[Key(name, door, order)].append(came)
                child.close()
    return results


class _Closing:
    def __init__(self, store: Store) -> None:
        self.store = store

    def close(self) -> None:
        self.store.shutdown()
        self.store.server_close()


def _pairs(names: dict[str, Path]) -> Iterator[tuple[str, str]]:
    for door in DOORS:
        for name in names:
            if door in CANDIDATES[name].doors:
                yield name, door


def found() -> dict[str, Path]:
    """Return the Python that runs each candidate; make the peers' environment if need be."""
    ours = Path(sys.executable)
    peers = {name: kind.package for name, kind in CANDIDATES.items() if kind.package}
    del peers["PartnerAuth"]
    python = PEERS / "bin" / "python"
    try:
        if not python.exists():
            _quietly(ours, "-m", "venv", PEERS)
            _quietly(python, "-m", "pip", "install", "requests", "httpx", "PyJWT")
    except (OSError, subprocess.CalledProcessError):
        print("no environment for the peers can be made: they are left out", file=sys.stderr)
        return {name: ours for name in CANDIDATES if name not in peers}
    names = {}
    for name in CANDIDATES:
        try:
            if name in peers:
                _quietly(python, "-m", "pip", "install", peers[name])
            names[name] = python if name in peers else ours
        except subprocess.CalledProcessError:
            print(f"{name} can't be installed: it is left out", file=sys.stderr)
    return names


def _quietly(*command: str | Path) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


# -- the tables


def failures(results: Results, names: list[str]) -> Iterator[list[str]]:
    """Yield a row for each order: failed requests, threads / asyncio."""
    yield ["failed requests, threads / asyncio", *names]
    for order in ORDERS:
        yield [order, *(_both(results, name, order) for name in names)]


def _both(results: Results, name: str, order: str) -> str:
    cells = []
    for door in DOORS:
        runs = results.get(Key(name, door, order))
        cells.append(f"{statistics.median(run.failed for run in runs):.0f}" if runs else NONE)
    return " / ".join(cells)


def _reads(runs: list[Run]) -> str:
    return f"{statistics.median(run.reads for run in runs):.0f}"


def _lag(runs: list[Run]) -> str:
    return f"{statistics.median(run.lag for run in runs) * 1e3:.0f} ms"


def costs(results: Results, names: list[str]) -> Iterator[list[str]]:
    """Yield rows of what a rotation costs: those orders alone in which no request needs to fail."""
    yield ["threads / asyncio", *names]
    yield [
        "store reads, both change at once",
        *(_costs(results, n, _reads, ["at once"]) for n in names),
    ]
    figures: dict[str, Figure] = {
        "store reads a rotation, on average": lambda runs: f"{_mean(runs, 'reads'):.1f}",
        "reads of alternates": lambda runs: f"{_mean(runs, 'alternates'):.1f}",
        "sends a request": lambda runs: f"{_mean(runs, 'sends') / _mean(runs, 'requests'):.2f}",
        "longest request": lambda runs: f"{statistics.median(r.longest for r in runs):.2f} s",
    }
    for what, figure in figures.items():
        yield [what, *(_costs(results, name, figure) for name in names)]
    yield ["longest lag of the loop", *(_costs(results, n, _lag, SERVED, DOORS[1:]) for n in names)]


def _costs(
    results: Results,
    name: str,
    figure: Figure,
    orders: list[str] = SERVED,
    doors: tuple[str, ...] = DOORS,
) -> str:
    cells = []
    for door in doors:
        runs = [run for order in orders for run in results.get(Key(name, door, order), [])]
        cells.append(figure(runs) if runs else NONE)
    return " / ".join(cells)


def _mean(runs: list[Run], field: str) -> float:
    return statistics.fmean(getattr(run, field) for run in runs)


def show(rows: Iterator[list[str]], *, markdown: bool) -> None:
    """Print a table, candidates below each other."""
    columns = [list(column) for column in zip(*rows, strict=True)]
    widths = [max(map(len, cells)) for cells in zip(*columns, strict=True)]
    for number, cells in enumerate(columns):
        if markdown:
            print(f"| {' | '.join(cells)} |")
            if not number:
                print("| --- " * len(cells) + "|")
        else:
            print("  ".join(f"{c:<{w}}" for c, w in zip(cells, widths, strict=True)))
    print()


def main() -> int:
    """Measure and print; exit with 1 if a request failed here in an order that can be served."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0], allow_abbrev=False)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--markdown", action="store_true", help="as docs/comparison.md has it")
    parser.add_argument("--only", nargs="*", choices=CANDIDATES, help="these alone")
    options = parser.parse_args()
    names = {
        name: python for name, python in found().items() if name in (options.only or CANDIDATES)
    }
    versions: dict[str, str] = {}
    results = measure(names, options.rounds, versions)
    print(
        f"Python {platform.python_version()}",
        *(f"{n} {v}" for n, v in versions.items() if v),
        sep=", ",
    )
    print()
    show(
        failures(results, [name for name in names if name != "static header"]),
        markdown=options.markdown,
    )
    show(costs(results, list(names)), markdown=options.markdown)
    served = [
        k
        for k in results
        if k.candidate == "PartnerAuth" and k.order not in (UNSERVED, "two nodes, one by one")
    ]
    return int(any(run.failed for key in served for run in results[key]))


if __name__ == "__main__":
    sys.exit(main())
