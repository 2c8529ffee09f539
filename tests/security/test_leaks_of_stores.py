"""Whatever a store holds or says: no secret, no token of ours and no key to the store is shown."""

import asyncio
import contextlib
import copy
import functools
import json
import time

import httpx
import pytest
import requests

from partner_auth import PartnerAuth, RefreshPolicy
from tests.security.stores import DOCUMENTS, OPTIONS, REMOTE, SOURCES
from tests.sources.lying_server import DROP, HANG, Reply

AT_ONCE = RefreshPolicy(backoff=0.001, backoff_max=0.001, cooldown=0.001, jitter=0)


def use(shown, search, source, **options):
    """Do with a source and what signs with it all that a program may."""
    shown.look_at("a source", source)
    shown.pickled("a source", source)
    for name in ("fetch", "alternates", "fetch_fresh", "fingerprint"):
        if hasattr(source, name):
            got = shown.tried(name, getattr(source, name))
            for one in got if isinstance(got, (list, tuple)) else [got]:
                shown.look_at(f"what {name} gave", one)
    auth = shown.tried("PartnerAuth()", make, source, shown, options)
    if auth is None:
        return
    for name in ("token", "refresh", "token"):
        search.hide_token(shown.tried(name, getattr(auth, name)))
    with contextlib.suppress(Exception):
        search.hide_token(asyncio.run(auth.atoken()))
    shown.tried("an awaited read", lambda: asyncio.run(auth.arefresh()))
    shown.tried("requests", send_requests, auth, search)
    shown.tried("httpx", send_httpx, auth, search)
    for name, thing in {
        "PartnerAuth": auth,
        "Status": auth.status(),
        "a place": places(auth),
    }.items():
        shown.look_at(name, thing)
        shown.pickled(name, thing)
    shown.tried("copy", copy.copy, auth)
    shown.tried("deepcopy", copy.deepcopy, auth)
    look_inside(shown, auth)


def make(source, shown, options):
    """Make an object that asks the store again as often as it may."""
    return PartnerAuth(source, refresh=AT_ONCE, on_event=shown.event, **options)


def places(auth):
    """Return what is remembered of each origin, with token and lease."""
    return [{name: getattr(place, name, None) for name in type(place).__slots__}
            for place in auth._cache.places.values()]  # fmt: skip


def look_inside(shown, auth):
    """Look at the parts, as a debugger's or crash reporter's `repr` of them would."""
    cache = auth._cache
    holding = cache.holding
    for thing in (cache, holding, *holding.candidates, holding.failure, cache.signer, auth._looks):
        shown.look_at(f"the inside {type(thing).__name__}", thing)


def send_requests(auth, search):
    """Prepare and sign a request; the URL leads nowhere."""
    request = requests.Request("GET", "https://127.0.0.1:1/x", auth=auth).prepare()
    search.hide_token(request.headers["Authorization"].removeprefix("Bearer "))


def send_httpx(auth, search):
    """Send a request to a transport that answers 200."""

    def answer(request):
        search.hide_token(request.headers["Authorization"].removeprefix("Bearer "))
        return httpx.Response(200)

    with httpx.Client(auth=auth, transport=httpx.MockTransport(answer)) as client:
        client.get("https://api.partner.example/x")


@pytest.mark.parametrize("source", SOURCES)
def test_no_document_shows_a_secret(search, shown, stores, secret_of, source):
    """Thirty-five documents, each with a secret of its own, with each setting of the fields."""
    for name, document in DOCUMENTS.items():
        for options in OPTIONS if name in ("as it should be", "the key alone") else OPTIONS[:1]:
            stores.say(document(secret_of("plain" if options else "odd")))
            made = shown.tried(source, functools.partial(stores.source, source, **options))
            use(shown, search, made)
    shown.__exit__()
    assert search.found(shown) == []
    assert shown.errors > 100
    assert search.tokens > 30


ALGORITHMS = ["HS256", "HS384", "HS512", "RS256", "PS256", "ES256", "ES256K", "EdDSA"]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_no_wrong_key_shows_itself(search, shown, stores, secret_of, algorithm):
    """Neither to an algorithm that wants another one."""
    for name in ("as it should be", "a PEM", "short", "half a character", "bytes"):
        stores.say(DOCUMENTS[name](secret_of()))
        use(shown, search, stores.source("file", client_id="acme"), algorithm=algorithm)
    shown.__exit__()
    assert search.found(shown) == []


def quoting(status, text, **headers):
    """Return an answer that quotes the secret, wherever it can."""
    return Reply(status, text, {"X-Said": text.replace("\n", " "), **headers})


def answers(key):
    """Return what a store says that is down, refuses, lies, or is another server."""
    page = f"<html><body>{key}</body></html>"
    moved = {"Location": f"http://127.0.0.1:1/{key}"}
    errors = json.dumps({"errors": [f"permission denied: {key}"]})
    denied = {"__type": "AccessDeniedException", "message": f"not for {key}"}
    odd = {"__type": f"Odd#{key}", "message": key}
    return {
        "a page": Reply(200, page),
        "a page with a status": Reply(502, page),
        "words": Reply(200, f'{{"data": "{key}'),
        "another object": Reply(200, {"SecretString": {"a": key}, "data": [key]}),
        "another type": Reply(200, {"Parameter": key, "data": {"data": key, "metadata": key}}),
        "not here": Reply(404, errors),
        "denied": Reply(403, errors),
        "denied by AWS": Reply(400, denied),
        "an odd code": Reply(400, odd),
        "throttled": Reply(429, errors),
        "broken": Reply(500, page),
        "sealed": Reply(503, {"errors": [f"Vault is sealed {key}"]}),
        "moved": Reply(307, page, moved),
        "bytes": Reply(200, b"\xff\xfe" + key.encode()),
        "cut off": Reply(200, _said(key), claims=10_000),
        "dropped": DROP,
        "packed, it says": Reply(200, _said(key), {"Content-Encoding": "gzip"}),
        "expired": Reply(400, {"__type": "ExpiredTokenException", "message": key}),
    }


def _said(key):
    return json.dumps({"SecretString": key, "data": {"data": {"secret_key": key}}})


@pytest.mark.parametrize("source", REMOTE)
def test_no_answer_of_a_store_shows_a_secret(search, shown, stores, secret_of, source):
    """However wrong it is, and whatever it quotes."""
    for name in answers(""):
        key = secret_of()
        stores.reply(answers(key)[name])
        use(shown, search, stores.source(source, timeout=2))
    shown.__exit__()
    assert search.found(shown) == []
    assert shown.errors > 100


@pytest.mark.parametrize("source", REMOTE)
def test_no_failing_store_shows_the_secret_that_is_held(search, shown, stores, secret_of, source):
    """It serves meanwhile, and is seen in no event."""
    stores.say(DOCUMENTS["alternates"](secret_of()))
    auth = make(stores.source(source, timeout=1), shown, {})
    search.hide_token(shown.tried("token", auth.token))
    for name in ("a page", "denied", "broken", "moved", "cut off", "dropped", "expired"):
        stores.reply(answers(secret_of())[name])
        shown.tried("refresh", auth.refresh)
        search.hide_token(shown.tried("token", auth.token))
        shown.look_at("Status", auth.status())
        look_inside(shown, auth)
    shown.__exit__()
    assert search.found(shown) == []


@pytest.mark.parametrize("source", REMOTE)
def test_no_slow_store_shows_a_secret(search, shown, stores, secret_of, source):
    """A read that is given up, and callers that leave before that."""
    stores.say(DOCUMENTS["as it should be"](secret_of()))
    made = stores.source(source, timeout=0.3)
    auth = make(made, shown, {})
    search.hide_token(shown.tried("token", auth.token))
    stores.reply(HANG)
    shown.tried("refresh", auth.refresh)
    shown.tried("a read that is cancelled", lambda: asyncio.run(cancelled(auth)))
    stores.reply(Reply(200, _said(secret_of()), drip=0.01))
    shown.tried("refresh", auth.refresh)
    shown.tried("fetch", made.fetch)
    stores.liar.release()
    time.sleep(0.05)
    look_inside(shown, auth)
    shown.__exit__()
    assert search.found(shown) == []


async def cancelled(auth):
    """Leave a read while it is under way."""
    await asyncio.wait_for(auth.arefresh(), 0.05)


def test_no_store_that_is_down_shows_a_secret(search, shown, stores, secret_of):
    """Nor the key to it."""
    stores.liar.close()
    for source in REMOTE:
        use(shown, search, stores.source(source, timeout=1))
    shown.__exit__()
    assert search.found(shown) == []
