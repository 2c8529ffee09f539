"""The partner's guide and one line of ours make the same token."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from partner_auth import Credential, PartnerAuth
from partner_auth.testing import Clock

GUIDE = Path(__file__).parent / "guide"
SECRET = "a secret that the partner issued: 32 bytes or more"
CLIENT_IDS = {"plain": "acme", "with quotes and slashes": 'a"c\\m/e', "spaced": "acme ltd <1>"}


@pytest.fixture(params=["sign.js", "sign.py"])
def guide(request):
    """Return a function that runs one of the guide's snippets in a process of its own."""
    if request.param == "sign.py":
        executable = sys.executable
    else:
        request.getfixturevalue("node")  # skips without it
        executable = shutil.which("node")

    def run(client_id):
        env = os.environ | {"CLIENT_ID": client_id, "SECRET_KEY": SECRET}
        command = [executable, GUIDE / request.param]
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
        return done.stdout

    return run


def issued_at(token):
    """Return a token's `iat`, which the guide takes from the machine's clock."""
    payload = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["iat"]


@pytest.mark.parametrize("client_id", CLIENT_IDS.values(), ids=CLIENT_IDS)
def test_the_guide_s_snippet_makes_the_same_token(guide, client_id):
    """Header, claims and signature are equal, byte for byte, when both sign in the same second."""
    theirs = guide(client_id)
    clock = Clock(issued_at(theirs))
    assert PartnerAuth(Credential(client_id, SECRET), clock=clock).token() == theirs
