"""One object passes each client's own check, whichever are imported, and in whatever order."""

import copy
import itertools
import os
import pickle
import subprocess
import sys

import httpx
import httpx2
import pytest
import requests

import partner_auth.httpx
import partner_auth.httpx2
import partner_auth.requests
from partner_auth import Credential, EnvSource, PartnerAuth

CLIENTS = {"requests": "requests.auth.AuthBase", "httpx": "httpx.Auth", "httpx2": "httpx2.Auth"}
MAKING = "from partner_auth import PartnerAuth; auth = PartnerAuth('env://')"


def run(*lines):
    """Run lines in a fresh interpreter; return what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


ORDERS = list(itertools.permutations([*CLIENTS, "object"]))


@pytest.mark.parametrize("order", ORDERS, ids=["-".join(order) for order in ORDERS])
def test_the_object_is_an_auth_of_every_client_that_was_imported(order):
    """Before it was made or after; asked after each step, so that some are imported and some not."""
    lines, imported = [], []
    for step in order:
        lines.append(MAKING if step == "object" else f"import {step}")
        imported += [CLIENTS[step]] if step in CLIENTS else []
        if MAKING in lines:
            lines += [f"assert isinstance(auth, {base}), {base!r}" for base in imported]
    assert run(*lines) == []


def test_no_client_is_imported_by_the_library():
    """Neither by the import nor by making an object, though all are installed."""
    named = ["requests", "urllib3", "httpx", "httpx2", "httpcore", "aiohttp", "niquests"]
    named += ["boto3", "botocore", "hvac", "jwt", "anyio", "trio", "asyncio", "yaml"]
    loaded = "print(*sorted(set(sys.modules) & set(named)))"
    assert run("import sys", f"named = {named}", "import partner_auth", loaded) == []
    making = "auth = partner_auth.PartnerAuth('env://', origins='https://api.partner.example')"
    asked = "isinstance(auth, int)"
    unwanted = run("import sys", f"named = {named}", "import partner_auth", making, asked, loaded)
    assert unwanted == []


@pytest.mark.parametrize("module", ["requests", "httpx", "httpx2"])
def test_a_clients_own_module_imports_that_client_alone(module):
    """It derives from its base class, and from no other's."""
    others = [name for name in CLIENTS if name != module]
    lines = [f"import sys, partner_auth.{module}", f"print(*set({others}) & set(sys.modules))"]
    assert run(*lines) == []


def test_httpx2_in_the_place_of_httpx_is_one_client():
    """After `alias_httpx()` both names are one class, which must not become a base twice."""
    lines = [
        "import httpx2; httpx2.alias_httpx()",
        MAKING,
        "import httpx",
        "print(httpx is httpx2, isinstance(auth, httpx.Auth), isinstance(auth, httpx2.Auth))",
    ]
    assert run(*lines) == ["True", "True", "True"]


def test_a_call_through_an_aliased_httpx_is_signed(partner):
    """By the object that was made before the alias."""
    lines = [
        "from partner_auth import PartnerAuth, Credential",
        f"auth = PartnerAuth(Credential('acme', {partner.secret!r}), origins={partner.url!r})",
        "import httpx2; httpx2.alias_httpx(); import httpx",
        f"print(httpx.Client(auth=auth).get({partner.url!r} + '/portfolio').status_code)",
    ]
    assert run(*lines) == ["200"]


@pytest.fixture
def auth():
    """An object that can be pickled."""
    return PartnerAuth(EnvSource(), origins="https://api.partner.example")


@pytest.mark.parametrize(
    "base",
    [requests.auth.AuthBase, httpx.Auth, httpx2.Auth, PartnerAuth],
    ids=lambda it: f"{it.__module__}.{it.__name__}",
)
def test_the_object_is_an_instance_of(auth, base):
    """Of each client's base, and of its own class."""
    assert isinstance(auth, base)


@pytest.mark.parametrize("other", [str, requests.auth.HTTPBasicAuth, httpx.BasicAuth, type])
def test_the_object_is_no_instance_of(auth, other):
    """It poses as the bases alone."""
    assert not isinstance(auth, other)


def test_the_class_of_the_object_can_not_be_changed(auth):
    """Posing answers a question; it is no place to write to."""
    with pytest.raises(TypeError, match="keeps its class"):
        auth.__class__ = str


@pytest.mark.parametrize(
    "cls,base",
    [
        (partner_auth.requests.PartnerAuth, requests.auth.AuthBase),
        (partner_auth.httpx.PartnerAuth, httpx.Auth),
        (partner_auth.httpx2.PartnerAuth, httpx2.Auth),
    ],
    ids=lambda it: it.__module__,
)
def test_the_class_of_a_clients_module_derives_from_its_base(cls, base):
    """For code that asks `issubclass`, and for dependency injection by type."""
    assert issubclass(cls, base)
    assert issubclass(cls, PartnerAuth)
    made = cls(Credential("acme", "k" * 40), origins="https://api.partner.example")
    assert isinstance(made, (requests.auth.AuthBase, httpx.Auth, httpx2.Auth))


@pytest.mark.parametrize(
    "cls",
    [
        PartnerAuth,
        partner_auth.requests.PartnerAuth,
        partner_auth.httpx.PartnerAuth,
        partner_auth.httpx2.PartnerAuth,
    ],
    ids=lambda it: it.__module__,
)
def test_a_pickle_keeps_the_class(cls):
    """It names what was made, not what it poses as."""
    made = cls(EnvSource(), origins="https://api.partner.example")
    assert type(pickle.loads(pickle.dumps(made))) is cls
    assert copy.deepcopy(made) is copy.copy(made) is made


def test_a_class_of_the_users_own_poses_too():
    """With what it adds."""

    class Own(PartnerAuth):
        def __init__(self, **options):
            super().__init__(EnvSource(), **options)

    own = Own(origins="https://api.partner.example")
    assert isinstance(own, Own)
    assert isinstance(own, (httpx.Auth,))
    assert type(own) is Own
