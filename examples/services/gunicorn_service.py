"""gunicorn with several workers: the store is read once, before they are forked.

PARTNER_AUTH_SOURCE says where the secret is, PARTNER_BASE_URL where the partner is. Start it with
`gunicorn --preload --workers 4 gunicorn_service:app`. Without `--preload` each worker imports this
file, and so reads for itself.
"""

import os
from collections.abc import Callable, Iterable
from typing import Any

import requests

from partner_auth import PartnerAuth

session = requests.Session()
auth = session.auth = PartnerAuth()
auth.token()  # where this fails no worker starts, and the log says why


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Hand on what the partner has: any WSGI application, Flask's or Django's, does the same."""
    answer = session.get(f"{os.environ['PARTNER_BASE_URL']}{environ['PATH_INFO']}", timeout=10)
    headers = [("Content-Type", answer.headers["Content-Type"]), ("X-Worker", str(os.getpid()))]
    start_response(f"{answer.status_code} {answer.reason}", headers)
    return [answer.content]
