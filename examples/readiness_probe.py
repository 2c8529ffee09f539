"""A readiness probe: `status()` does no I/O and holds no secret, so ask it as often as you like."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import requests

from partner_auth import PartnerAuth
from partner_auth.testing import PartnerServer

# Refused by the partner is ready all the same: other replicas are no better, and one that gets no
# requests would not notice that it is over.
READY = {"fresh": 200, "stale": 200, "rejected": 200, "empty": 503}


def probe_of(auth: PartnerAuth) -> ThreadingHTTPServer:
    """Make a server that answers for `auth`."""

    class Probe(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status = auth.status()
            if status.state == "empty":  # nor would a request come that has the store read
                auth.refresh(wait=False)
            body = json.dumps({"state": status.state, "error": status.last_error}).encode()
            self.send_response(READY[status.state])
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Write no line for each probe."""

    return ThreadingHTTPServer(("127.0.0.1", 0), Probe)


with PartnerServer() as partner, requests.Session() as session:
    auth = PartnerAuth(partner.store, origins=partner.url)  # yours: a source URL
    with probe_of(auth) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        ready = f"http://127.0.0.1:{server.server_address[1]}/ready"

        def show(when: str) -> None:
            """Ask the probe."""
            answer = requests.get(ready, timeout=5)
            print(f"{when}:", answer.status_code, answer.json()["state"])

        show("at the start")
        auth.token()  # or warm up before the first probe: this waits, or says what is wrong
        show("warm")
        partner.reject()
        session.get(f"{partner.url}/portfolio", auth=auth)
        show("refused by the partner")
        server.shutdown()
