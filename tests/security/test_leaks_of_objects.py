"""However an object is made, looked at, copied, pickled or logged: the secret is shown nowhere."""

import copy
import dataclasses
import json
import logging
import operator
import pprint

import pytest

import partner_auth
from partner_auth import (
    AwsParameterStoreSource,
    AwsSecretsManagerSource,
    ChainSource,
    Credential,
    EnvSource,
    FileSource,
    PartnerAuth,
    Secret,
    StaticSource,
    VaultSource,
    source_from_url,
)
from partner_auth.opentelemetry import Observer
from partner_auth.sources._callable import as_source
from partner_auth.testing import Clock, MemoryStore, PartnerServer

KINDS = ["plain", "odd", "hex", "bytes"]


def credentials(key):
    """Return wrong ways to make a credential."""
    return {
        "no client id": lambda: Credential("", key),
        "a number": lambda: Credential(5, key),
        "control characters": lambda: Credential("a\x00b", key),
        "a bad time": lambda: Credential("acme", key, expires_at="tomorrow"),
        "no time": lambda: Credential("acme", key, refresh_at=float("nan")),
        "a list": lambda: Credential("acme", [key]),
        "a mapping": lambda: Credential("acme", {"key": key}),
        "an unknown argument": lambda: Credential("acme", key, secret=key),
        "a secret of a list": lambda: Secret([key]),
        "a secret twice": lambda: Secret(Secret(key)),
        "a changed secret": lambda: setattr(Secret(key), "_value", key),
        "a changed credential": lambda: setattr(Credential("acme", key), "secret_key", key),
        "half a character": lambda: PartnerAuth(Credential("acme", f"{key}\ud800")).token(),
    }


def sources(key):
    """Return wrong ways to name a source, with the secret where it does not belong."""
    text = key if isinstance(key, str) else key.decode("latin-1")
    return {
        "itself": lambda: PartnerAuth(key),
        "in a list": lambda: PartnerAuth([key]),
        "in a mapping": lambda: PartnerAuth({"secret_key": key}),
        "in a tuple": lambda: PartnerAuth(("acme", key)),
        "wrapped": lambda: PartnerAuth(Secret(key)),
        "as a URL": lambda: source_from_url(text),
        "as a scheme": lambda: source_from_url(f"{text}://x"),
        "as a user": lambda: source_from_url(f"vault://{text.replace('/', '')}@secret/x"),
        "as a password": lambda: source_from_url(f"file://acme:{text}@host/x"),
        "as a parameter": lambda: source_from_url(f"env://?secret_key={text}"),
        "as a token": lambda: source_from_url(f"vault://secret/partner?token={text}"),
        "as a name": lambda: source_from_url(f"env://?{text}=1"),
        "as a fragment": lambda: source_from_url(f"env://A_#{text}"),
        "as an escape": lambda: source_from_url(f"env://A_%zz{text}"),
        "static": lambda: StaticSource(key),
        "static twice": lambda: StaticSource(Credential("acme", key), key),
        "in a chain": lambda: ChainSource(EnvSource(), key),
        "in a chain of lists": lambda: ChainSource([key]),
        "as_source": lambda: as_source(key),
        "as_source of a list": lambda: as_source([key]),
        "an address": lambda: VaultSource("secret", "x", address=f"https://acme:{text}@host"),
        "returned": lambda: PartnerAuth(lambda: key).token(),
        "returned in a list": lambda: PartnerAuth(lambda: [key]).token(),
        "of another kind": lambda: PartnerAuth(Credential("a", key), algorithm="ES256").token(),
    }


def settings(key):
    """Return settings that are no place for a secret: their frames hold what they were given."""
    text = key if isinstance(key, str) else key.decode("latin-1")
    credential = Credential("acme", "k" * 32)
    return {
        "a prefix": lambda: EnvSource(f"{text} "),
        "an encoding": lambda: FileSource("/x", secret_key_encoding=text),
        "an endpoint": lambda: AwsSecretsManagerSource("x", endpoint_url=f"https://a:{text}@host"),
        "a region": lambda: AwsParameterStoreSource("x", region=f"{text} "),
        "a name and password": lambda: AwsSecretsManagerSource(f"acme:{text}:"),
        "a client": lambda: VaultSource("secret", "x", client=key),
        "exchanged": lambda: Credential(f"{key}\n", "acme"),
        "a bad version": lambda: Credential("acme", key, version=f"{key}\x00"),
        "a bad key id": lambda: Credential("acme", key, key_id=f"{key}\x00"),
        "origins": lambda: PartnerAuth(credential, origins=f"https://a:{text}@host"),
        "a key id": lambda: PartnerAuth(credential, key_id=f"{text}\n"),
        "a clock": lambda: PartnerAuth(credential, clock=key),
        "a policy": lambda: PartnerAuth(credential, refresh=key),
        "an event": lambda: PartnerAuth(credential, on_event=key),
        "claims": lambda: PartnerAuth(credential, claims=key),
        "a list of claims": lambda: PartnerAuth(credential, claims={"x": {key}}),
        "statuses": lambda: PartnerAuth(credential, rejects=text),
        "a store": lambda: MemoryStore("acme", [key]),
        "a partner": lambda: PartnerServer(key, algorithms=["RS256"]),
    }


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("made", [credentials, sources, settings])
@pytest.mark.parametrize("times", range(3))
def test_no_wrong_use_shows_the_secret(search, shown, secret_of, made, kind, times):
    """Not in the error, its chain or a frame of ours."""
    for name in made("x"):
        thing = shown.tried(name, made(secret_of(kind))[name])
        if thing is not None:
            shown.look_at(name, thing)
    shown.__exit__()
    if made is settings:
        shown.texts = [(where, text) for where, text in shown.texts if "locals of" not in where]
    assert search.found(shown) == []
    assert shown.errors >= 9


@pytest.mark.parametrize("kind", KINDS)
def test_no_look_at_a_credential_shows_the_secret(search, shown, secret_of, kind):
    """Printed, formatted, logged, taken apart, put into JSON, copied."""
    for _ in range(20):
        credential = Credential("acme", secret_of(kind), version="7")
        secret = credential.secret_key
        for thing in (credential, secret, StaticSource(credential), PartnerAuth(credential)):
            shown.look_at("an object", thing)
            shown.pickled("an object", thing)
            for how in (copy.copy, copy.deepcopy):
                shown.look_at("a copy", shown.tried("copy", how, thing))
            shown.note("pprint", pprint.pformat(thing))
            shown.tried("JSON", json.dumps, thing)
            shown.note("JSON", json.dumps(thing, default=str))
            shown.note(
                "dir", [repr(getattr(thing, name, "")) for name in dir(thing) if name != "_value"]
            )
            logging.getLogger("x").debug("%s %r %(thing)s" if not thing else "%s", thing)
        shown.note("asdict", dataclasses.asdict(credential))
        shown.note("astuple", dataclasses.astuple(credential))
        shown.note(
            "fields", [repr(getattr(credential, f.name)) for f in dataclasses.fields(credential)]
        )
        shown.note("f-string", f"{secret} {secret!r} {secret!s:>40} {credential!s}")
        for call in (operator.lt, operator.add, operator.contains):
            shown.tried("an operator", call, secret, secret)
        for call in (list, bytes, int, len, iter, operator.attrgetter("value")):
            shown.tried("a conversion", call, secret)
        shown.note("replaced", dataclasses.replace(credential, version="8"))
    shown.__exit__()
    assert search.found(shown) == []


def test_no_look_inside_shows_a_token(search, shown, secret_of):
    """The objects that hold it: signed, lease, place, hook."""
    import requests

    for _ in range(20):
        auth = PartnerAuth(Credential("acme", secret_of()), clock=Clock())
        search.hide_token(auth.token("https://api.partner.example/"))
        request = requests.Request("GET", "https://api.partner.example/", auth=auth).prepare()
        (place,) = [one for one in auth._cache.places.values() if one.origin]
        for thing in (
            auth,
            place,
            place.lease,
            place.signed,
            auth._cache.last_signed,
            request.hooks,
        ):
            shown.look_at("an object", thing)
            shown.pickled("an object", thing)
            shown.look_at("a copy", shown.tried("copy", copy.deepcopy, thing))
    shown.__exit__()
    assert search.found(shown) == []
    assert search.tokens == 20


def test_no_metric_and_no_span_shows_a_secret(search, shown, secret_of):
    """Of what OpenTelemetry is told."""
    import requests
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    reader, spans = InMemoryMetricReader(), InMemorySpanExporter()
    tracing = TracerProvider()
    tracing.add_span_processor(SimpleSpanProcessor(spans))
    with (
        PartnerServer(secret_of()) as partner,
        requests.Session() as session,
        tracing.get_tracer("x").start_as_current_span("a request"),
    ):
        session.auth = partner.auth(on_event=Observer(MeterProvider([reader])))
        for step in (lambda: None, lambda: partner.rotate(secret_of()), partner.reject):
            step()
            session.get(f"{partner.url}/portfolio")
        partner.store.fail(ValueError(partner.secret))
        shown.tried("refresh", session.auth.refresh)
        session.get(f"{partner.url}/portfolio")
        for one in partner.requests:
            search.hide_token(one.token)
    shown.note("metrics", reader.get_metrics_data().to_json())
    shown.note("spans", [span.to_json() for span in spans.get_finished_spans()])
    shown.__exit__()
    assert search.found(shown) == []
    assert any("partner_auth" in text for where, text in shown.texts if where == "metrics")


def test_no_public_class_lacks_a_repr_of_its_own(search, shown, secret_of):
    """One that is added later is looked at as well."""
    made = {
        "Secret": lambda: Secret(secret_of()),
        "Credential": lambda: Credential("acme", secret_of()),
        "StaticSource": lambda: StaticSource(Credential("acme", secret_of())),
        "ChainSource": lambda: ChainSource(Credential("acme", secret_of())),
        "PartnerAuth": lambda: PartnerAuth(Credential("acme", secret_of())),
    }
    configured_alone = {
        "AwsParameterStoreSource", "AwsSecretsManagerSource", "CredentialSource", "EnvSource",
        "FileSource", "OriginStatus", "RefreshPolicy", "Status", "VaultSource", "source_from_url",
    }  # fmt: skip
    errors = {name for name in partner_auth.__all__ if _is_error(getattr(partner_auth, name))}
    assert set(partner_auth.__all__) == set(made) | configured_alone | errors
    for name, make in made.items():
        shown.look_at(name, make())
    shown.__exit__()
    assert search.found(shown) == []


def _is_error(thing):
    return isinstance(thing, type) and issubclass(thing, Exception)
