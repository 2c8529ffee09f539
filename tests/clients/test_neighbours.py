"""What people put beside their client goes on working: mocks, caches, retries, telemetry, an SDK."""

import asyncio

import anthropic
import hishel
import hishel.httpx
import hishel.httpx2
import httpx
import httpx2
import httpx_retries
import openai
import pytest
import requests
import requests_cache
import requests_toolbelt.sessions
import responses
import respx
import starlette.applications
import starlette.responses
import starlette.routing
import starlette.testclient
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
from opentelemetry.instrumentation.requests import RequestsInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from requests.adapters import HTTPAdapter
from urllib3 import Retry

from partner_auth import PartnerAuth, PartnerAuthWarning
from partner_auth.httpx import SigningTransport
from partner_auth.testing import MemoryStore

PARTNER = "https://api.partner.example"


@pytest.fixture
def store():
    """A store on its own: the partner is a mock."""
    return MemoryStore("acme", "k" * 40)


@pytest.fixture
def auth(store):
    """An object for the mocked partner, which has signed once."""
    made = PartnerAuth(store, origins=PARTNER)
    made.token()
    return made


def statuses(server):
    return [one.status for one in server.requests]


def tokens(requests_sent):
    return [one.headers["Authorization"] for one in requests_sent]


# -- mocks


@responses.activate
def test_responses_see_the_resend(auth, store):
    """Both answers are played, and each call shows the token that it carried."""
    responses.get(f"{PARTNER}/portfolio", status=401)
    responses.get(f"{PARTNER}/portfolio", json={})
    store.set("n" * 40)
    assert requests.get(f"{PARTNER}/portfolio", auth=auth, timeout=5).status_code == 200
    assert len(set(tokens(call.request for call in responses.calls))) == 2


@respx.mock
def test_respx_sees_the_resend(auth, store):
    """A route with side effects plays 401, then 200."""
    route = respx.get(f"{PARTNER}/portfolio")
    route.side_effect = [httpx.Response(401), httpx.Response(200)]
    store.set("n" * 40)
    assert httpx.get(f"{PARTNER}/portfolio", auth=auth).status_code == 200
    assert len(set(tokens(call.request for call in route.calls))) == 2


def test_pytest_httpx_sees_the_resend(httpx_mock, auth, store):
    """Its fixture plays what was added in turn."""
    httpx_mock.add_response(status_code=401)
    httpx_mock.add_response(json={})
    store.set("n" * 40)
    assert httpx.get(f"{PARTNER}/portfolio", auth=auth).status_code == 200
    assert len(set(tokens(httpx_mock.get_requests()))) == 2


@pytest.mark.parametrize("client", [httpx, httpx2], ids=["httpx", "httpx2"])
def test_a_mock_transport_sees_the_resend(client, auth, store):
    """The clients' own."""
    sent = []

    def answer(request):
        sent.append(request)
        return client.Response(401 if len(sent) == 1 else 200)

    store.set("n" * 40)
    with client.Client(auth=auth, transport=client.MockTransport(answer)) as session:
        assert session.get(f"{PARTNER}/portfolio").status_code == 200
    assert len(set(tokens(sent))) == 2


def test_starlette_s_client_is_signed_where_its_origin_is_named(store):
    """`http://testserver` is plain http and no loopback: naming it warns once."""

    async def portfolio(request):
        signed = request.headers.get("Authorization", "").startswith("Bearer ")
        return starlette.responses.PlainTextResponse("", 200 if signed else 401)

    route = starlette.routing.Route("/portfolio", portfolio)
    app = starlette.applications.Starlette(routes=[route])
    with pytest.warns(PartnerAuthWarning, match="http://testserver"):
        auth = PartnerAuth(store, origins="http://testserver")
    with starlette.testclient.TestClient(app) as client:
        client.auth = auth
        assert client.get("/portfolio").status_code == 200


# -- caches


def test_requests_cache_keeps_no_refusal(partner, tmp_path):
    """What it keeps is the answer to the resend, and that without the token in its request."""
    auth = partner.auth()
    auth.token()
    with requests_cache.CachedSession(tmp_path / "cache", backend="sqlite") as session:
        session.auth = auth
        partner.rotate()
        first = session.get(f"{partner.url}/portfolio")
        second = session.get(f"{partner.url}/portfolio")
        assert (first.status_code, second.status_code) == (200, 200)
        assert (first.from_cache, second.from_cache) == (False, True)
        assert second.request.headers["Authorization"] == "REDACTED"
    assert statuses(partner) == [401, 200]


def test_requests_cache_writes_the_token_of_a_mended_refusal(partner, tmp_path):
    """It redacts no request in `history`: what docs/neighbours.md warns of, while that is so."""
    auth = partner.auth()
    auth.token()
    with requests_cache.CachedSession(tmp_path / "cache", backend="sqlite") as session:
        session.auth = auth
        partner.rotate()
        session.get(f"{partner.url}/portfolio")
    written = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert partner.requests[0].token.encode() in written
    assert partner.requests[1].token.encode() not in written


def test_requests_cache_writes_no_token_where_mended_answers_are_kept_out(partner, tmp_path):
    """By a filter of the user's, as docs/neighbours.md advises."""
    auth = partner.auth()
    auth.token()
    partner.rotate()
    with requests_cache.CachedSession(
        tmp_path / "cache", backend="sqlite", filter_fn=lambda response: not response.history
    ) as session:
        session.auth = auth
        kept = [session.get(f"{partner.url}/portfolio").from_cache for _ in range(3)]
    assert kept == [False, False, True]
    written = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert not any(one.token.encode() in written for one in partner.requests)


HISHEL = [(httpx, hishel.httpx), (httpx2, hishel.httpx2)]


@pytest.mark.parametrize("client,cache", HISHEL, ids=["httpx", "httpx2"])
def test_hishel_keeps_no_refusal(partner, tmp_path, client, cache):
    """Its cache is a transport below the auth: the 401 passes, the mended answer is kept."""
    storage = hishel.SqliteStorage(database_path=tmp_path / "cache.db")
    transport = cache.CacheTransport(next_transport=client.HTTPTransport(), storage=storage)
    auth = partner.auth()
    auth.token()
    partner.rotate()
    with client.Client(auth=auth, transport=transport) as session:
        for _ in range(2):
            assert session.get(f"{partner.url}/portfolio").status_code == 200
    assert statuses(partner) == [401, 200]


# -- retries


def test_httpx_retries_live_below(partner):
    """A 503 to the resend is retried with the new token."""
    transport = httpx_retries.RetryTransport(
        retry=httpx_retries.Retry(total=2, backoff_factor=0, status_forcelist=[503])
    )
    with httpx.Client(auth=partner.auth(), transport=transport) as session:
        session.get(f"{partner.url}/portfolio")
        partner.rotate()
        partner.fail(401)
        partner.fail(503)
        assert session.get(f"{partner.url}/portfolio").status_code == 200
    assert statuses(partner) == [200, 401, 503, 200]
    assert len({one.token for one in partner.requests[2:]}) == 1


def test_httpx_retries_live_above_a_signing_transport(partner):
    """Each try is signed and mended by itself."""
    transport = httpx_retries.RetryTransport(
        transport=SigningTransport(partner.auth()),
        retry=httpx_retries.Retry(total=2, backoff_factor=0, status_forcelist=[503]),
    )
    with httpx.Client(transport=transport) as session:
        partner.fail(503)
        assert session.get(f"{partner.url}/portfolio").status_code == 200
    assert statuses(partner) == [503, 200]


def retrying(**options):
    session = requests.Session()
    session.mount("http://", HTTPAdapter(max_retries=Retry(2, backoff_factor=0, **options)))
    return session


def test_urllib3_retries_a_503_with_the_new_token(partner):
    """Within the resend."""
    with retrying(status_forcelist=[503]) as session:
        session.auth = partner.auth()
        session.get(f"{partner.url}/portfolio")
        partner.rotate()
        partner.fail(401)
        partner.fail(503)
        assert session.get(f"{partner.url}/portfolio").status_code == 200
    assert statuses(partner) == [200, 401, 503, 200]


def test_urllib3_that_retries_a_401_can_not_be_mended(partner):
    """It raises before any hook runs: 401 must not stand in `status_forcelist`."""
    with retrying(status_forcelist=[401]) as session:
        session.auth = partner.auth()
        session.get(f"{partner.url}/portfolio")
        partner.rotate()
        with pytest.raises(requests.exceptions.RetryError):
            session.get(f"{partner.url}/portfolio")
    assert statuses(partner) == [200, 401, 401, 401]


def test_urllib3_that_retries_a_401_and_gives_it_back_is_mended(partner):
    """`raise_on_status=False`, at wasted sends with the old token."""
    with retrying(status_forcelist=[401], raise_on_status=False) as session:
        session.auth = partner.auth()
        session.get(f"{partner.url}/portfolio")
        partner.rotate()
        assert session.get(f"{partner.url}/portfolio").status_code == 200
    assert statuses(partner) == [200, 401, 401, 401, 200]


# -- the rest


def test_a_toolbelt_session_with_a_base_url_is_signed(partner):
    """The URL that counts is the prepared one."""
    with requests_toolbelt.sessions.BaseUrlSession(partner.url) as session:
        session.auth = partner.auth()
        assert session.get("/portfolio").status_code == 200


@pytest.fixture
def spans():
    """What OpenTelemetry's instrumentations of requests and httpx have told."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    both = RequestsInstrumentor(), HTTPXClientInstrumentor()
    for one in both:
        one.instrument(tracer_provider=provider)
    yield exporter
    for one in both:
        one.uninstrument()


@pytest.mark.parametrize("client", [requests.Session, httpx.Client], ids=["requests", "httpx"])
def test_an_instrumented_client_is_mended(partner, spans, client):
    """And no span holds a token."""
    with client() as session:
        session.auth = partner.auth()
        session.get(f"{partner.url}/portfolio")
        partner.rotate()
        assert session.get(f"{partner.url}/portfolio").status_code == 200
    told = "".join(span.to_json() for span in spans.get_finished_spans())
    assert "/portfolio" in told
    assert not any(one.token in told for one in partner.requests)


def test_an_instrumented_asynchronous_client_is_mended(partner, spans):
    """The same on an event loop."""

    async def main():
        async with httpx.AsyncClient(auth=partner.auth()) as session:
            await session.get(f"{partner.url}/portfolio")
            partner.rotate()
            return await session.get(f"{partner.url}/portfolio")

    assert asyncio.run(main()).status_code == 200
    assert spans.get_finished_spans()


# OpenAI's and Anthropic's list of models: each takes what it knows of it.
MODEL = {"id": "m", "object": "model", "created": 0, "owned_by": "x", "type": "model"}
MODEL |= {"display_name": "M", "created_at": "2026-01-01T00:00:00Z"}
MODELS = {"object": "list", "data": [MODEL], "has_more": False, "first_id": "m", "last_id": "m"}
SDKS = pytest.mark.parametrize(
    "kinds,path",
    [
        ((openai.OpenAI, openai.AsyncOpenAI), "/models"),
        ((anthropic.Anthropic, anthropic.AsyncAnthropic), "/v1/models"),
    ],
    ids=["openai", "anthropic"],
)


@SDKS
def test_an_sdk_that_takes_a_client_is_mended(partner, kinds, path):
    """Its own key is replaced, or stands beside, and a rotation in between goes unnoticed."""
    partner.answer(path, MODELS)
    with (
        httpx2.Client(auth=partner.auth()) as client,
        kinds[0](api_key="unused", base_url=partner.url, http_client=client) as sdk,
    ):
        assert [model.id for model in sdk.models.list()] == ["m"]
        partner.rotate()
        assert [model.id for model in sdk.models.list()] == ["m"]
    assert statuses(partner) == [200, 401, 200]


@SDKS
def test_an_sdk_that_takes_an_asynchronous_client_is_mended(partner, kinds, path):
    """The same on an event loop."""
    partner.answer(path, MODELS)

    async def main():
        async with (
            httpx2.AsyncClient(auth=partner.auth()) as client,
            kinds[1](api_key="unused", base_url=partner.url, http_client=client) as sdk,
        ):
            await sdk.models.list()
            partner.rotate()
            return [model.id async for model in sdk.models.list()]

    assert asyncio.run(main()) == ["m"]
    assert statuses(partner) == [200, 401, 200]
