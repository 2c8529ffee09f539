"""Whatever comes from outside: an answer, or an error of the hierarchy; nothing else, no hang."""

import base64
import contextlib
import json
import math
import os
import string
import warnings
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from partner_auth import (
    ConfigurationError,
    Credential,
    CredentialInvalid,
    EnvSource,
    FileSource,
    InsecureTransport,
    PartnerAuth,
    PartnerAuthError,
    PartnerAuthWarning,
    RefreshPolicy,
    source_from_url,
)
from partner_auth._clock import LEAST_SKEW, MOST_SKEW, skew
from partner_auth._recovery import lacks_scope
from partner_auth.testing import Clock

FUZZ = settings(
    max_examples=300,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
NOW = 1_800_000_000.0
KEY = "k" * 40


def credential():
    """Return one that signs."""
    return Credential("acme", KEY)


# -- the partner's headers

DIGITS = st.text("0123456789", max_size=6)
DATES = st.one_of(
    st.text(max_size=64),
    st.datetimes().map(lambda at: at.replace(tzinfo=UTC)).map(lambda at: format_datetime(at, True)),
    st.tuples(
        st.sampled_from(["Mon", "Sun", "Monday", "x", ""]),
        st.sampled_from([", ", " ", ","]),
        DIGITS,
        st.sampled_from([" Jan ", "-Feb-", " feb ", " x ", "\t"]),
        DIGITS,
        st.sampled_from([" ", "T"]),
        st.lists(DIGITS, max_size=4).map(":".join),
        st.sampled_from(
            [" GMT", " -0000", " +9999", " -9999", " EST", " Z", "", " +99999999", " (x"]
        ),
    ).map("".join),
    st.lists(st.sampled_from(["Mon, 02 Jan 2006 15:04:05 GMT", ", ", "GMT", "-0000", "1"])).map(
        "".join
    ),
)


@FUZZ
@given(DATES, st.floats(0, 4e9))
@example("Mon, 02 Jan 99999 15:04:05 GMT", NOW)
@example("Mon, 32 Jan 2027 15:04:05 GMT", NOW)
@example("Fri, 31 Dec 9999 23:59:59 -2359", NOW)
@example("Mon, 01 Jan 0001 00:00:00 +2359", NOW)
@example("Mon, 00 Jan 0000 00:00:00 +9999", 0.0)
def test_a_date_teaches_an_offset_within_a_day_or_nothing(date, now):
    """Whatever it says."""
    offset = skew(date, now)
    assert offset == 0.0 or LEAST_SKEW <= abs(offset) <= MOST_SKEW


@FUZZ
@given(st.integers(-2 * 86_400, 2 * 86_400))
def test_an_honest_date_teaches_its_offset(seconds):
    """Of two seconds up to a day."""
    said = format_datetime(
        datetime.fromtimestamp(NOW, UTC) + timedelta(seconds=seconds), usegmt=True
    )
    believed = LEAST_SKEW <= abs(seconds) <= MOST_SKEW
    assert skew(said, NOW) == (seconds if believed else 0)


WORDS = st.sampled_from(
    [
        *("Bearer", "bearer", "Basic", "DPoP", "error", "insufficient_scope", "\u00e9"),
        *('"', "\\", '\\"', ",", ", ", " ", "=", "\t"),
        *('error="insufficient_scope"', "error=insufficient_scope", 'error="insufficient_scope'),
        *('error = "insufficient_scope"', 'error="invalid_token"', 'scope="x"'),
        *('realm="a, Bearer error=insufficient_scope"', "error_description=insufficient_scope"),
        "xerror=insufficient_scope",
    ]
)
PARAMETERS = st.sampled_from(
    [
        'error="insufficient_scope"',
        'error="invalid_token"',
        "error=insufficient_scope",
        'realm="a, Bearer error=insufficient_scope"',
        'scope="a b"',
        "error=x",
        'error_description="error=insufficient_scope"',
        'realm="\\"", error="x"',
    ]
)


def _by_hand(challenge):
    """Read a challenge letter by letter: quoted texts first, then schemes, then parameters."""
    plain, quoted, at = "", None, 0
    while at < len(challenge):
        letter = challenge[at]
        if quoted is None:
            plain, quoted = (plain, "") if letter == '"' else (plain + letter, None)
        elif letter == "\\":
            quoted += challenge[at : at + 2]
            at += 1
        elif letter == '"':
            plain, quoted = plain + (quoted if quoted == "insufficient_scope" else "x"), None
        else:
            quoted += letter
        at += 1
    plain += "x" if quoted is not None else ""
    scheme, is_found = "", False
    for part in plain.split(","):
        word, space, rest = part.strip().partition(" ")
        if space and rest.strip()[:1].isalpha() and _is_scheme(word):
            scheme = word.lower()
        else:
            rest = part
        name, _, value = (one.strip() for one in rest.partition("="))
        is_found |= (scheme, name, value) == ("bearer", "error", "insufficient_scope")
    return is_found


def _is_scheme(word):
    letters = string.ascii_letters
    return word[:1] in letters and all(c in letters + string.digits + "_-" for c in word)


@FUZZ
@given(st.lists(WORDS | st.text(max_size=3), max_size=12).map("".join))
def test_a_challenge_is_about_rights_or_is_not(challenge):
    """Whatever it says, it is judged, and only what names the error is about rights."""
    if lacks_scope(challenge):
        assert "insufficient_scope" in challenge
        assert "bearer" in challenge.lower()


@FUZZ
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["Bearer", "bearer", "Basic", "DPoP"]),
            st.lists(PARAMETERS, min_size=1, max_size=3).map(", ".join),
        ).map(" ".join),
        min_size=1,
        max_size=3,
    ).map(", ".join)
)
def test_a_well_formed_challenge_is_read_as_by_hand(challenge):
    """By scheme and parameter, and not within a quoted text."""
    assert lacks_scope(challenge) == _by_hand(challenge), challenge


@FUZZ
@given(
    st.lists(st.tuples(DATES, st.lists(WORDS, max_size=6).map("".join)), min_size=4, max_size=4),
    st.booleans(),
)
def test_no_headers_of_a_refusal_break_a_request(headers, accepts):
    """The rotation is mended, or the 401 goes back; no token outlives its lifetime by them."""
    sent = []

    def answer(request):
        date, challenge = headers[len(sent) % 4]
        sent.append(request)
        said = {"Date": date.encode("utf-8", "replace"), "WWW-Authenticate": challenge.encode()}
        said = [(name, _header(value)) for name, value in said.items()]
        return httpx.Response(200 if accepts and len(sent) > 2 else 401, headers=said)

    clock = Clock(NOW)
    auth = PartnerAuth(credential(), origins="https://a.example", clock=clock)
    with httpx.Client(auth=auth, transport=httpx.MockTransport(answer)) as client:
        client.get("https://a.example/x")
    assert 1 <= len(sent) <= 4
    for request in sent:
        claims = _claims(request.headers["Authorization"])
        assert claims["exp"] - claims["iat"] == 900
        assert abs(claims["iat"] - NOW) <= 86_401


def _header(raw):
    return bytes(byte for byte in raw if byte not in b"\r\n\0").strip()


def _claims(header):
    payload = header.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))


# -- the secret's document

SCALARS = st.one_of(
    *(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20)),
    st.sampled_from(["acme", KEY, "2027-01-01T00:00:00Z", "1800000000", "", " ", "9" * 400]),
)
NAMES = st.text(max_size=5) | st.sampled_from(
    [
        *("client_id", "secret_key", "secret_key_next", "secret_key_previous", "partner"),
        *("key_id", "version", "refresh_at", "expires_at", "partner.key"),
    ]
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(NAMES, VALUES, max_size=6)
ENCODINGS = ["utf-16", "utf-16-le", "utf-32", "utf-8-sig", "cp1252", "utf-7"]


@st.composite
def _encoded(draw):
    return json.dumps(draw(OBJECTS)).encode(draw(st.sampled_from(ENCODINGS)), "replace")


@st.composite
def _spoilt(draw):
    whole, at = json.dumps(draw(OBJECTS)).encode(), draw(st.integers(0, 50))
    return whole[:at] + draw(st.binary(max_size=3)) + whole[at:]


@st.composite
def _nearly_right(draw):
    found = {"client_id": "acme", "secret_key": KEY} | draw(OBJECTS)
    return json.dumps(found).encode()


DOCUMENTS = st.one_of(
    *(_nearly_right(), _encoded(), _spoilt(), st.binary(max_size=200)),
    st.text(max_size=100).map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.sampled_from([b'{"a":' * 5000, b"[" * 70_000, b"{" * 60_000]),
    st.sampled_from([b'{"secret_key": 1e999}', b'{"client_id": "a", "secret_key": "\\ud800"}']),
)
FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "client_id": st.sampled_from(["acme"]),
        "secret_key_field": st.sampled_from(["secret_key", "partner.key", "a.b.c.d"]),
        "secret_key_encoding": st.sampled_from(["base64", "base64url", "hex"]),
    },
)


@FUZZ
@given(DOCUMENTS, FIELDS)
def test_any_document_is_a_credential_or_an_error_of_ours(tmp_path, document, fields):
    """And a credential signs, or is refused as one that doesn't."""
    file = tmp_path / "partner"
    file.write_bytes(document)
    source = FileSource(file, **fields)
    for ask in (source.fetch, source.alternates):
        try:
            found = ask()
        except PartnerAuthError:
            continue
        for one in [found] if isinstance(found, Credential) else found:
            assert one.client_id.strip()
            assert one.client_id.isprintable()
            assert one.secret_key
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PartnerAuthWarning)
        try:
            token = PartnerAuth(source).token()
        except PartnerAuthError:
            return
    assert token.count(".") == 2


STEMS = ("CLIENT_ID", "SECRET_KEY", "SECRET_KEY_NEXT", "SECRET_KEY_PREVIOUS", "KEY_ID")
VARIABLES = [f"FUZZ_{stem}{end}" for stem in STEMS for end in ("", "_FILE")]
IN_VARIABLES = st.one_of(
    (st.binary(max_size=40) | DOCUMENTS).map(lambda raw: raw.replace(b"\0", b"")),
    st.sampled_from([b"/", b"/dev/zero", b"/dev/stdin", b"/etc/hostname", b"x" * 5000]),
)


@FUZZ
@given(st.dictionaries(st.sampled_from(VARIABLES), IN_VARIABLES, max_size=5))
def test_any_environment_is_a_credential_or_an_error_of_ours(values):
    """Undecodable bytes, devices, names too long for a file."""
    for name in [name for name in os.environ if name.startswith("FUZZ_")]:
        del os.environ[name]
    for name, value in values.items():
        os.environb[name.encode()] = value
    try:
        source = EnvSource("FUZZ_")
        for ask in (source.fetch, source.alternates, source.fingerprint):
            with contextlib.suppress(PartnerAuthError):
                ask()
    finally:
        for name in values:
            del os.environ[name]


TAKEN = ["PARTNER_AUTH_SOURCE", "PARTNER_BASE_URL"]


@pytest.mark.parametrize("name", TAKEN)
@pytest.mark.filterwarnings("ignore::partner_auth.PartnerAuthWarning")
@FUZZ
@given(
    value=st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=60)
)
@example(value="https://[")
@example(value="https://a]b[:8/x")
@example(value="https://a.example:port/")
def test_any_setting_of_the_environment_is_taken_or_refused(monkeypatch, name, value):
    """When the object is made."""
    for other in TAKEN:
        monkeypatch.delenv(other, raising=False)
    monkeypatch.setenv(name, value)
    try:
        PartnerAuth()
    except ConfigurationError:
        return


# -- source URLs and settings

SCHEMES = ["env", "file", "vault", "aws-secretsmanager", "aws-ssm", "ENV", "x"]
PIECES = ["a", "/", "..", ".", "%2f", "%2e", "@", ":", "%00", "%ff", "~", "secret", "A_", "\u00e9"]
QUERIES = [
    *("", "?", "?a=1", "?region=eu-west-1", "?timeout=1", "?timeout=nan", "?client_id=a"),
    *("?auth=approle", "?a=%", "?client_id=%0a", "?client_id=%ff", "?secret_key_field=.."),
    *("?token=x", "#x", "?version_stage=", "?address=https://[", "?address=x"),
    *("?endpoint_url=http://x@y", "?endpoint_url=https://["),
]
URLS = st.text(max_size=60) | st.tuples(
    st.sampled_from([*SCHEMES, "arn:aws:secretsmanager"]),
    st.sampled_from(["://", ":", ":///", "//", ""]),
    st.lists(st.sampled_from(PIECES), max_size=6).map("".join),
    st.sampled_from(QUERIES),
).map("".join)
OPTIONS = [
    *("lifetime", "algorithm", "claims", "key_id", "rejects"),
    *("on_event", "clock", "refresh", "origins"),
]


@pytest.mark.filterwarnings("ignore::partner_auth.PartnerAuthWarning")
@FUZZ
@given(URLS)
def test_any_source_url_is_a_source_or_refused(url):
    """And a source tells what it is."""
    try:
        source = source_from_url(url)
    except ConfigurationError:
        return
    assert type(source).__name__ in repr(source)


@FUZZ
@given(VALUES)
def test_any_claims_are_carried_or_refused(claims):
    """A token that is JSON, and ours are ours."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PartnerAuthWarning)
            given = claims if isinstance(claims, dict) else {"x": claims}
            token = PartnerAuth(credential(), claims=given).token()
    except ConfigurationError:
        return
    carried = _claims(f"Bearer {token}")
    assert carried["clientId"] == "acme"
    assert carried["exp"] - carried["iat"] == 900


@FUZZ
@given(st.fixed_dictionaries({}, optional=dict.fromkeys(OPTIONS, SCALARS)))
def test_any_option_is_taken_or_refused(options):
    """When the object is made."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PartnerAuthWarning)
        try:
            auth = PartnerAuth(credential(), **options)
        except ConfigurationError:
            return
        try:
            auth.token("https://a.example")
        except (ConfigurationError, CredentialInvalid, InsecureTransport):
            return


@FUZZ
@given(st.fixed_dictionaries({}, optional=dict.fromkeys(vars(RefreshPolicy()), SCALARS)))
def test_any_policy_is_taken_or_refused(options):
    """And what is taken is finite."""
    try:
        policy = RefreshPolicy(**options)
    except ConfigurationError:
        return
    assert all(math.isfinite(value) for value in vars(policy).values())


@FUZZ
@given(SCALARS, SCALARS, SCALARS, SCALARS)
def test_any_credential_is_made_or_refused(client_id, key, version, time):
    """By an error of ours."""
    try:
        made = Credential(client_id, key, version=version, refresh_at=time, expires_at=time)
    except CredentialInvalid:
        return
    assert isinstance(made.client_id, str)
