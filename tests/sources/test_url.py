"""Source URLs: what is one, what is none, and what never shows."""

import copy
import importlib
import os
import pickle
import subprocess
import sys

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from partner_auth.exceptions import ConfigurationError, PartnerAuthError
from partner_auth.sources import EnvSource, FileSource, source_from_url
from partner_auth.sources._url import SourceURL, path_segments

SECRET = "tdVbYHdm3T4OSi1yDu8sAOq5GCZjY3GR"

PLUGIN = """
from partner_auth import sources

class Shelf:
    def __init__(self, url):
        self.url = url
    def fetch(self):
        return None

def broken(url):
    raise ValueError(url.params["pin"])

def empty(url):
    return object()

def picky(url):
    url.keywords("colour")
"""


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Install a package with entry points, as pip would."""

    def install(name, **schemes):
        (tmp_path / "shelf_plugin.py").write_text(PLUGIN)
        info = tmp_path / f"{name.replace('-', '_')}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        lines = [f"{scheme} = {value}" for scheme, value in schemes.items()]
        (info / "entry_points.txt").write_text("\n".join(["[partner_auth.sources]", *lines]))
        importlib.invalidate_caches()

    monkeypatch.syspath_prepend(tmp_path)
    yield install
    sys.modules.pop("shelf_plugin", None)


@pytest.fixture
def parsed(installed):
    """Return a URL as the source of its scheme gets it."""
    installed("shelf", shelf="shelf_plugin:Shelf")
    return lambda text: source_from_url(text).url


@pytest.mark.parametrize(
    "url, source",
    [
        ("env://", "EnvSource()"),
        ("env://ACME_", "EnvSource('ACME_')"),
        ("env://ACME_/", "EnvSource('ACME_')"),
        ("ENV://acme", "EnvSource('acme')"),
        (
            "env://?client_id=acme&secret_key_encoding=hex",
            "EnvSource(client_id='acme', secret_key_encoding='hex')",
        ),
        ("file:///run/secrets/partner.json", "FileSource('/run/secrets/partner.json')"),
        ("file:///etc/partner/", "FileSource('/etc/partner')"),
        ("file://localhost/etc/partner", "FileSource('/etc/partner')"),
        ("file:///a%20b/%C3%A9%25?client_id=a%2Bb+c", "FileSource('/a b/é%', client_id='a+b+c')"),
        (
            "file:///Case/Kept?secret_key_field=a.b",
            "FileSource('/Case/Kept', secret_key_field='a.b')",
        ),
    ],
)
def test_a_url_names_a_source(url, source):
    """Scheme, location and parameters become the source's class, place and options."""
    assert repr(source_from_url(url)) == source


def test_a_file_name_may_be_no_utf8():
    """Escapes give the bytes of a path as they stand on the disk."""
    assert repr(source_from_url("file:///a/%ff")) == repr(FileSource(os.fsdecode(b"/a/\xff")))


def test_the_parts_reach_the_source_as_they_were_written(parsed):
    """The scheme is lower case, the location as written, parameters are decoded, + is a plus."""
    url = parsed("SHELF://Top/%41/b@c?colour=dark%20red&x=a+b%26c=d")
    assert (url.scheme, url.location) == ("shelf", "Top/%41/b@c")
    assert url.params == {"colour": "dark red", "x": "a+b&c=d"}
    assert url == "SHELF://Top/%41/b@c?colour=dark%20red&x=a+b%26c=d"


def test_a_url_shows_no_values(parsed):
    """A parameter's value may be a secret under a mistyped name, so that repr leaves it out."""
    assert repr(parsed(f"shelf://top?pasword={SECRET}")) == "'shelf://top?pasword=…'"


def test_a_url_is_copied_and_pickled_whole(parsed):
    """Scheme, location and parameters come along."""
    url = parsed("shelf://top?colour=red")
    unpickled = pickle.loads(pickle.dumps(url))
    for twin in (unpickled, copy.deepcopy(url)):
        assert (twin, twin.scheme, twin.location, twin.params) == (
            url,
            "shelf",
            "top",
            {"colour": "red"},
        )


def test_keywords_refuses_what_is_not_allowed(refusal, installed):
    """The unknown name and the known ones are named, the value is not."""
    installed("shelf", shelf="shelf_plugin:picky")
    error = refusal(
        ConfigurationError, lambda: source_from_url(f"shelf://x?color={SECRET}"), SECRET
    )
    assert str(error) == "shelf:// knows no parameter 'color'; it takes colour"


@pytest.mark.parametrize(
    "arn, scheme",
    [
        (
            "arn:aws:secretsmanager:eu-west-1:123456789012:secret:user@corp/x-AbCdEf",
            "aws-secretsmanager",
        ),
        ("arn:aws-cn:secretsmanager:cn-north-1:123456789012:secret:x-AbCdEf", "aws-secretsmanager"),
        ("arn:aws-us-gov:ssm:us-gov-west-1:123456789012:parameter/a/b", "aws-ssm"),
    ],
)
def test_a_bare_arn_is_a_url(arn, scheme, monkeypatch):
    """An ARN goes to the source of its service, with the whole ARN as location, options apart."""
    url = location_of(f"{arn}?client_id=acme", monkeypatch)
    assert (url.scheme, url.location, url.params) == (scheme, arn, {"client_id": "acme"})


@pytest.mark.parametrize(
    "url, location",
    [
        ("aws-secretsmanager://user@corp/name", "user@corp/name"),
        ("aws-secretsmanager:///prod/Partner", "/prod/Partner"),
        ("aws-secretsmanager://a+b=c@d", "a+b=c@d"),
        (
            "aws-ssm://arn:aws:ssm:eu-west-1:1:parameter/u@v",
            "arn:aws:ssm:eu-west-1:1:parameter/u@v",
        ),
    ],
)
def test_an_aws_name_keeps_its_characters(url, location, monkeypatch):
    """`@`, `+`, `=`, a leading slash and case belong to a name of AWS."""
    assert location_of(url, monkeypatch).location == location


def location_of(text, monkeypatch):
    """Return the URL that the module of the AWS sources is given."""
    import partner_auth.sources._aws as aws

    monkeypatch.setattr(aws, "from_url", lambda url: url)
    return source_from_url(text)


@pytest.mark.parametrize(
    "url, said",
    [
        (SECRET, "no source URL"),
        ("", "no source URL"),
        ("/etc/partner.json", "begin it with env://, file://"),
        ("file:/etc/partner.json", "no source URL"),
        ("1password://vault/x", "no source URL"),
        ("arn:aws:s3:::bucket", "secretsmanager or ssm"),
        (
            "vualt://secret/partner",
            "no source has the scheme 'vualt': known are env://, file://, aws",
        ),
        ("env://ACME_#x", "write # as %23"),
        ("env://ACME_\n", "control characters"),
        ("file:///a%0Ab", "control characters"),
        ("file:///a%00b", "control characters"),
        ("env://?client_id=a%1bb", "control characters"),
        ("file:///100%", "write it as %25"),
        ("env://?client_id=%zz", "write it as %25"),
        ("env://?client_id=%ff", "client_id is not UTF-8"),
        ("env://?client_id=a&client_id=b", "parameter client_id more than once"),
        ("env://?client_id=", "client_id is empty"),
        ("env://?client_id=%20", "client_id is empty"),
        ("env://?", "ends in ?"),
        (f"env://?{SECRET}", "name=value"),
        (f"env://?{SECRET}/=1", "name=value"),
        ("env://?client_id=a&", "name=value"),
        (
            "env://?region=x",
            "env:// knows no parameter 'region'; it takes client_id, client_id_field",
        ),
        ("env://ACME-", "letters, digits and _"),
        ("env://ACME_/x", "letters, digits and _"),
        ("env://ÄCME_", "letters, digits and _"),
        ("env://?client_id=a&client_id_field=b", "exclude each other"),
        ("env://?secret_key_encoding=base32", "none of base64, base64url, hex"),
        ("env://?secret_key_field=a..b", "dotted path"),
        ("env://?timeout=soon", "timeout"),
        ("env://?timeout=inf", "timeout"),
        ("env://?timeout=0", "timeout"),
        ("file://etc/partner", "file:///run/secrets"),
        ("file://", "file:///run/secrets"),
        ("file:///", "segment"),
        ("file:///a//b", "segment"),
        ("file:///a/../b", "segment"),
        ("file:///a/./b", "segment"),
        ("file:///a/%2e%2e/b", "segment"),
        ("file:///a%2F..%2Fb", "segment"),
    ],
)
def test_what_is_no_source_url_is_refused(url, said, refusal):
    """The message says which rule is broken and what to write instead."""
    assert said in str(refusal(ConfigurationError, lambda: source_from_url(url), SECRET))


@pytest.mark.parametrize(
    "url",
    [
        f"vault://root:{SECRET}@secret/partner",
        f"vault://root%3A{SECRET}%40secret/partner",
        f"vault://{SECRET}@secret/partner",
        f"vault://root:{SECRET}/+x@secret/partner",
        f"file://{SECRET}@localhost/x",
        f"env://{SECRET}@",
        f"aws-secretsmanager://user:{SECRET}@corp/name",
        f"aws-secretsmanager://user:{SECRET}/x@corp/name",
        f"shelf://user:{SECRET}@host/x",
        f"postgres://user:{SECRET}@host/x",
        f"https://user:{SECRET}@host/x",
        *(
            f"vault://secret/partner?role=x&{name}={SECRET}"
            for name in (
                "secret",
                "secret_key",
                "secret_id",
                "secret-id",
                "Secret_Key",
                "token",
                "jwt",
                "vault_token",
                "password",
                "pwd",
                "passphrase",
                "api_key",
                "apikey",
                "access_key",
                "aws_secret_access_key",
                "aws_session_token",
                "client_secret",
                "private_key",
                "credentials",
            )
        ),
    ],
)
def test_a_secret_in_a_url_is_refused(url, refusal):
    """Neither the message nor a frame shows it, and the message says why it is refused."""
    error = refusal(ConfigurationError, lambda: source_from_url(url), SECRET)
    assert "secrets don't belong there" in str(error) or "URLs are logged" in str(error)


@pytest.mark.parametrize("name", ["token_file", "secret_id_wrapped", "secret_key_field", "auth"])
def test_a_parameter_that_names_no_secret_is_none(name, parsed):
    """The options of the sources themselves are no secrets, whatever they sound like."""
    assert parsed(f"shelf://top?{name}=token").params == {name: "token"}


@pytest.mark.parametrize(
    "value", [None, 3, SECRET.encode(), [SECRET]], ids=lambda v: type(v).__name__
)
def test_a_url_is_a_str(value, refusal):
    """Only the type of something else is named."""
    error = refusal(ConfigurationError, lambda: source_from_url(value), SECRET)
    assert str(error) == f"a source URL is a str, not {type(value).__name__}"


def test_a_third_party_adds_a_scheme(parsed):
    """The object behind an entry point is called with the URL."""
    assert isinstance(parsed("shelf://top/drawer"), SourceURL)


def test_a_third_party_is_loaded_for_its_scheme_alone(installed):
    """Another scheme, known or not, imports no plug-in."""
    installed("shelf", shelf="shelf_plugin:Shelf")
    source_from_url("env://")
    with pytest.raises(ConfigurationError):
        source_from_url("rack://top")
    assert "shelf_plugin" not in sys.modules


def test_a_third_party_does_not_replace_a_built_in_scheme(installed):
    """An installed package can't put itself between the user and a store of ours."""
    installed("shelf", env="shelf_plugin:Shelf")
    assert isinstance(source_from_url("env://"), EnvSource)


@pytest.mark.parametrize(
    "target, said",
    [
        ("shelf_plugin:broken", "broken (ValueError)"),
        ("shelf_plugin:missing", "broken (AttributeError)"),
        ("no_such_module:x", "broken (ModuleNotFoundError)"),
        ("shelf_plugin:empty", "has no method fetch()"),
    ],
)
def test_a_broken_third_party_is_named(target, said, installed, refusal):
    """The message names the distribution, and the type alone of what went wrong."""
    installed("shelf-for-partners", shelf=target)
    error = refusal(
        ConfigurationError, lambda: source_from_url(f"shelf://top?pin={SECRET}"), SECRET
    )
    assert "'shelf' of shelf-for-partners" in str(error)
    assert said in str(error)


def test_what_broke_a_third_party_is_its_cause(installed, refusal):
    """Whoever mends the package finds its own error below ours."""
    installed("shelf", shelf="shelf_plugin:broken")
    error = refusal(ConfigurationError, lambda: source_from_url("shelf://top?pin=1"))
    assert isinstance(error.__cause__, ValueError)


def test_two_third_parties_with_one_scheme_are_refused(installed, refusal):
    """Which of them is meant is not ours to guess."""
    installed("shelf-a", shelf="shelf_plugin:Shelf")
    installed("shelf-b", shelf="shelf_plugin:empty")
    error = refusal(ConfigurationError, lambda: source_from_url("shelf://top"))
    assert "claimed by shelf-a and shelf-b" in str(error)


def test_segments_of_a_path():
    """They come in order; `...` is a name like any other."""
    assert path_segments("a/.../b c", "x") == ["a", "...", "b c"]


@pytest.mark.parametrize("module", ["boto3", "hvac", "requests", "importlib.metadata"])
def test_a_url_of_ours_imports_no_library(module):
    """Making any built-in source loads neither its store's client nor the plug-in machinery."""
    code = (
        "import contextlib, sys\n"
        "from partner_auth import ConfigurationError\n"
        "from partner_auth.sources import source_from_url\n"
        "for url in ('env://', 'file:///x', 'vault://m/x', 'aws-secretsmanager://x?region=eu-west-1'):\n"
        "    with contextlib.suppress(ConfigurationError):  # where the extra is not installed\n"
        "        source_from_url(url)\n"
        f"sys.exit({module!r} in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0


PIECES = st.sampled_from(
    [
        "env://",
        "file:///",
        "vault://",
        "aws-ssm://",
        "x://",
        "arn:aws:ssm:",
        "://",
        "?",
        "&",
        "=",
        "#",
        "%",
        "%2e",
        "%00",
        "%ff",
        "/",
        "..",
        ".",
        "@",
        ":",
        "+",
        " ",
        "\n",
        "\u2028",
        "\ud800",
        "client_id",
        "secret_key_field",
        "secret_key_encoding",
        "base64",
        "timeout",
        "token",
        "1",
    ]
)


TEXT = st.lists(PIECES | st.text(max_size=8), max_size=12).map("".join)


def outcome(url):
    """Return the error's class, or None."""
    try:
        source_from_url(url)
    except PartnerAuthError as error:
        return type(error)
    return None


@settings(deadline=None)  # a busy machine is no bug
@given(TEXT)
@example("env://?client_id=&%")
@example("file:///%2e%2e/\ud800")
def test_any_text_gives_a_source_or_our_error(refusal, url):
    """No text raises anything else, and no error has another one behind it."""
    if kind := outcome(url):
        refusal(kind, lambda: source_from_url(url))


@settings(deadline=None)  # a busy machine is no bug
@given(
    st.sampled_from(["env://", "file:///x", "vault://m/x", "aws-ssm://x", "rack://x"]), TEXT, TEXT
)
@example("env://", "role=a", "")
def test_the_value_of_a_mistyped_parameter_never_shows(refusal, start, before, after):
    """Neither in a message nor in a frame of an error, whatever else is wrong with the URL."""
    url = f"{start}?{before}&pasword={SECRET}{after}"
    refusal(ConfigurationError, lambda: source_from_url(url), SECRET)


@settings(deadline=None)  # a busy machine is no bug
@given(st.sampled_from(["env://", "file:///x", "vault://m/x", "aws-ssm://x", "rack://x"]), TEXT)
@example("env://", "=")
@example("vault://m/x", "=x&role=a")
def test_a_secret_in_place_of_a_parameter_never_shows(refusal, start, after):
    """One that was pasted behind the question mark is not taken for a name to show."""
    url = f"{start}?{SECRET}{after}"
    refusal(ConfigurationError, lambda: source_from_url(url), SECRET)


@settings(deadline=None)  # a busy machine is no bug
@given(st.text("abcXYZ019-_+/=.~!$*' ", max_size=8), TEXT)
@example("", "")
@example("", "://x")
def test_a_secret_in_place_of_a_url_never_shows(refusal, before, after):
    """One that is passed as the source is named by nothing, also if it begins like a URL."""
    url = before + SECRET + after
    refusal(ConfigurationError, lambda: source_from_url(url), SECRET)
