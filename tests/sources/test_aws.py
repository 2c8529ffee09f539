"""AWS Secrets Manager: which version is read, what else may be valid, names, settings."""

import copy
import json
import pickle
import re
import sys
import warnings

import boto3
import pytest

from partner_auth.exceptions import (
    ConfigurationError,
    CredentialInvalid,
    PartnerAuthWarning,
    SourceRejected,
)
from partner_auth.sources import AwsSecretsManagerSource, source_from_url
from tests.sources import aws_fixtures
from tests.sources.aws_fixtures import K0, K1, K2, K3, KEYS, NAME, document
from tests.sources.lying_server import Reply, passed_on

aws, aws_server, liar = aws_fixtures.aws, aws_fixtures.aws_server, aws_fixtures.liar

ARN = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:prod/partner-AbCdEf"


def keys(credentials):
    """Return what is compared most."""
    return [one.secret_key.reveal() for one in credentials]


@pytest.fixture
def source(aws):
    """Read the secret that most tests use, with nothing but its name."""
    return AwsSecretsManagerSource(NAME)


# What is read


def test_a_json_secret_becomes_a_credential_with_its_version_id(aws, source):
    """Client id, key and the version's id come from the current version."""
    version = aws.create(document(K1))
    credential = source.fetch()
    assert (credential.client_id, credential.secret_key.reveal()) == ("acme", K1)
    assert credential.version == version


def test_a_text_secret_is_the_key_alone(aws):
    """A secret that is no JSON is the key, without the line break at its end."""
    aws.create(K1 + "\n")
    credential = AwsSecretsManagerSource(NAME, client_id="acme").fetch()
    assert (credential.client_id, credential.secret_key.reveal()) == ("acme", K1)


def test_a_binary_secret_is_the_key_as_it_stands(aws):
    """Bytes that are no UTF-8 come through SecretBinary unchanged."""
    raw = bytes(range(128, 192))
    aws.create(raw)
    assert AwsSecretsManagerSource(NAME, client_id="acme").fetch().secret_key.reveal() == raw


def test_a_binary_secret_may_hold_json(aws, source):
    """JSON that was uploaded as a file is read like JSON."""
    aws.create(document(K1).encode())
    assert source.fetch().secret_key.reveal() == K1


def test_fields_encoding_and_client_id_come_from_the_url(aws):
    """The parameters that every source takes work here."""
    aws.create(json.dumps({"partner": {"key": "bXkta2V5LW9mLTMyLWJ5dGVz"}}))
    url = (
        f"aws-secretsmanager://{NAME}?client_id=acme&secret_key_field=partner.key"
        "&secret_key_encoding=base64&timeout=5"
    )
    credential = source_from_url(url).fetch()
    assert credential.secret_key.reveal() == b"my-key-of-32-bytes"


def test_an_unreadable_secret_names_the_source_and_shows_nothing(aws, source, refusal):
    """A missing field is an invalid credential, and no frame holds the document."""
    aws.create(json.dumps({"client_id": "acme", "key": K1}))
    error = refusal(CredentialInvalid, source.fetch, K1)
    assert repr(source) in str(error)


def test_every_read_names_the_stage(aws, liar):
    """The stage is never left to the store: without it some give an older version."""
    aws.create(document(K1))
    liar.pass_on_to(aws.endpoint)
    source = AwsSecretsManagerSource(NAME, endpoint_url=liar.url)
    source.fetch()
    source.alternates()
    stages = [json.loads(request.body)["VersionStage"] for request in liar.requests]
    assert stages == ["AWSCURRENT", "AWSCURRENT", "AWSPENDING", "AWSPREVIOUS"]


def test_a_version_stage_of_ones_own_is_read(aws):
    """`version_stage` names the label to read."""
    aws.create(document(K1))
    aws.manager.put_secret_value(SecretId=NAME, SecretString=document(K2), VersionStages=["BLUE"])
    assert AwsSecretsManagerSource(NAME, version_stage="BLUE").fetch().secret_key.reveal() == K2


def test_fetch_fresh_reads_aws_again(aws, source):
    """Nothing is kept between reads."""
    aws.create(document(K1))
    source.fetch()
    aws.put(document(K2))
    assert source.fetch_fresh().secret_key.reveal() == K2


# What else may be valid


def test_nothing_else_is_valid_before_the_first_rotation(aws, source):
    """Missing stages are no error."""
    aws.create(document(K1))
    assert source.alternates() == []


def test_a_pending_version_without_a_value_is_none(aws, liar):
    """RotateSecret was called and nothing put: AWS answers as if nothing was there."""
    aws.create(document(K1))
    denial = aws_fixtures.refusal_of("ResourceNotFoundException")
    through = passed_on(aws.endpoint)
    liar.answer = lambda request: denial if b"AWSPENDING" in request.body else through(request)
    source = AwsSecretsManagerSource(NAME, endpoint_url=liar.url)
    assert source.fetch().secret_key.reveal() == K1
    assert source.alternates() == []


def test_the_pending_key_is_tried_while_it_is_set_and_tested(aws, source):
    """After createSecret the partner takes the pending key now, or soon."""
    aws.create(document(K1))
    version = aws.pend(document(K2))
    assert source.fetch().secret_key.reveal() == K1
    (pending,) = source.alternates()
    assert (pending.secret_key.reveal(), pending.version) == (K2, version)


@pytest.mark.parametrize("keep_pending", [False, True], ids=["removed", "on both"])
def test_the_previous_key_is_tried_after_a_rotation(aws, source, keep_pending):
    """After finishSecret the old key is left, and AWSPENDING on the current version is none."""
    aws.create(document(K1))
    aws.finish(aws.pend(document(K2)), keep_pending=keep_pending)
    assert source.fetch().secret_key.reveal() == K2
    assert keys(source.alternates()) == [K1]


def test_the_pending_key_comes_before_the_previous_one(aws, source):
    """In the next rotation the coming key is likelier than the one before."""
    aws.create(document(K0))
    aws.finish(aws.pend(document(K1)))
    aws.pend(document(K2))
    source.fetch()
    assert keys(source.alternates()) == [K2, K0]


def test_a_pending_key_left_over_from_a_failed_rotation_comes_last(aws, liar):
    """Older than the current one it is dead, most likely; but not surely."""
    aws.create(document(K0))
    aws.put(document(K1))
    aws.pend(document(K2))
    through = passed_on(aws.endpoint)
    ages = {"AWSPREVIOUS": 0, "AWSCURRENT": 1, "AWSPENDING": 2}

    def older(request):
        reply = through(request)
        said = json.loads(reply.body)
        said["CreatedDate"] -= 3600 * ages[json.loads(request.body)["VersionStage"]]
        return Reply(200, said, reply.headers)

    liar.answer = older
    source = AwsSecretsManagerSource(NAME, endpoint_url=liar.url)
    source.fetch()
    assert keys(source.alternates()) == [K0, K2]
    latest = AwsSecretsManagerSource(NAME, version_stage="AWSPREVIOUS", endpoint_url=liar.url)
    assert keys(latest.alternates()) == [K1, K2]


def test_an_alternate_equal_to_the_current_one_is_none(aws, source):
    """The same key in another version, as Terraform puts it, is not tried twice."""
    aws.create(document(K1))
    aws.put(document(K1))
    aws.pend(document(K1))
    assert source.alternates() == []


def test_alternates_equal_to_each_other_are_one(aws, source):
    """A rotation back to the previous key offers it once."""
    aws.create(document(K1))
    aws.put(document(K2))
    aws.pend(document(K1))
    assert keys(source.alternates()) == [K1]


def test_what_was_pending_is_an_alternate_when_the_rotation_ends_in_between(aws, source):
    """Equal to what the *caller* has is what counts, not to what came into force since."""
    aws.create(document(K1))
    version = aws.pend(document(K2))
    held = source.fetch()
    aws.finish(version, keep_pending=True)
    assert held.secret_key.reveal() == K1
    assert keys(source.alternates()) == [K2]


def test_an_unreadable_alternate_does_not_spoil_the_other(aws, source):
    """A half-made pending document is none; the previous one still counts."""
    aws.create(document(K0))
    aws.put(document(K1))
    aws.pend('{"client_id": "acme"}')
    assert keys(source.alternates()) == [K0]


def test_a_denied_alternate_is_none(aws, liar):
    """A policy may allow AWSCURRENT alone."""
    aws.create(document(K0))
    aws.put(document(K1))
    denial = aws_fixtures.refusal_of("AccessDeniedException")
    through = passed_on(aws.endpoint)
    liar.answer = lambda request: through(request) if b"AWSCURRENT" in request.body else denial
    assert AwsSecretsManagerSource(NAME, endpoint_url=liar.url).alternates() == []


def test_alternates_of_a_missing_secret_are_none(aws, source):
    """An error there means none."""
    assert source.alternates() == []


def test_who_reads_another_stage_may_try_the_current_one(aws):
    """With a label of one's own, the current key is the likeliest alternate."""
    aws.create(document(K1))
    aws.manager.put_secret_value(SecretId=NAME, SecretString=document(K2), VersionStages=["BLUE"])
    aws.pend(document(K3))
    assert keys(AwsSecretsManagerSource(NAME, version_stage="BLUE").alternates()) == [K1, K3]


# Names and ARNs


@pytest.mark.parametrize(
    "name, url",
    [
        ("/prod/x", "aws-secretsmanager:///prod/x"),
        ("prod/x", "aws-secretsmanager://prod/x"),
        ("prod//x", "aws-secretsmanager://prod//x"),
        ("Prod/X", "aws-secretsmanager://Prod/X"),
        ("user@corp/a+b=c._-", "aws-secretsmanager://user@corp/a+b=c._-"),
        ("a+b", "aws-secretsmanager://a%2Bb"),
    ],
)
def test_names_are_kept_letter_by_letter(aws, name, url):
    """Case, slashes and special characters are part of the name, in a URL as in a keyword."""
    for one in {"/prod/x", "prod/x", "prod//x", "Prod/X", "a b", "a+b", name}:
        aws.create(document(K1, client_id=one), one)
    assert source_from_url(url).fetch().client_id == name
    assert AwsSecretsManagerSource(name).fetch().client_id == name


def test_an_arn_is_read_in_its_own_region(aws, aws_server):
    """An ARN's region wins over `region=` and the environment."""
    far = boto3.Session(**KEYS).client(
        "secretsmanager", region_name="us-east-2", endpoint_url=aws.endpoint
    )
    arn = far.create_secret(Name=NAME, SecretString=document(K2))["ARN"]
    aws.create(document(K1))
    assert AwsSecretsManagerSource(arn, region="eu-west-1").fetch().secret_key.reveal() == K2
    assert source_from_url(arn).fetch().secret_key.reveal() == K2
    assert source_from_url(f"{arn}?timeout=5").fetch().secret_key.reveal() == K2


@pytest.mark.parametrize(
    "partition, region", [("aws-cn", "cn-north-1"), ("aws-us-gov", "us-gov-west-1")]
)
def test_partitions_are_known_by_their_arns(aws, liar, partition, region):
    """China and GovCloud are asked in their own regions."""
    liar.say(aws_fixtures.refusal_of("ResourceNotFoundException"))
    arn = f"arn:{partition}:secretsmanager:{region}:123456789012:secret:x-AbCdEf"
    with pytest.raises(SourceRejected):
        AwsSecretsManagerSource(arn, endpoint_url=liar.url).fetch()
    assert f"/{region}/secretsmanager/" in liar.requests[0].headers["authorization"]


@pytest.mark.parametrize(
    "name",
    [
        "",
        "  ",
        "a\nb",
        "AKIA:password@host/x",
        "arn:aws:secretsmanager:eu-west-1:123456789012:parameter/x",
        "arn:aws:secretsmanager:eu west:123456789012:secret:x",
        "arn:aws:ssm:eu-west-1:123456789012:parameter/x",
        b"prod/partner",
        None,
    ],
)
def test_a_name_that_aws_can_not_have_is_refused_unseen(name):
    """What has colons may be a user and a password, so it is not shown."""
    with pytest.raises(ConfigurationError) as caught:
        AwsSecretsManagerSource(name)
    assert not name or str(name) not in str(caught.value)


def test_a_url_without_a_name_is_refused():
    """The message says how it is written."""
    with pytest.raises(ConfigurationError, match="NAME"):
        source_from_url("aws-secretsmanager://?region=eu-west-1")


# Settings


@pytest.mark.parametrize(
    "settings",
    [
        {"region": "eu west 1"},
        {"region": "eu-west-1.evil.example/"},
        {"region": " "},
        {"profile": ""},
        {"version_stage": "\n"},
        {"via": "proxy"},
        {"via": "agent", "region": "eu-west-1"},
        {"via": "agent", "endpoint_url": "http://localhost:1"},
        {"via": "agent", "client": object()},
        {"client": object(), "region": "eu-west-1"},
        {"client": object(), "profile": "prod"},
        {"endpoint_url": "localhost:4566"},
        {"endpoint_url": "ftp://localhost"},
        {"endpoint_url": "https://user:pass-word@host"},
        {"endpoint_url": "https://host/?x=1"},
        {"timeout": "soon"},
        {"timeout": 0},
        {"client_id": "a", "client_id_field": "b"},
    ],
    ids=lambda options: re.sub(r"<.*?>", "object", str(options)),
)
def test_a_wrong_setting_is_refused_at_construction(settings):
    """All that can be checked without asking anybody is checked at once."""
    with pytest.raises(ConfigurationError) as caught:
        AwsSecretsManagerSource(NAME, **settings)
    assert "pass-word" not in str(caught.value)


def test_an_unknown_parameter_is_refused():
    """The message lists those that there are."""
    with pytest.raises(ConfigurationError, match="version_stage"):
        source_from_url(f"aws-secretsmanager://{NAME}?stage=AWSCURRENT")


def test_a_plain_http_endpoint_warns_unless_it_is_loopback():
    """The secret would come in clear over a network."""
    with pytest.warns(PartnerAuthWarning, match=r"http://moto:5000") as caught:
        AwsSecretsManagerSource(NAME, endpoint_url="http://moto:5000")
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        AwsSecretsManagerSource(NAME, endpoint_url="http://localhost:4566")


def test_the_repr_shows_where_and_how_it_reads():
    """Name and settings, as one would write them."""
    source = source_from_url(f"aws-secretsmanager://{NAME}?region=eu-west-1&profile=prod")
    assert repr(source) == (
        "AwsSecretsManagerSource('prod/partner', region='eu-west-1', profile='prod')"
    )


def test_without_boto3_construction_says_what_to_install(monkeypatch):
    """A missing extra is noticed before the first request, with the command that helps."""
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'partner-auth\[aws\]'"):
        AwsSecretsManagerSource(NAME)
    AwsSecretsManagerSource(NAME, client=object())


def test_a_boto3_without_a_spec_is_installed(monkeypatch):
    """Some tools import it in a way of their own."""
    monkeypatch.setattr(boto3, "__spec__", None)
    AwsSecretsManagerSource(NAME)


def test_a_client_of_ones_own_is_used_as_it_is(aws, liar):
    """Its endpoint, credentials and settings stay the user's."""
    liar.pass_on_to(aws.endpoint)
    aws.create(document(K1))
    client = aws.session.client("secretsmanager", endpoint_url=liar.url)
    source = AwsSecretsManagerSource(NAME, client=client)
    assert source.fetch().secret_key.reveal() == K1
    assert len(liar.requests) == 1


def test_a_profile_brings_its_region_and_credentials(aws, liar, tmp_path, monkeypatch):
    """`profile=` is looked up in AWS's config files."""
    config = tmp_path / "config"
    config.write_text(
        "[profile far]\nregion = ap-south-1\naws_access_key_id = FARKEY\n"
        "aws_secret_access_key = c2VjcmV0\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    liar.say(aws_fixtures.refusal_of("ResourceNotFoundException"))
    with pytest.raises(SourceRejected):
        AwsSecretsManagerSource(NAME, profile="far", endpoint_url=liar.url).fetch()
    signed = liar.requests[0].headers["authorization"]
    assert "FARKEY" in signed
    assert "/ap-south-1/" in signed


# Pickles and copies


def test_a_pickled_source_reads_in_its_new_home(aws, source):
    """It carries settings, and neither client nor credential."""
    aws.create(document(K1))
    source.fetch()
    raw = pickle.dumps(source)
    assert not [s for s in (K1, *KEYS.values()) if s.encode() in raw]
    loaded = pickle.loads(raw)
    assert repr(loaded) == repr(source)
    assert loaded.fetch().secret_key.reveal() == K1


def test_a_deep_copy_reads_as_well(aws, source):
    """SDKs copy what they are configured with."""
    aws.create(document(K1))
    source.fetch()
    assert copy.deepcopy(source).fetch().secret_key.reveal() == K1


def test_a_source_with_a_client_of_ones_own_says_why_it_can_not_be_pickled(aws):
    """boto3's clients can't, and without it another account might be asked."""
    source = AwsSecretsManagerSource(NAME, client=aws.manager)
    with pytest.raises(TypeError, match="client="):
        pickle.dumps(source)
