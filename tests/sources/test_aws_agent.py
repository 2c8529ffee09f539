"""AWS Secrets Manager through the local agent: its cache, its token, its refusals."""

import base64
import json
import socket
import sys
import threading
import time
from urllib.parse import parse_qs, urlsplit

import pytest

from partner_auth.exceptions import ConfigurationError, SourceRejected, SourceUnavailable
from partner_auth.sources import AwsSecretsManagerSource, _aws_agent, source_from_url
from tests.sources import aws_fixtures
from tests.sources.aws_fixtures import K0, K1, K2, NAME, document
from tests.sources.lying_server import DROP, HANG, LyingServer, Reply, black_hole

TOKEN = "fY1pWqk0Zq9-agent"
liar = aws_fixtures.liar


class Agent:
    """Stands in for the agent: keeps what it read, and asks again for `refreshNow` alone."""

    def __init__(self, server):
        self.stages = {}
        self.kept = {}
        self.token = TOKEN
        self.asked = []
        self.server = server
        server.answer = self.answer

    def put(self, stage, content, version="v1", created=1569534789.046):
        """Store what AWS would hold."""
        name = "SecretString" if isinstance(content, str) else "SecretBinary"
        if isinstance(content, bytes):
            content = base64.b64encode(content).decode()
        self.stages[stage] = {
            "ARN": "arn:aws:secretsmanager:eu-west-1:123456789012:secret:prod/partner-AbCdEf",
            "Name": NAME,
            "VersionId": version,
            name: content,
            "VersionStages": [stage],
            "CreatedDate": str(created),
        }

    def answer(self, request):
        """Answer as the agent does."""
        if request.headers.get("x-aws-parameters-secrets-token") != self.token:
            return Reply(403, "Bad Token")
        url = urlsplit(request.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        self.asked.append(query)
        if url.path != "/secretsmanager/get" or request.method != "GET":
            return Reply(404, "Not found")
        stage = query["versionStage"]
        if query.get("refreshNow") == "true":
            self.kept.pop(stage, None)
        if stage not in self.kept and query["secretId"] == NAME and stage in self.stages:
            self.kept[stage] = self.stages[stage]
        if stage not in self.kept:
            return Reply(400, {"__type": "ResourceNotFoundException", "message": "can't find"})
        return Reply(200, self.kept[stage])


@pytest.fixture
def agent(liar, monkeypatch):
    """Run the agent where its variables say."""
    monkeypatch.setenv("AWS_TOKEN", TOKEN)
    monkeypatch.setenv("PARAMETERS_SECRETS_EXTENSION_HTTP_PORT", str(liar.port))
    return Agent(liar)


@pytest.fixture
def source():
    """Read the secret that most tests use."""
    return AwsSecretsManagerSource(NAME, via="agent")


def test_a_secret_comes_through_the_agent(agent, source):
    """Id, key and version are those of the answer, which has GetSecretValue's shape."""
    agent.put("AWSCURRENT", document(K1), "v7")
    credential = source.fetch()
    assert (credential.client_id, credential.secret_key.reveal()) == ("acme", K1)
    assert credential.version == "v7"
    assert agent.asked == [{"secretId": NAME, "versionStage": "AWSCURRENT"}]


def test_a_binary_secret_comes_through_the_agent(agent):
    """The agent writes bytes as base64."""
    raw = bytes(range(128, 192))
    agent.put("AWSCURRENT", raw)
    url = f"aws-secretsmanager://{NAME}?via=agent&client_id=acme"
    assert source_from_url(url).fetch().secret_key.reveal() == raw


def test_a_fresh_read_goes_past_what_the_agent_keeps(agent, source):
    """After a rejection a read of the cache would prove nothing."""
    agent.put("AWSCURRENT", document(K1))
    source.fetch()
    agent.put("AWSCURRENT", document(K2))
    assert source.fetch().secret_key.reveal() == K1
    assert source.fetch_fresh().secret_key.reveal() == K2
    assert source.fetch().secret_key.reveal() == K2


def test_alternates_go_past_what_the_agent_keeps(agent, source):
    """They are read after a rejection alone."""
    agent.put("AWSCURRENT", document(K1))
    agent.put("AWSPENDING", document(K0), created=1569534789.1)
    held = source.fetch()
    assert [one.secret_key.reveal() for one in source.alternates()] == [K0]
    agent.put("AWSPENDING", document(K2), created=1569534789.1)
    agent.put("AWSPREVIOUS", document(K0), created=1)
    assert [one.secret_key.reveal() for one in source.alternates()] == [K2, K0]
    assert held


def test_a_pending_secret_older_than_the_current_one_comes_last(agent, source):
    """The agent writes times as texts."""
    agent.put("AWSCURRENT", document(K1), created=1569534789.5)
    agent.put("AWSPENDING", document(K2), created=1569534789.4)
    agent.put("AWSPREVIOUS", document(K0), created=1)
    assert [one.secret_key.reveal() for one in source.alternates()] == [K0, K2]


@pytest.mark.parametrize(
    "name", ["/prod/x", "a+b@c=d", "arn:aws:secretsmanager:eu-west-1:123456789012:secret:x"]
)
def test_names_reach_the_agent_letter_by_letter(agent, name):
    """What means something in a URL is escaped."""
    with pytest.raises(SourceRejected):
        AwsSecretsManagerSource(name, via="agent").fetch()
    assert agent.asked[0]["secretId"] == name


def test_boto3_is_not_needed(agent, source, monkeypatch):
    """The agent saves its import and its credentials."""
    monkeypatch.setitem(sys.modules, "boto3", None)
    monkeypatch.setitem(sys.modules, "botocore", None)
    agent.put("AWSCURRENT", document(K1))
    assert AwsSecretsManagerSource(NAME, via="agent").fetch().client_id == "acme"


# The token


def test_the_token_may_stand_in_a_file(agent, source, tmp_path, monkeypatch):
    """As AWS_TOKEN=file://… says, read at each fetch: it changes when the agent restarts."""
    agent.put("AWSCURRENT", document(K1))
    file = tmp_path / "awssmatoken"
    monkeypatch.setenv("AWS_TOKEN", f"file://{file}")
    for token in ("first", "second"):
        file.write_text(f"{token}\n")
        agent.token = token
        assert source.fetch().client_id == "acme"


def test_the_token_of_an_installed_agent_is_found(agent, source, tmp_path, monkeypatch):
    """Its installer puts it into one place; a session token in the environment is another's."""
    agent.put("AWSCURRENT", document(K1))
    installed = tmp_path / "awssmatoken"
    installed.write_text(TOKEN)
    monkeypatch.setattr(_aws_agent, "_INSTALLED", installed)
    monkeypatch.delenv("AWS_TOKEN")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "somebody-else's")
    assert source.fetch().client_id == "acme"


@pytest.mark.parametrize("variable", ["AWS_SESSION_TOKEN", "AWS_CONTAINER_AUTHORIZATION_TOKEN"])
def test_in_a_lambda_function_the_token_is_the_environments(agent, source, monkeypatch, variable):
    """SnapStart has the second one instead of the first."""
    agent.put("AWSCURRENT", document(K1))
    monkeypatch.delenv("AWS_TOKEN")
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "f")
    monkeypatch.setenv(variable, TOKEN)
    assert source.fetch().client_id == "acme"


@pytest.mark.parametrize("token", ["", "file:///nowhere/token", "a\nb", "schlüssel"])
def test_no_usable_token_is_an_identity_error(agent, source, monkeypatch, refusal, token):
    """The message says where it is looked for, and nothing is asked."""
    monkeypatch.setenv("AWS_TOKEN", token)
    error = refusal(SourceUnavailable, source.fetch, "schlüssel")
    assert error.reason == "identity"
    assert "AWS_TOKEN" in str(error)
    assert agent.asked == []


def test_a_wrong_token_is_an_identity_error(agent, source, refusal):
    """The agent's 403 is about us, and does not show what we sent."""
    agent.token = "another"
    error = refusal(SourceUnavailable, source.fetch, TOKEN)
    assert error.reason == "identity"


# Refusals


ANSWERS = {
    "missing": (Reply(400, {"__type": "ResourceNotFoundException", "message": "x"}), "not_found"),
    "denied": (Reply(400, {"__type": "AccessDeniedException", "Message": "x"}), "denied"),
    "deleted": (
        Reply(400, {"__type": "InvalidRequestException", "message": "marked for deletion"}),
        "deleted",
    ),
    "its own identity": (Reply(400, {"__type": "ExpiredTokenException"}), "identity"),
    "AWS throttles": (Reply(400, {"__type": "ThrottlingException"}), "throttled"),
    "it throttles": (Reply(429, "Connection limit exceeded"), "throttled"),
    "failure": (Reply(500, {"__type": "InternalFailure"}), "unreachable"),
    "no network": (Reply(502, {"__type": "ConnectionError", "message": "x"}), "unreachable"),
    "time-out": (Reply(504, {"__type": "TimeoutError", "message": "x"}), "unreachable"),
    "not serving": (Reply(503, "Serving not enabled"), "unreachable"),
    "not ready": (Reply(400, "not ready to serve traffic, please wait"), "malformed"),
    "404": (Reply(404, "Not found"), "malformed"),
    "a page": (Reply(200, "<html>"), "malformed"),
    "{}": (Reply(200, "{}"), "malformed"),
    "[]": (Reply(200, "[]"), "malformed"),
    "nothing": (Reply(200), "malformed"),
    "cut off": (Reply(200, '{"SecretString": "k', claims=900), "malformed"),
    "a number": (Reply(200, {"SecretBinary": 42}), "malformed"),
    "no base64": (Reply(200, {"SecretBinary": "%%%"}), "malformed"),
    "endless": (Reply(200, '{"SecretString": "' + "x" * 600_000 + '"}'), "malformed"),
    "a bomb": (Reply(200, "[" * 100_000), "malformed"),
    "redirect": (Reply(302, "", {"Location": "http://localhost:1/"}), "malformed"),
    "closed": (DROP, "unreachable"),
}


@pytest.mark.parametrize(
    "reply, reason", [pytest.param(*row, id=name) for name, row in ANSWERS.items()]
)
def test_each_answer_of_the_agent_has_its_meaning(agent, source, liar, refusal, reply, reason):
    """AWS's refusals come through it, and mean what they mean elsewhere."""
    liar.say(reply)
    rejected = reason in ("not_found", "denied", "deleted")
    error = refusal(SourceRejected if rejected else SourceUnavailable, source.fetch, TOKEN)
    assert error.reason == reason
    assert str(error).startswith(repr(source))


def test_an_agent_that_does_not_run_is_unreachable(agent, source, liar, refusal):
    """The message says where it was looked for."""
    liar.close()
    error = refusal(SourceUnavailable, source.fetch)
    assert error.reason == "unreachable"
    assert f"localhost:{liar.port}" in str(error)


@pytest.mark.parametrize("port", ["http", "0", "65536", "²"])
def test_a_port_that_is_none_is_a_wrong_setting(agent, source, monkeypatch, refusal, port):
    """The message names the variable."""
    monkeypatch.setenv("PARAMETERS_SECRETS_EXTENSION_HTTP_PORT", port)
    error = refusal(ConfigurationError, source.fetch)
    assert "PARAMETERS_SECRETS_EXTENSION_HTTP_PORT" in str(error)


@pytest.mark.parametrize("port", ["1", "65535"])
def test_the_first_and_the_last_port_are_ports(agent, source, monkeypatch, refusal, port):
    """Nobody answers there, which is no wrong setting."""
    monkeypatch.setenv("PARAMETERS_SECRETS_EXTENSION_HTTP_PORT", port)
    assert refusal(SourceUnavailable, source.fetch).reason == "unreachable"


@pytest.mark.parametrize(
    "status, words", [(400, "does not serve yet: update it"), (404, "HTTP 404 is no answer")]
)
def test_what_the_agent_has_no_words_for_is_told_apart(source, agent, liar, refusal, status, words):
    """An agent that is too old, or starting, is mended elsewhere than another server there."""
    liar.say(Reply(status, "no"))
    assert words in str(refusal(SourceUnavailable, source.fetch))


def test_a_port_where_no_http_is_spoken_is_malformed(agent, source, monkeypatch, refusal):
    """Somebody else has the agent's port."""

    def speak():
        with listening.accept()[0] as connection:
            connection.sendall(b"SSH-2.0-OpenSSH_9.6\r\n\r\n")
            connection.recv(4096)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        monkeypatch.setenv(
            "PARAMETERS_SECRETS_EXTENSION_HTTP_PORT", str(listening.getsockname()[1])
        )
        threading.Thread(target=speak, daemon=True).start()
        assert refusal(SourceUnavailable, source.fetch).reason == "malformed"


def test_an_odd_date_is_no_date(agent, source):
    """It only decides about an order."""
    agent.put("AWSCURRENT", document(K1), created="soon")
    agent.put("AWSPENDING", document(K2), created="later")
    assert [one.secret_key.reveal() for one in source.alternates()] == [K2]


def test_neither_redirects_nor_proxies_are_followed(agent, source, liar, monkeypatch):
    """The token goes to the loopback and nowhere else."""
    agent.put("AWSCURRENT", document(K1))
    with LyingServer() as elsewhere:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
            monkeypatch.setenv(name, elsewhere.url)
        assert source.fetch().client_id == "acme"
        liar.say(Reply(307, "", {"Location": elsewhere.url}))
        with pytest.raises(SourceUnavailable):
            source.fetch()
        assert elsewhere.connections == 0


def test_a_broken_connection_is_tried_once_more(agent, source, liar):
    """The agent may have been restarted, or have asked AWS meanwhile."""
    agent.put("AWSCURRENT", document(K1))
    liar.say_in_turn(DROP, agent.answer)
    assert source.fetch().client_id == "acme"


def test_an_answer_that_does_not_come_is_asked_for_once_more(agent, liar):
    """Three eighths of the time are for one try: the agent may have it by the second."""
    agent.put("AWSCURRENT", document(K1))
    liar.say_in_turn(HANG, agent.answer)
    source = AwsSecretsManagerSource(NAME, via="agent", timeout=1)
    assert source.fetch().client_id == "acme"


def test_an_agent_that_takes_no_connection_is_named(agent, monkeypatch, refusal):
    """A quarter of the time is for connecting: two tries end before the read does."""
    with black_hole() as url:
        monkeypatch.setenv("PARAMETERS_SECRETS_EXTENSION_HTTP_PORT", url.rpartition(":")[2])
        source = AwsSecretsManagerSource(NAME, via="agent", timeout=1)
        error = refusal(SourceUnavailable, source.fetch)
    assert error.reason == "timeout"
    assert "from the agent at localhost:" in str(error)


@pytest.mark.parametrize(
    "reply", [HANG, Reply(200, "x" * 100, drip=0.05)], ids=["silent", "dripping"]
)
def test_an_agent_that_hangs_ends_by_the_timeout(agent, liar, reply):
    """The agent itself waits for AWS up to a minute."""
    liar.say(reply)
    source = AwsSecretsManagerSource(NAME, via="agent", timeout=0.5)
    began = time.monotonic()
    with pytest.raises(SourceUnavailable) as caught:
        source.fetch()
    assert caught.value.reason == "timeout"
    assert time.monotonic() - began < 2


def test_what_is_kept_is_small_enough_for_the_largest_secret(agent, source):
    """A secret of 64 KiB, with each character escaped, is not cut off."""
    secret = json.dumps({"client_id": "a", "secret_key": "é" * 30_000}, ensure_ascii=False)
    agent.put("AWSCURRENT", secret)
    assert len(source.fetch().secret_key.reveal()) == 30_000


def test_no_thread_is_left_after_a_read(agent, source):
    """It lives for one call."""
    agent.put("AWSCURRENT", document(K1))
    before = set(threading.enumerate())
    source.fetch()
    for thread in set(threading.enumerate()) - before:
        thread.join(1)
        assert not thread.is_alive()
