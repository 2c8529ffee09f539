"""AWS sources in one process: what they share, what they log, and what a fork does to them."""

import gc
import logging
import os
import subprocess
import sys
import threading
import tracemalloc

import boto3
import pytest

from partner_auth.exceptions import SourceRejected, SourceUnavailable
from partner_auth.sources import AwsParameterStoreSource, AwsSecretsManagerSource
from tests.sources import aws_fixtures
from tests.sources.aws_fixtures import K1, KEYS, NAME, SESSION_TOKEN, document, refusal_of
from tests.sources.lying_server import passed_on

aws, aws_server, liar = aws_fixtures.aws, aws_fixtures.aws_server, aws_fixtures.liar


@pytest.fixture
def sessions(monkeypatch, request):
    """Return the Sessions that are made in an environment that no other test has."""
    made = []

    class Counted(boto3.Session):
        def __init__(self, **settings):
            if threading.current_thread().name.startswith("partner_auth"):  # moto makes some, too
                made.append(self)
            super().__init__(**settings)

    monkeypatch.setattr(boto3, "Session", Counted)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", f"KEYOF{hash(request.node.nodeid)}")
    return made


# Sharing


def test_sources_of_equal_settings_share_one_client(aws, liar, sessions):
    """Fifty tenants' secrets come through one connection and one Session."""
    liar.pass_on_to(aws.endpoint)
    sources = []
    for n in range(50):
        aws.create(document(K1, client_id=f"tenant-{n}"), f"tenant-{n}")
        sources.append(AwsSecretsManagerSource(f"tenant-{n}", endpoint_url=liar.url))
    assert [source.fetch().client_id for source in sources] == [f"tenant-{n}" for n in range(50)]
    assert len(sessions) == 1
    assert liar.connections == 1


def test_sources_of_other_regions_and_services_share_the_session(aws, sessions):
    """Only the clients are apart: a Session costs 8 MB."""
    aws.create(document(K1))
    aws.parameters.put_parameter(Name="p", Value=document(K1), Type="SecureString")
    sources = [AwsSecretsManagerSource(NAME), AwsParameterStoreSource("p")]
    assert [source.fetch().client_id for source in sources] == ["acme", "acme"]
    sources.append(AwsSecretsManagerSource(NAME, region="us-east-1"))
    assert sources[-1].alternates() == []
    assert len(sessions) == 1


def test_other_profiles_share_nothing(aws, liar, monkeypatch, tmp_path):
    """Each is somebody else to AWS."""
    config = tmp_path / "config"
    config.write_text(
        "".join(
            f"[profile {name}]\naws_access_key_id = {name}KEY\naws_secret_access_key = x\n"
            for name in ("one", "two")
        )
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    liar.say(refusal_of("ResourceNotFoundException"))
    sources = [
        AwsSecretsManagerSource(NAME, profile=name, endpoint_url=liar.url)
        for name in ("one", "two")
    ]
    for source in sources:
        with pytest.raises(SourceRejected):
            source.fetch()
    signed = [request.headers["authorization"] for request in liar.requests]
    assert ["oneKEY" in signed[0], "twoKEY" in signed[1]] == [True, True]


def test_another_environment_is_another_session(aws, liar, monkeypatch, sessions):
    """Credentials that are exchanged in the environment are used by the next read."""
    aws.create(document(K1))
    liar.pass_on_to(aws.endpoint)
    source = AwsSecretsManagerSource(NAME, endpoint_url=liar.url)
    source.fetch()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "NEXTKEY")
    source.fetch()
    assert "NEXTKEY" in liar.requests[-1].headers["authorization"]
    assert len(sessions) == 2


def test_many_threads_make_one_session(aws, sessions):
    """The first read of each source comes at once, and the Session is made once."""
    aws.create(document(K1))
    sources = [AwsSecretsManagerSource(NAME) for _ in range(16)]
    found = []
    threads = [
        threading.Thread(target=lambda s=source: found.append(s.fetch().client_id))
        for source in sources
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == ["acme"] * 16
    assert len(sessions) == 1


def test_the_session_goes_with_its_last_source(aws, sessions):
    """Nothing is kept that nobody can use."""
    aws.create(document(K1))
    AwsSecretsManagerSource(NAME).fetch()
    gc.collect()
    AwsSecretsManagerSource(NAME).fetch()
    assert len(sessions) == 2


def test_a_client_has_time_for_two_tries(aws, monkeypatch):
    """A quarter of `timeout` for connecting, three eighths for an answer; a thread a connection."""
    made = []

    class Seen(boto3.Session):
        def client(self, *names, config, **settings):
            made.append(config)
            return super().client(*names, config=config, **settings)

    monkeypatch.setattr(boto3, "Session", Seen)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "KEYOFTWOTRIES")
    aws.create(document(K1))
    AwsSecretsManagerSource(NAME, timeout=16).fetch()
    assert [(one.connect_timeout, one.read_timeout) for one in made] == [(4, 6)]
    assert made[0].max_pool_connections == 32


def test_the_default_session_of_the_application_is_left_alone(aws):
    """Its settings are the application's."""
    aws.create(document(K1))
    AwsSecretsManagerSource(NAME).fetch()
    assert boto3.DEFAULT_SESSION is None


def test_five_thousand_sources_are_small():
    """One object a tenant costs next to nothing, and makes nothing."""
    AwsSecretsManagerSource(NAME, region="eu-west-1")
    tracemalloc.start()
    sources = [AwsSecretsManagerSource(f"tenant-{n}", region="eu-west-1") for n in range(5000)]
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size / len(sources) < 1500


# What is loaded and started


def test_neither_import_nor_construction_loads_boto3_or_starts_a_thread():
    """It comes with the first read, and so does the reading thread."""
    code = (
        "import sys, threading; from partner_auth.sources import source_from_url as s;"
        f"s('aws-secretsmanager://{NAME}?region=eu-west-1'); s('aws-ssm://p');"
        "s('aws-secretsmanager://x?via=agent');"
        "print(sorted({'boto3', 'botocore', 'http.client'} & set(sys.modules)), "
        "threading.active_count())"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["[]", "1"]


def test_a_thread_that_can_not_be_started_is_done_without(aws, monkeypatch):
    """While the interpreter exits, 3.12 starts none: the read runs in place."""
    aws.create(document(K1))
    start = threading.Thread.start

    def refuse(thread):
        if thread.name.startswith("partner_auth"):
            raise RuntimeError("can't create new thread at interpreter shutdown")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert AwsSecretsManagerSource(NAME).fetch().client_id == "acme"


def test_a_thread_that_never_begins_is_done_without(aws, monkeypatch):
    """A uWSGI without threads starts them and never lets them run."""
    aws.create(document(K1))
    start = threading.Thread.start
    monkeypatch.setattr(
        threading.Thread,
        "start",
        lambda thread: None if thread.name.startswith("partner_auth") else start(thread),
    )
    assert AwsSecretsManagerSource(NAME).fetch().client_id == "acme"


def test_no_thread_is_left_after_a_read(aws):
    """It lives for one call."""
    aws.create(document(K1))
    before = set(threading.enumerate())
    AwsSecretsManagerSource(NAME).fetch()
    for thread in set(threading.enumerate()) - before:
        thread.join(1)
        assert not thread.is_alive()


# Logs


@pytest.fixture
def logged(aws, monkeypatch):
    """Return all that any logger says at DEBUG, tracebacks included."""
    monkeypatch.setenv("AWS_SESSION_TOKEN", SESSION_TOKEN)
    lines = []

    class Handler(logging.Handler):
        def emit(self, record):
            lines.append(f"{record.name} {self.format(record)}")

    root, handler = logging.getLogger(), Handler()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield lines
    root.removeHandler(handler)
    root.setLevel(level)


SECRETS = [K1, SESSION_TOKEN, KEYS["aws_secret_access_key"], "AWS4-HMAC-SHA256", "Signature="]


def leaks(lines):
    """Return the lines that hold what nobody may log."""
    return [line for line in lines if any(secret in line for secret in SECRETS)]


def test_debug_logs_of_a_read_hold_neither_secret_nor_signature(aws, logged):
    """Botocore logs answers and signed requests; of our reads it does not."""
    aws.create(document(K1))
    aws.parameters.put_parameter(Name="p", Value=document(K1), Type="SecureString")
    logged.clear()
    source = AwsSecretsManagerSource(NAME)
    held = source.fetch()
    source.alternates()
    AwsParameterStoreSource("p").fetch()
    assert held
    assert leaks(logged) == []
    assert len(logged) > 20  # the other lines are there


def test_debug_logs_of_a_failed_read_hold_no_signature_either(aws, liar, logged):
    """A retry and an error log more than a success."""
    liar.say(refusal_of("InternalServiceError", status=500))
    with pytest.raises(SourceUnavailable):
        AwsSecretsManagerSource(NAME, endpoint_url=liar.url).fetch()
    liar.close()
    with pytest.raises(SourceUnavailable):
        AwsSecretsManagerSource(NAME, endpoint_url=liar.url).fetch()
    assert leaks(logged) == []


def test_the_application_keeps_its_own_debug_lines(aws, logged):
    """The filter stays, and lets through what others ask AWS."""
    aws.create(document(K1))
    AwsSecretsManagerSource(NAME).fetch()
    logged.clear()
    aws.manager.get_secret_value(SecretId=NAME)
    assert [line for line in logged if line.startswith("botocore.parsers") and K1 in line]


# Fork

FORK = """
import os, sys
from partner_auth.sources import AwsSecretsManagerSource
source = AwsSecretsManagerSource(sys.argv[1], endpoint_url=sys.argv[2])
source.fetch()
child = os.fork()
source.fetch()
if not child:
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_uses_no_connection_of_its_parent(aws, liar):
    """Each has its own client; the parent goes on with the one it had."""
    aws.create(document(K1))
    liar.answer = passed_on(aws.endpoint)
    subprocess.run([sys.executable, "-c", FORK, NAME, liar.url], check=True, timeout=60)
    assert len(liar.requests) == 3
    assert liar.connections == 2
