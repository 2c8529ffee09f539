"""`partner_auth.opentelemetry`, with the SDK's own in-memory exporters."""

from __future__ import annotations

import pickle

import httpx
import pytest
import requests
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from partner_auth import SourceRejected, SourceUnavailable
from partner_auth.opentelemetry import Observer
from partner_auth.testing import Clock, PartnerServer
from tests.concurrency.kit import quiet

SOURCE = "MemoryStore('acme')"


class Metrics:
    """What was measured so far."""

    def __init__(self):
        self.reader = InMemoryMetricReader()
        self.provider = MeterProvider([self.reader])

    def points(self, name):
        """Return a metric's points: each one's attributes, and its value or its count."""
        quiet()  # a read is told of after its waiters have woken
        data = self.reader.get_metrics_data()
        found = data.resource_metrics[0].scope_metrics[0].metrics if data else []
        return [
            (dict(point.attributes), getattr(point, "value", None) or getattr(point, "count", 0))
            for metric in found
            if metric.name == f"partner_auth.{name}"
            for point in metric.data.data_points
        ]

    def units(self):
        """Return each metric's unit."""
        quiet()
        (scope,) = self.reader.get_metrics_data().resource_metrics[0].scope_metrics
        return {metric.name: metric.unit for metric in scope.metrics}


@pytest.fixture
def metrics():
    """Measure in memory."""
    measured = Metrics()
    yield measured
    measured.provider.shutdown()


@pytest.fixture
def auth(partner_server, metrics):
    """Make an object that is observed."""
    return partner_server.auth(on_event=Observer(metrics.provider))


@pytest.fixture
def spans():
    """Record spans in memory: the tracer, and those that have ended."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    yield provider.get_tracer("test"), exporter.get_finished_spans
    provider.shutdown()


def get(server, auth):
    """Send a GET."""
    return requests.get(f"{server.url}/portfolio", auth=auth, timeout=10).status_code


def test_reads_and_tokens_are_counted(partner_server, metrics, auth):
    """By source, tokens by origin too."""
    get(partner_server, auth)
    get(partner_server, auth)
    assert metrics.points("source.fetches") == [({"partner_auth.source": SOURCE}, 1)]
    assert metrics.points("source.fetch.duration") == [({"partner_auth.source": SOURCE}, 1)]
    where = {"partner_auth.source": SOURCE, "partner_auth.origin": partner_server.url}
    assert metrics.points("token.signed") == [(where, 1)]


def test_a_rotation_and_its_resend_are_counted(partner_server, metrics, auth):
    """With the reason of the resend."""
    get(partner_server, auth)
    partner_server.rotate()
    assert get(partner_server, auth) == 200
    where = {"partner_auth.source": SOURCE, "partner_auth.origin": partner_server.url}
    assert metrics.points("credential.rotations") == [({"partner_auth.source": SOURCE}, 1)]
    assert metrics.points("request.resent") == [(where | {"partner_auth.why": "rotated"}, 1)]
    assert metrics.points("request.rejected") == []


def test_a_refusal_is_counted(partner_server, metrics, auth):
    """Once for each 401 that went back."""
    partner_server.reject()
    assert get(partner_server, auth) == 401
    where = {"partner_auth.source": SOURCE, "partner_auth.origin": partner_server.url}
    assert metrics.points("request.rejected") == [(where, 1)]


def test_a_failed_read_is_counted_by_its_reason(partner_server, metrics, auth):
    """As `error.type`, beside those that landed."""
    partner_server.store.fail(SourceUnavailable("the store is down", reason="sealed"))
    with pytest.raises(SourceUnavailable):
        auth.token()
    failed = {"partner_auth.source": SOURCE, "error.type": "sealed"}
    assert metrics.points("source.fetches") == [(failed, 1)]


def test_the_age_grows_until_the_next_read(metrics):
    """In seconds, by the clock that it is given."""
    clock = Clock()
    with PartnerServer(clock=clock) as server:
        auth = server.auth(on_event=Observer(metrics.provider, clock=clock))
        assert metrics.points("credential.age") == []
        auth.token()
        quiet()
        clock.advance(300)
        assert metrics.points("credential.age") == [({"partner_auth.source": SOURCE}, 300)]
        auth.refresh()
        quiet()
        clock.advance(1)
        assert metrics.points("credential.age") == [({"partner_auth.source": SOURCE}, 1)]


def test_what_is_not_held_has_no_age(partner_server, metrics, auth):
    """The store has revoked it."""
    auth.token()
    partner_server.store.fail(SourceRejected("gone", reason="deleted"))
    with pytest.raises(SourceRejected):
        auth.refresh()
    assert metrics.points("credential.age") == []


def test_an_outage_does_not_end_the_age(partner_server, metrics, auth):
    """What is held serves, and grows older."""
    auth.token()
    partner_server.store.fail(SourceUnavailable("down"))
    with pytest.raises(SourceUnavailable):
        auth.refresh()
    assert len(metrics.points("credential.age")) == 1


def test_stale_service_is_counted(metrics):
    """A credential past its time, while the store is away."""
    clock = Clock()
    with PartnerServer(clock=clock) as server:
        auth = server.auth(on_event=Observer(metrics.provider, clock=clock))
        auth.token()
        server.store.fail(SourceUnavailable("down"))
        with pytest.raises(SourceUnavailable):
            auth.refresh()
        clock.advance(1000)
        auth.token()
        assert metrics.points("credential.stale")[0][1] >= 1


def test_the_clock_s_offset_is_a_gauge(partner_server, metrics, auth):
    """In seconds, at the origin whose clock differs."""
    partner_server.skew(-300)
    assert get(partner_server, auth) == 200
    ((where, offset),) = metrics.points("clock.offset")
    assert where["partner_auth.origin"] == partner_server.url
    assert -302 < offset < -298


def test_units_are_named(partner_server, metrics, auth):
    """Seconds, or what is counted in braces, as the conventions want it."""
    get(partner_server, auth)
    units = metrics.units()
    assert units["partner_auth.source.fetch.duration"] == "s"
    assert units["partner_auth.credential.age"] == "s"
    assert units["partner_auth.token.signed"] == "{token}"


def test_events_stand_on_the_span_of_the_request(partner_server, metrics, spans):
    """That which is current where the request is made."""
    tracer, finished = spans
    auth = partner_server.auth(on_event=Observer(metrics.provider))
    auth.token()
    partner_server.rotate()
    with tracer.start_as_current_span("GET /portfolio"):
        get(partner_server, auth)
    (span,) = finished()
    names = [event.name for event in span.events]
    assert "partner_auth.RequestResent" in names
    (resent,) = [event for event in span.events if event.name == "partner_auth.RequestResent"]
    assert resent.attributes["partner_auth.why"] == "rotated"
    assert resent.attributes["partner_auth.sends"] == 2


def test_a_read_belongs_to_no_request(partner_server, metrics, spans):
    """It runs in a thread of its own, so no span of a request bears it."""
    tracer, finished = spans
    auth = partner_server.auth(on_event=Observer(metrics.provider))
    with tracer.start_as_current_span("GET /portfolio"):
        get(partner_server, auth)
    assert "partner_auth.CredentialFetched" not in [event.name for event in finished()[0].events]


def test_a_request_in_an_event_loop_has_its_events_too(partner_server, metrics, spans):
    """With httpx and asyncio."""
    import asyncio

    tracer, finished = spans
    auth = partner_server.auth(on_event=Observer(metrics.provider))

    async def send():
        with tracer.start_as_current_span("GET /portfolio"):
            async with httpx.AsyncClient(auth=auth) as client:
                assert (await client.get(f"{partner_server.url}/portfolio")).status_code == 200

    asyncio.run(send())
    assert "partner_auth.TokenSigned" in [event.name for event in finished()[0].events]


def test_without_a_span_nothing_is_wrong(partner_server, auth):
    """Metrics alone are fine."""
    assert get(partner_server, auth) == 200


def test_neither_secret_nor_token_is_an_attribute(partner_server, metrics, spans):
    """In metrics and in spans; nor is a version or a client id that of a metric."""
    tracer, finished = spans
    auth = partner_server.auth(on_event=Observer(metrics.provider))
    with tracer.start_as_current_span("GET /portfolio"):
        get(partner_server, auth)
        partner_server.rotate(overlap=True)
        auth.refresh()
        get(partner_server, auth)
        partner_server.reject()
        get(partner_server, auth)
    told = str([[event.attributes for event in span.events] for span in finished()])
    measured = metrics.reader.get_metrics_data().to_json()
    for token in [request.token for request in partner_server.requests]:
        assert token not in told + measured
    assert partner_server.secret not in told + measured
    for name in ("token.signed", "source.fetches", "credential.rotations", "request.rejected"):
        names = {attribute for where, _ in metrics.points(name) for attribute in where}
        assert names <= {"partner_auth.source", "partner_auth.origin"}


def test_the_next_callback_is_called(partner_server, metrics):
    """`then=` takes each event, as `on_event` would."""
    seen = []
    partner_server.auth(on_event=Observer(metrics.provider, then=seen.append)).token()
    quiet()
    assert {type(event).__name__ for event in seen} == {"CredentialFetched", "TokenSigned"}


def test_one_observer_serves_many(metrics):
    """Their sources tell them apart."""
    observer = Observer(metrics.provider)
    with PartnerServer(client_id="one") as one, PartnerServer(client_id="two") as two:
        one.auth(on_event=observer).token()
        two.auth(on_event=observer).token()
    sources = {where["partner_auth.source"] for where, _ in metrics.points("source.fetches")}
    assert sources == {"MemoryStore('one')", "MemoryStore('two')"}


def test_it_can_be_pickled_with_the_object(partner_server):
    """As one that reports to the global provider; one with its own says that it can't."""
    again = pickle.loads(pickle.dumps(Observer()))
    assert isinstance(again, Observer)
    with pytest.raises(TypeError, match="leave it out"):
        pickle.dumps(Observer(MeterProvider()))
