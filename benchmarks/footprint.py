"""What the library costs besides time on a request: `python -m benchmarks.footprint`.

Import on top of each client, bytes and time of one object, and reads of the store.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
import tracemalloc

import httpx

from partner_auth import Credential, PartnerAuth

ORIGIN = "https://api.partner.example"
OBJECTS = 1_000
REQUESTS = 100_000
IMPORT = """
import sys, time
__import__(sys.argv[1])
began = time.perf_counter()
from partner_auth import PartnerAuth
print(time.perf_counter() - began)
"""


def imports(client: str, rounds: int = 9) -> float:
    """Return the seconds that our import takes on top of a client's, the median of fresh processes.

    Compiled already, as what pip installs is, whatever this machine's settings are.
    """
    command = [sys.executable, "-c", IMPORT, client]
    with tempfile.TemporaryDirectory() as compiled:
        env = {**os.environ, "PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": compiled}
        times = [
            subprocess.run(command, capture_output=True, check=True, env=env).stdout
            for _ in range(1 + rounds)
        ]
    return statistics.median(map(float, times[1:]))


class Counted:
    """A source that counts its reads."""

    def __init__(self) -> None:
        self.reads = 0

    def fetch(self) -> Credential:
        self.reads += 1
        return Credential("acme", "k" * 32)


def made() -> PartnerAuth:
    return PartnerAuth(Counted(), origins=ORIGIN)


def seconds_to_make() -> float:
    """Return the seconds that one object takes to make."""
    made()
    began = time.perf_counter()
    for _ in range(OBJECTS):
        made()
    return (time.perf_counter() - began) / OBJECTS


def bytes_held() -> float:
    """Return what one object takes with a token held, all that it owns included."""
    made().token(ORIGIN)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    held = [made() for _ in range(OBJECTS)]
    for auth in held:
        auth.token(ORIGIN)
    time.sleep(0.1)  # the last reading thread is on its way out
    taken = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    return taken / len(held)


def reads() -> int:
    """Return how often the store was read for 100,000 requests."""
    source = Counted()
    auth = PartnerAuth(source, origins=ORIGIN)
    for _ in range(REQUESTS):
        flow = auth.sync_auth_flow(httpx.Request("GET", f"{ORIGIN}/portfolio"))
        request = next(flow)
        try:
            flow.send(httpx.Response(200, request=request))
        except StopIteration:
            continue
    return source.reads


def main() -> int:
    """Print the figures."""
    for client in ("requests", "httpx", "httpx2"):
        print(f"import on top of {client:9} {imports(client) * 1e3:8.1f} ms")
    print(f"one object, made          {seconds_to_make() * 1e3:8.3f} ms")
    print(f"one object, with a token  {bytes_held():8.0f} bytes")
    print(f"reads for {REQUESTS:,} requests {reads():6d}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
