"""A secret in a file that is replaced while the program runs, as a mounted one is.

The partner switches first. The file knows the new secret already, as `secret_key_next`, so the
first refused request finds it there.
"""

import json
import tempfile
from pathlib import Path

import requests

from partner_auth import PartnerAuth
from partner_auth.testing import PartnerServer


def write(path: Path, **document: str) -> None:
    """Replace the file by rename, so that nobody reads half of it."""
    beside = path.with_suffix(".new")
    beside.write_text(json.dumps(document), encoding="utf-8")
    beside.replace(path)


with (
    tempfile.TemporaryDirectory() as folder,
    PartnerServer() as partner,
    requests.Session() as session,
):
    path = Path(folder, "partner.json")
    old, new = partner.secret, "the-next-secret-of-at-least-32-bytes"
    write(path, client_id=partner.client_id, secret_key=old)

    session.auth = PartnerAuth(f"file://{path}", origins=partner.url)
    print("with the old one:", session.get(f"{partner.url}/portfolio").status_code)

    write(path, client_id=partner.client_id, secret_key=old, secret_key_next=new)
    partner.rotate(new)
    print("the partner has switched:", session.get(f"{partner.url}/portfolio").status_code)

    write(path, client_id=partner.client_id, secret_key=new)
    print("so has the file:", session.get(f"{partner.url}/portfolio").status_code)
    print("refused in all:", sum(request.status == 401 for request in partner.requests))
