"""AWS Parameter Store: values, versions, names, and what its refusals mean."""

import json
import pickle

import pytest

from partner_auth.exceptions import ConfigurationError, SourceRejected, SourceUnavailable
from partner_auth.sources import AwsParameterStoreSource, source_from_url
from tests.sources import aws_fixtures
from tests.sources.aws_fixtures import K0, K1, K2, document, refusal_of
from tests.sources.lying_server import Reply

aws, aws_server, liar = aws_fixtures.aws, aws_fixtures.aws_server, aws_fixtures.liar

NAME = "/prod/partner"
ARN = "arn:aws:ssm:eu-west-1:123456789012:parameter/prod/partner"


@pytest.fixture
def put(aws):
    """Return a function that writes the next version."""

    def put(text, name=NAME, kind="SecureString"):
        aws.parameters.put_parameter(Name=name, Value=text, Type=kind, Overwrite=True)

    return put


def keys(credentials):
    """Return what is compared most."""
    return [one.secret_key.reveal() for one in credentials]


@pytest.mark.parametrize("kind", ["SecureString", "String"])
def test_a_parameter_becomes_a_credential_with_its_version(put, kind):
    """It is decrypted where it is encrypted."""
    put(document(K0), kind=kind)
    put(document(K1), kind=kind)
    credential = AwsParameterStoreSource(NAME).fetch()
    assert (credential.client_id, credential.secret_key.reveal()) == ("acme", K1)
    assert credential.version == "2"


def test_the_url_takes_the_same_parameters(put):
    """Fields, region and time-out are keywords of the same name."""
    put(K1)
    url = f"aws-ssm://{NAME}?region=eu-west-1&client_id=acme&timeout=5"
    source = source_from_url(url)
    assert isinstance(source, AwsParameterStoreSource)
    assert source.fetch().secret_key.reveal() == K1
    assert repr(source) == (
        "AwsParameterStoreSource('/prod/partner', region='eu-west-1', client_id='acme')"
    )


def test_a_bare_arn_is_read_in_its_own_region(aws, put, liar):
    """`arn:aws:ssm:…` is a source URL, too, and its region wins."""
    liar.say(refusal_of("ParameterNotFound"))
    far = ARN.replace("eu-west-1", "us-east-2")
    with pytest.raises(SourceRejected):
        source_from_url(f"{far}?endpoint_url={liar.url}&region=eu-west-1").fetch()
    assert "/us-east-2/ssm/" in liar.requests[0].headers["authorization"]


@pytest.mark.parametrize(
    "url, name", [("aws-ssm:///x", "/x"), ("aws-ssm://x", "x"), ("aws-ssm://A/b%2Bc", "A/b+c")]
)
def test_names_are_kept_letter_by_letter(aws, liar, url, name):
    """Slashes and case are part of the name."""
    liar.say(refusal_of("ParameterNotFound"))
    with pytest.raises(SourceRejected):
        source_from_url(f"{url}?endpoint_url={liar.url}").fetch()
    assert json.loads(liar.requests[0].body) == {"Name": name, "WithDecryption": True}


def test_a_version_can_be_picked_by_number_or_label(aws, put):
    """As AWS writes it: behind a colon."""
    put(document(K0))
    put(document(K1))
    aws.parameters.label_parameter_version(Name=NAME, ParameterVersion=1, Labels=["blue"])
    assert source_from_url(f"aws-ssm://{NAME}:1").fetch().secret_key.reveal() == K0
    assert AwsParameterStoreSource(f"{NAME}:blue").fetch().secret_key.reveal() == K0


def test_the_alternate_is_the_version_before(put):
    """Parameter Store knows nothing that is pending."""
    for key in (K0, K1, K2):
        put(document(key))
    (previous,) = AwsParameterStoreSource(NAME).alternates()
    assert (previous.secret_key.reveal(), previous.version) == (K1, "2")


def test_the_alternate_of_a_picked_version_is_the_one_before_it(put):
    """The number is the one that was read."""
    for key in (K0, K1, K2):
        put(document(key))
    assert keys(AwsParameterStoreSource(f"{NAME}:2").alternates()) == [K0]


def test_the_alternate_of_an_arn_is_asked_for_by_the_arn(aws, put, liar):
    """Its own colons are no version."""
    value = {"Name": NAME, "Value": document(K1), "Version": 7, "Type": "SecureString"}
    liar.say(Reply(200, {"Parameter": value}))
    source = AwsParameterStoreSource(f"{ARN}:live", endpoint_url=liar.url)
    held = source.fetch()
    assert source.alternates() == []
    assert f'"{ARN}:6"'.encode() in liar.requests[-1].body
    assert held


def test_nothing_is_asked_for_before_the_first_version(aws, put, liar):
    """There is no version 0."""
    put(document(K1))
    liar.pass_on_to(aws.endpoint)
    source = AwsParameterStoreSource(NAME, endpoint_url=liar.url)
    held = source.fetch()
    assert source.alternates() == []
    assert len(liar.requests) == 1
    assert held


def test_a_version_before_with_the_same_key_is_no_alternate(put):
    """Terraform writes the same value again."""
    put(document(K1))
    put(document(K1))
    assert AwsParameterStoreSource(NAME).alternates() == []


ANSWERS = {
    "no parameter": (refusal_of("ParameterNotFound"), SourceRejected, "not_found"),
    "no version": (refusal_of("ParameterVersionNotFound"), SourceRejected, "not_found"),
    "denied": (refusal_of("AccessDeniedException"), SourceRejected, "denied"),
    "key": (refusal_of("InvalidKeyId"), SourceUnavailable, "sealed"),
    "throttled": (refusal_of("ThrottlingException"), SourceUnavailable, "throttled"),
    "failure": (refusal_of("InternalServerError", status=500), SourceUnavailable, "unreachable"),
    "expired": (refusal_of("ExpiredTokenException"), SourceUnavailable, "identity"),
    "odd": (refusal_of("ValidationException"), ConfigurationError, None),
    "{}": (Reply(200, "{}"), SourceUnavailable, "malformed"),
    "no value": (Reply(200, {"Parameter": {"Name": NAME}}), SourceUnavailable, "malformed"),
    "a number": (Reply(200, {"Parameter": {"Value": 42}}), SourceUnavailable, "malformed"),
    "a list": (Reply(200, {"Parameter": []}), SourceUnavailable, "malformed"),
}


@pytest.mark.parametrize(
    "reply, kind, reason", [pytest.param(*row, id=name) for name, row in ANSWERS.items()]
)
def test_each_answer_of_the_service_has_its_meaning(aws, liar, refusal, reply, kind, reason):
    """Class and reason follow the table of Secrets Manager."""
    liar.say(reply)
    error = refusal(kind, AwsParameterStoreSource(NAME, endpoint_url=liar.url).fetch)
    assert getattr(error, "reason", None) == reason


def test_a_denial_names_the_right_that_is_missing(aws, liar, refusal):
    """IAM calls it after service and operation."""
    liar.say(refusal_of("AccessDeniedException"))
    error = refusal(SourceRejected, AwsParameterStoreSource(NAME, endpoint_url=liar.url).fetch)
    assert "ssm:GetParameter" in str(error)


@pytest.mark.parametrize(
    "name",
    ["", "a:b:c", "user:pass@host/x", "arn:aws:secretsmanager:eu-west-1:123456789012:secret:x", 3],
)
def test_a_name_that_aws_can_not_have_is_refused_unseen(name):
    """What has colons may be a user and a password, so it is not shown."""
    with pytest.raises(ConfigurationError) as caught:
        AwsParameterStoreSource(name)
    assert not name or str(name) not in str(caught.value)


def test_stages_and_the_agent_are_no_parameters_of_it():
    """They belong to Secrets Manager."""
    with pytest.raises(ConfigurationError, match="knows no parameter"):
        source_from_url("aws-ssm://x?version_stage=AWSCURRENT")


def test_a_pickled_source_reads_in_its_new_home(put):
    """It carries settings, and neither client nor credential."""
    put(document(K1))
    source = AwsParameterStoreSource(NAME)
    source.fetch()
    loaded = pickle.loads(pickle.dumps(source))
    assert loaded.fetch().secret_key.reveal() == K1
