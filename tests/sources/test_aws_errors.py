"""AWS's refusals: what each means, whose fault it is, and how long it may take to find out."""

import threading
import time

import boto3
import botocore.exceptions
import pytest
from botocore.config import Config

from partner_auth.exceptions import ConfigurationError, SourceRejected, SourceUnavailable
from partner_auth.sources import AwsSecretsManagerSource
from tests.sources import aws_fixtures
from tests.sources.aws_fixtures import K1, KEYS, NAME, SESSION_TOKEN, document, refusal_of
from tests.sources.lying_server import DROP, HANG, Reply, black_hole, passed_on

aws, aws_server, liar = aws_fixtures.aws, aws_fixtures.aws_server, aws_fixtures.liar

WHO = "arn:aws:sts::123456789012:assumed-role/app/i-0abc"
DENIED = f"User: {WHO} is not authorized to perform: secretsmanager:GetSecretValue"
KMS = "Access to KMS is not allowed"
GONE = "You can't perform this operation on the secret because it was marked for deletion."
HTML = Reply(200, "<html><body>Log in to the hotel's network</body></html>")
JSON = {"Content-Type": "application/x-amz-json-1.1"}


def page(status):
    """Return a proxy's page."""
    return Reply(status, "<html><body>no</body></html>", {"Content-Type": "text/html"})


KINDS = {
    "wrong setting": ConfigurationError,
    "denied": SourceRejected,
    "not_found": SourceRejected,
    "deleted": SourceRejected,
}  # all other reasons are "not now"

ANSWERS = {
    "429 without a code": (Reply(429), "throttled"),
    "429 with any code": (refusal_of("Whatever", status=429), "throttled"),
    "InternalServiceError 500": (refusal_of("InternalServiceError", status=500), "unreachable"),
    "InternalServiceError 400": (refusal_of("InternalServiceError"), "unreachable"),
    "502 with a page": (page(502), "unreachable"),
    "503 with nothing": (Reply(503), "unreachable"),
    "connection closed": (DROP, "unreachable"),
    "200 with a page": (HTML, "malformed"),
    "200 {}": (Reply(200, "{}", JSON), "malformed"),
    "200 null": (Reply(200, "null", JSON), "malformed"),
    "200 []": (Reply(200, "[]", JSON), "malformed"),
    "200 with nothing": (Reply(200, "", JSON), "malformed"),
    "200 with a number": (Reply(200, '{"SecretString": 42}', JSON), "malformed"),
    "200 with no base64": (Reply(200, '{"SecretBinary": "a"}', JSON), "malformed"),
    "200 with no UTF-8": (Reply(200, b"\xff\xfe\x00", JSON), "malformed"),
    "200 cut off": (Reply(200, '{"SecretString": "k', JSON, claims=900), "malformed"),
    "204": (Reply(204), "malformed"),
    "403 with a page": (page(403), "malformed"),
    "404 with a page": (page(404), "malformed"),
    "407 with a page": (page(407), "malformed"),
    "302": (Reply(302, "", {"Location": "https://evil.example/"}), "malformed"),
    "307": (Reply(307, "", {"Location": "https://evil.example/"}), "malformed"),
    "denied by a policy": (refusal_of("AccessDeniedException", DENIED), "denied"),
    "denied by the key": (refusal_of("AccessDeniedException", KMS), "denied"),
    "not found": (refusal_of("ResourceNotFoundException"), "not_found"),
    "not found 404": (refusal_of("ResourceNotFoundException", status=404), "not_found"),
    "marked for deletion": (refusal_of("InvalidRequestException", GONE), "deleted"),
    "invalid otherwise": (refusal_of("InvalidRequestException", "elsewhere"), "unreachable"),
    "a new code": (refusal_of("SomethingQuiteNewException"), "unreachable"),
    "no code": (refusal_of("two words, and\nmore"), "unreachable"),
} | {
    f"{code} {status}": (refusal_of(code, status=status), reason)
    for status, codes in {
        400: {
            "Throttling": "throttled",
            "ThrottlingException": "throttled",
            "TooManyRequestsException": "throttled",
            "SlowDown": "throttled",
            "RequestLimitExceeded": "throttled",
            "ExpiredTokenException": "identity",
            "UnrecognizedClientException": "identity",
            "IncompleteSignature": "identity",
            "MissingAuthenticationTokenException": "identity",
            "InvalidParameterException": "wrong setting",
            "ValidationException": "wrong setting",
            "DecryptionFailure": "sealed",
            "KMSInvalidStateException": "sealed",
        },
        403: {
            "ExpiredToken": "identity",
            "UnrecognizedClient": "identity",
            "InvalidClientTokenId": "identity",
            "InvalidSignatureException": "identity",
            "SignatureDoesNotMatch": "identity",
            "RequestExpired": "identity",
        },
    }.items()
    for code, reason in codes.items()
}


def named(rows):
    """Return a table's rows under their names."""
    return [pytest.param(*row, id=name) for name, row in rows.items()]


def check(error, reason):
    """Hold the error against its row."""
    assert getattr(error, "reason", "wrong setting") == reason


@pytest.fixture(scope="module")
def once():
    """Return a client that tries once: the tries of our own are another test's business."""
    session = boto3.Session(**KEYS, aws_session_token=SESSION_TOKEN, region_name="eu-west-1")
    config = Config(retries={"total_max_attempts": 1})
    return lambda url: session.client("secretsmanager", endpoint_url=url, config=config)


@pytest.mark.parametrize("reply, reason", named(ANSWERS))
def test_each_answer_of_the_service_has_its_meaning(liar, once, refusal, reply, reason):
    """Class and reason follow the table; the error shows nothing of ours."""
    liar.say(reply)
    source = AwsSecretsManagerSource(NAME, client=once(liar.url))
    kind = KINDS.get(reason, SourceUnavailable)
    check(refusal(kind, source.fetch, SESSION_TOKEN, KEYS["aws_secret_access_key"]), reason)


@pytest.mark.parametrize("reply", [ANSWERS["a new code"][0], ANSWERS["no code"][0]])
def test_every_error_begins_with_the_source_and_fits_on_a_line(liar, once, refusal, reply):
    """What AWS calls its errors is shown only if it looks like a name."""
    liar.say(reply)
    source = AwsSecretsManagerSource(NAME, client=once(liar.url))
    error = refusal(SourceUnavailable, source.fetch)
    assert str(error).startswith(repr(source))
    assert str(error).isprintable()


def client_error(code, operation, message="", status=400):
    """Return what boto3 raises for a refusal."""
    said = {
        "Error": {"Code": code, "Message": message},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    return botocore.exceptions.ClientError(said, operation)


B = botocore.exceptions
URL = "https://x"
RAISED = {
    "no connection": (B.EndpointConnectionError(endpoint_url=URL, error="x"), "unreachable"),
    "closed": (B.ConnectionClosedError(endpoint_url=URL, request=None), "unreachable"),
    "other": (B.HTTPClientError(error="x"), "unreachable"),
    "TLS": (B.SSLError(endpoint_url=URL, error="x"), "unreachable"),
    "proxy": (B.ProxyConnectionError(proxy_url="http://x", error="x"), "unreachable"),
    "connecting took long": (B.ConnectTimeoutError(endpoint_url=URL, error="x"), "timeout"),
    "the answer took long": (B.ReadTimeoutError(endpoint_url=URL, error="x"), "timeout"),
    "no credentials": (B.NoCredentialsError(), "identity"),
    "half": (B.PartialCredentialsError(provider="env", cred_var="x"), "identity"),
    "none retrieved": (B.CredentialRetrievalError(provider="x", error_msg="x"), "identity"),
    "no token": (B.TokenRetrievalError(provider="sso", error_msg="x"), "identity"),
    "no auth token": (B.NoAuthTokenError(), "identity"),
    "SSO: not logged in": (B.SSOTokenLoadError(error_msg="x"), "identity"),
    "SSO: logged out": (B.UnauthorizedSSOTokenError(), "identity"),
    "no metadata": (B.MetadataRetrievalError(error_msg="x"), "identity"),
    "file gone": (FileNotFoundError(2, "no", "/var/run/token"), "identity"),
    "file not ours": (PermissionError(13, "no", "/var/run/token"), "identity"),
    "STS denies": (client_error("AccessDenied", "AssumeRoleWithWebIdentity"), "identity"),
    "STS doubts": (client_error("InvalidIdentityToken", "AssumeRole"), "identity"),
    "STS throttles": (client_error("Throttling", "AssumeRole"), "throttled"),
    "STS is down": (client_error("Whatever", "AssumeRole", status=500), "unreachable"),
    "STS fails": (client_error("InternalFailure", "AssumeRole"), "unreachable"),
    "no region": (B.NoRegionError(), "wrong setting"),
    "odd region": (B.InvalidRegionError(region_name="x y"), "wrong setting"),
    "no profile": (B.ProfileNotFound(profile="x"), "wrong setting"),
    "odd parameter": (B.ParamValidationError(report="x"), "wrong setting"),
    "odd config": (
        B.InfiniteLoopConfigError(source_profile="x", visited_profiles=[]),
        "wrong setting",
    ),
    "no awscrt": (B.MissingDependencyException(msg="x"), "wrong setting"),
    "no rule": (B.EndpointProviderError(msg="x"), "wrong setting"),
    "no endpoint": (B.UnknownEndpointError(service_name="x", region_name="x"), "wrong setting"),
    "a bug": (KeyError("x"), "malformed"),
}


@pytest.mark.parametrize("raised, reason", named(RAISED))
def test_each_error_of_boto3_has_its_meaning(refusal, raised, reason):
    """Class and reason follow the table, whichever base the error has."""

    class Client:
        def get_secret_value(self, **_):
            raise raised

    source = AwsSecretsManagerSource(NAME, client=Client())
    check(refusal(KINDS.get(reason, SourceUnavailable), source.fetch), reason)


# What an operator reads


def test_a_missing_secret_may_also_have_no_value(aws, refusal):
    """AWS says the same of both, so the message says both."""
    error = refusal(SourceRejected, AwsSecretsManagerSource(NAME).fetch)
    assert error.reason == "not_found"
    assert "no such secret" in str(error)
    assert "no value yet (AWSCURRENT)" in str(error)


def test_a_deleted_secret_is_said_to_be_deleted(aws, refusal):
    """It can be restored, so the message says how it stands."""
    aws.create(document(K1))
    aws.manager.delete_secret(SecretId=NAME)
    error = refusal(SourceRejected, AwsSecretsManagerSource(NAME).fetch)
    assert error.reason == "deleted"


@pytest.mark.parametrize(
    "message, right",
    [(DENIED, "secretsmanager:GetSecretValue"), (KMS, "kms:Decrypt")],
    ids=["policy", "key"],
)
def test_a_denial_names_the_right_that_is_missing(liar, once, refusal, message, right):
    """Policy and key are mended in different places."""
    liar.say(refusal_of("AccessDeniedException", message))
    error = refusal(SourceRejected, AwsSecretsManagerSource(NAME, client=once(liar.url)).fetch)
    assert right in str(error)
    assert (WHO in str(error)) == (WHO in message)
    assert message not in str(error)


def test_an_answer_that_quotes_the_request_is_not_passed_on(liar, once, refusal):
    """SignatureDoesNotMatch repeats the canonical request, session token and all."""
    said = f"The Canonical String should have been 'x-amz-security-token:{SESSION_TOKEN}'"
    liar.say(refusal_of("SignatureDoesNotMatch", said, status=403))
    source = AwsSecretsManagerSource(NAME, client=once(liar.url))
    refusal(SourceUnavailable, source.fetch, SESSION_TOKEN)


def test_a_redirect_is_not_followed(liar, once):
    """What signs for AWS is not sent where a redirect points."""
    with aws_fixtures.LyingServer() as elsewhere:
        liar.say(Reply(307, "", {"Location": elsewhere.url}))
        with pytest.raises(SourceUnavailable):
            AwsSecretsManagerSource(NAME, client=once(liar.url)).fetch()
        assert elsewhere.connections == 0


# Settings that only a read can check


def test_no_region_anywhere_says_where_to_set_one(aws, monkeypatch, refusal):
    """The message names keyword and variable."""
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    error = refusal(ConfigurationError, AwsSecretsManagerSource(NAME).fetch)
    assert "region=" in str(error)


def test_a_profile_that_is_not_there_is_a_wrong_setting(aws, refusal):
    """The message names keyword and variable."""
    error = refusal(ConfigurationError, AwsSecretsManagerSource(NAME, profile="nope").fetch)
    assert "AWS_PROFILE" in str(error)


def test_a_malformed_endpoint_in_the_environment_is_a_wrong_setting(aws, monkeypatch, refusal):
    """A bare ValueError of botocore's; what is set is not shown."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "user:pass-word@host")
    error = refusal(ConfigurationError, AwsSecretsManagerSource(NAME).fetch, "pass-word")
    assert "AWS_ENDPOINT_URL" in str(error)


def test_a_setting_mended_in_the_environment_is_seen_by_the_next_read(aws, monkeypatch):
    """What failed to be made is made anew."""
    aws.create(document(K1))
    source = AwsSecretsManagerSource(NAME)
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    with pytest.raises(ConfigurationError):
        source.fetch()
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    assert source.fetch().secret_key.reveal() == K1


def test_a_setting_mended_in_a_file_is_seen_by_the_next_read(aws, monkeypatch, tmp_path):
    """What boto3 read of a file goes with the client that could not be made of it."""
    aws.create(document(K1))
    config = tmp_path / "config"
    config.write_text("[default]\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    source = AwsSecretsManagerSource(NAME)
    with pytest.raises(ConfigurationError):
        source.fetch()
    config.write_text("[default]\nregion = eu-west-1\n")
    assert source.fetch().secret_key.reveal() == K1


# Identity


def lose_credentials(monkeypatch):
    """Take away what boto3 would find."""
    for name in KEYS:
        monkeypatch.delenv(name.upper())


def test_no_credentials_says_where_boto3_looks(aws, monkeypatch, refusal):
    """Nothing is said about the secret."""
    lose_credentials(monkeypatch)
    error = refusal(SourceUnavailable, AwsSecretsManagerSource(NAME).fetch)
    assert error.reason == "identity"
    assert "environment" in str(error)


def test_half_of_the_credentials_is_an_identity_error(aws, monkeypatch, refusal):
    """A key id without its secret is nobody."""
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    error = refusal(SourceUnavailable, AwsSecretsManagerSource(NAME).fetch)
    assert error.reason == "identity"


def test_a_lost_web_identity_token_is_named(aws, monkeypatch, refusal):
    """The bare FileNotFoundError from deep inside says which file."""
    lose_credentials(monkeypatch)
    monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/app")
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", "/nowhere/token")
    error = refusal(SourceUnavailable, AwsSecretsManagerSource(NAME).fetch)
    assert error.reason == "identity"
    assert "/nowhere/token" in str(error)


@pytest.mark.parametrize("program", ["/nowhere/program", "echo {half"], ids=["gone", "garbage"])
def test_a_program_for_credentials_that_fails_is_an_identity_error(
    aws, monkeypatch, tmp_path, refusal, program
):
    """What it wrote may be half a key, and is not shown."""
    lose_credentials(monkeypatch)
    config = tmp_path / "config"
    config.write_text(f"[default]\ncredential_process = {program}\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    error = refusal(SourceUnavailable, AwsSecretsManagerSource(NAME).fetch, "{half")
    assert error.reason == "identity"


def test_a_role_that_may_not_be_assumed_says_nothing_about_the_secret(
    aws, liar, monkeypatch, tmp_path, refusal
):
    """STS's AccessDenied is about us, not a denial of the secret."""
    config = tmp_path / "config"
    config.write_text(
        "[profile app]\nrole_arn = arn:aws:iam::123456789012:role/app\n"
        "credential_source = Environment\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", liar.url)
    denied = "<ErrorResponse><Error><Code>AccessDenied</Code></Error></ErrorResponse>"
    liar.say(Reply(403, denied, {"Content-Type": "text/xml"}))
    error = refusal(SourceUnavailable, AwsSecretsManagerSource(NAME, profile="app").fetch)
    assert error.reason == "identity"


def expired_for(key_id, upstream):
    """Stand before AWS, to which the credentials with this key id have expired."""
    through = passed_on(upstream)
    expired = refusal_of("ExpiredTokenException")
    return lambda request: (
        expired if key_id in request.headers["authorization"] else through(request)
    )


def test_credentials_renewed_during_a_read_are_found_by_that_read(aws, liar, monkeypatch):
    """One fresh try inside the same fetch, with a Session that has read the environment anew."""
    aws.create(document(K1))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "OLDKEY")
    expired = expired_for("OLDKEY", aws.endpoint)

    def renewed_meanwhile(request):
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "NEWKEY")
        return expired(request)

    liar.answer = renewed_meanwhile
    source = AwsSecretsManagerSource(NAME, endpoint_url=liar.url)
    assert source.fetch().secret_key.reveal() == K1
    assert len(liar.requests) == 2


def test_credentials_renewed_after_a_failed_read_are_found_by_the_next(aws, liar, monkeypatch):
    """No process has to be restarted after its credentials expired."""
    aws.create(document(K1))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "OLDKEY")
    liar.answer = expired_for("OLDKEY", aws.endpoint)
    source = AwsSecretsManagerSource(NAME, endpoint_url=liar.url)
    with pytest.raises(SourceUnavailable) as caught:
        source.fetch()
    assert caught.value.reason == "identity"
    assert len(liar.requests) == 2
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "NEWKEY")
    assert source.fetch().secret_key.reveal() == K1


def test_other_sources_profit_from_the_new_session(aws, liar, monkeypatch):
    """What one source found out about the shared credentials holds for all."""
    aws.create(document(K1))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "OLDKEY")
    liar.answer = expired_for("OLDKEY", aws.endpoint)
    sources = [AwsSecretsManagerSource(NAME, endpoint_url=liar.url) for _ in range(3)]
    with pytest.raises(SourceUnavailable):
        sources[0].fetch()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "NEWKEY")
    sources[1].fetch()
    before = len(liar.requests)
    sources[2].fetch()
    assert len(liar.requests) == before + 1


def test_a_read_that_fails_late_uses_the_session_made_meanwhile(aws, liar, monkeypatch, tmp_path):
    """Of two reads that meet expired credentials one makes the new Session, and both end well."""
    aws.create(document(K1))
    lose_credentials(monkeypatch)
    shared = tmp_path / "credentials"
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(shared))
    credentials = "[default]\naws_access_key_id = {}\naws_secret_access_key = x\n"
    shared.write_text(credentials.format("OLDKEY"))
    expired = expired_for("OLDKEY", aws.endpoint)
    arrived, late = threading.Event(), threading.Event()

    def answer(request):
        if len(liar.requests) == 1:
            arrived.set()
            late.wait(5)
        return expired(request)

    liar.answer = answer
    first, second = (AwsSecretsManagerSource(NAME, endpoint_url=liar.url) for _ in range(2))
    found = []
    thread = threading.Thread(target=lambda: found.append(first.fetch()))
    thread.start()
    assert arrived.wait(5)
    shared.write_text(credentials.format("NEWKEY"))
    held = second.fetch()
    account = second._account
    session = account._session
    late.set()
    thread.join()
    assert [held.client_id, *(one.client_id for one in found)] == ["acme", "acme"]
    assert account._session is session


def test_a_lasting_identity_error_does_not_make_sessions_without_end(aws, liar, monkeypatch):
    """Each costs CPU: four in a row, then one a second, and none to no avail."""
    began = time.monotonic()
    made = []

    class Counted(boto3.Session):
        def __init__(self, **settings):
            made.append(self)
            super().__init__(**settings)

    monkeypatch.setattr(boto3, "Session", Counted)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "COUNTEDKEY")
    liar.say(refusal_of("ExpiredTokenException"))
    source = AwsSecretsManagerSource(NAME, endpoint_url=liar.url)
    for _ in range(10):
        with pytest.raises(SourceUnavailable):
            source.fetch()
    assert 4 <= len(made) <= 4 + time.monotonic() - began
    assert len(liar.requests) <= 10 + len(made) / 2  # a second try is for a new Session alone


def test_a_client_of_ones_own_is_not_replaced(liar, once):
    """It is the user's; one try is all that it gets."""
    liar.say(refusal_of("ExpiredTokenException"))
    source = AwsSecretsManagerSource(NAME, client=once(liar.url))
    with pytest.raises(SourceUnavailable):
        source.fetch()
    assert len(liar.requests) == 1


# Time


def seconds(call, reason):
    """Return how long a call takes to fail for this reason."""
    began = time.monotonic()
    with pytest.raises(SourceUnavailable) as caught:
        call()
    assert caught.value.reason == reason
    return time.monotonic() - began


def test_a_passing_failure_is_tried_twice_in_all(aws, liar):
    """The second try, with botocore's own pause before it, is the last."""
    aws.create(document(K1))
    liar.say_in_turn(Reply(503), passed_on(aws.endpoint))
    assert AwsSecretsManagerSource(NAME, endpoint_url=liar.url).fetch()
    liar.say(Reply(503))
    liar.requests.clear()
    with pytest.raises(SourceUnavailable):
        AwsSecretsManagerSource(NAME, endpoint_url=liar.url).fetch()
    assert len(liar.requests) == 2


def test_a_black_hole_ends_by_the_timeout(aws):
    """Connections that are never completed hold nobody for minutes, as boto3's defaults do."""
    with black_hole() as url:
        source = AwsSecretsManagerSource(NAME, endpoint_url=url, timeout=1)
        assert 0.4 < seconds(source.fetch, "timeout") < 2


def test_a_silent_store_ends_by_the_timeout(aws, liar):
    """The same for one that takes the request and never answers."""
    liar.say(HANG)
    source = AwsSecretsManagerSource(NAME, endpoint_url=liar.url, timeout=1)
    assert 0.7 < seconds(source.fetch, "timeout") < 2


def test_a_dripping_answer_ends_by_the_timeout(aws, liar):
    """Each byte starts botocore's read time-out anew, and ours not."""
    liar.say(body="x" * 100, drip=0.05)
    source = AwsSecretsManagerSource(NAME, endpoint_url=liar.url, timeout=0.5)
    assert seconds(source.fetch, "timeout") < 2


def test_a_pause_that_aws_asks_for_ends_by_the_timeout(aws, liar):
    """Else botocore sleeps for up to 6 s before its second try."""
    throttled = refusal_of("ThrottlingException")
    liar.say(Reply(400, throttled.body, {**throttled.headers, "x-amz-retry-after": "5000"}))
    source = AwsSecretsManagerSource(NAME, endpoint_url=liar.url, timeout=0.5)
    assert seconds(source.fetch, "timeout") < 2


def test_credentials_from_a_black_hole_end_by_the_timeout(aws, monkeypatch):
    """A container's credentials take 9 s there, out of reach of every setting of boto3's."""
    lose_credentials(monkeypatch)
    with black_hole() as url:
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", url)
        source = AwsSecretsManagerSource(NAME, timeout=0.5)
        assert seconds(source.fetch, "timeout") < 2


def test_alternates_share_one_timeout(aws, liar):
    """Two stages are two questions and one budget."""
    aws.create(document(K1))
    through = passed_on(aws.endpoint)
    liar.answer = lambda request: through(request) if b"AWSCURRENT" in request.body else HANG
    source = AwsSecretsManagerSource(NAME, endpoint_url=liar.url, timeout=1)
    held = source.fetch()
    began = time.monotonic()
    assert source.alternates() == []
    assert time.monotonic() - began < 2
    assert held


def test_calls_that_hang_do_not_pile_up(aws, liar):
    """While four that were given up still hang, the next fails at once and asks nothing."""
    liar.say(body="x" * 400, drip=0.05)
    source = AwsSecretsManagerSource(NAME, endpoint_url=liar.url, timeout=0.4)
    for _ in range(4):
        seconds(source.fetch, "timeout")
    asked = len(liar.requests)
    assert seconds(source.fetch, "timeout") < 0.3
    assert len(liar.requests) == asked
