"""A partner in a process of its own: it reads a command a line, and answers each with a line.

It holds the answers to a crowd until it has seen all of it, so that they are refused together. In
the tests' own process its thousand threads would hold up the loop that is to be measured.
"""

from __future__ import annotations

import contextlib
import json
import math
import sys
from collections import Counter
from typing import Any

from partner_auth.testing import PartnerServer

PATIENCE = 15.0


def obey(partner: PartnerServer, verb: str, *arguments: Any) -> Any:
    """Do one thing."""
    match verb:
        case "accept":
            partner.accept(*arguments)
        case "gather":
            partner.clear()
            partner.delay(math.inf)
        case "let_go":
            with contextlib.suppress(TimeoutError):  # who is missing has failed: that tells more
                partner.wait_for(*arguments, PATIENCE)
            partner.release()
        case "sends":
            return Counter(received.path for received in partner.requests)
    return None


if __name__ == "__main__":
    with PartnerServer() as server:
        print(json.dumps(server.url), flush=True)
        for line in sys.stdin:
            print(json.dumps(obey(server, *json.loads(line))), flush=True)
