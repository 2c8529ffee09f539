"""What a store holds, read as a credential: one parser for every store."""

import base64
import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from partner_auth._credentials import Secret
from partner_auth.exceptions import ConfigurationError, CredentialError, CredentialInvalid
from partner_auth.sources._fields import Fields, read_timeout

KEY = "tdVbYHdm3T4OSi1yDu8sAOq5GCZjY3GR"
SOURCE = "VaultSource('secret', 'acme')"
RAW = bytes(range(200, 240))


def read(document, options=None, **more):
    """Read a document as a source does."""
    content = document if isinstance(document, (str, bytes)) else json.dumps(document)
    return Fields(**options or {}).credential(Secret(content), source=SOURCE, **more)


def key_in(document, **options):
    """Return the key that is found, as it would be used."""
    return read(document, {"client_id": "acme"} | options).secret_key.reveal()


def pair(**more):
    """Return a document with client id and key, and more."""
    return {"client_id": "acme", "secret_key": KEY} | more


def test_json_holds_client_id_and_key():
    """The default fields are client_id and secret_key."""
    credential = read(pair())
    assert (credential.client_id, credential.secret_key.reveal()) == ("acme", KEY)


@pytest.mark.parametrize(
    "document",
    ["\ufeff" + json.dumps(pair()), "\n " + json.dumps(pair(), indent=2) + "\r\n"],
    ids=["byte-order mark", "white space"],
)
@pytest.mark.parametrize("encode", [str, str.encode], ids=["text", "bytes"])
def test_json_may_have_space_around_it(document, encode):
    """A byte-order mark, indentation and line breaks make no difference."""
    assert read(encode(document)).secret_key.reveal() == KEY


@pytest.mark.parametrize(
    "document, options",
    [
        ({"id": "acme", "key": KEY}, {"client_id_field": "id", "secret_key_field": "key"}),
        (
            {"partner": {"api": pair()}},
            {
                "client_id_field": "partner.api.client_id",
                "secret_key_field": "partner.api.secret_key",
            },
        ),
        ({"client_id": "acme", "a.b": KEY}, {"secret_key_field": "a.b"}),
        ({"client_id": "acme", "a": {"b.c": KEY}}, {"secret_key_field": "a.b.c"}),
        ({"secret_key": KEY}, {"client_id": "acme"}),
        ({"client_id": "other", "secret_key": KEY}, {"client_id": "acme"}),
    ],
    ids=["named", "dotted", "dot in name", "dot in inner name", "client_id=", "client_id= wins"],
)
def test_fields_are_found_where_the_options_say(document, options):
    """A field is a dotted path; a client id that is given needs no field."""
    credential = read(document, options)
    assert (credential.client_id, credential.secret_key.reveal()) == ("acme", KEY)


@pytest.mark.parametrize(
    "document, key",
    [
        (KEY, KEY),
        (KEY + "\n", KEY),
        (KEY + "\r\n", KEY),
        ("\ufeff" + KEY + "\n", KEY),
        (KEY + "\n\n", KEY + "\n"),
        (KEY + "\r", KEY + "\r"),
        (" " + KEY + " \n", " " + KEY + " "),
        ('"' + KEY + '"', '"' + KEY + '"'),
        ("[1]", "[1]"),
        ("clé", "clé"),
        (
            "-----BEGIN KEY-----\nx\n-----END KEY-----\n",
            "-----BEGIN KEY-----\nx\n-----END KEY-----",
        ),
    ],
)
@pytest.mark.parametrize("encode", [str, str.encode], ids=["text", "bytes"])
def test_other_text_is_the_key_alone(document, key, encode):
    """A byte-order mark and one line break at the end go, and nothing else."""
    assert key_in(encode(document)) == key


@pytest.mark.parametrize(
    "raw", [RAW, RAW + b"\n", b"\xff\xfe" + RAW, b"{" + RAW, b"\xef\xbb\xbf" + RAW]
)
def test_bytes_that_are_no_utf8_are_the_key_as_they_stand(raw):
    """Nothing is taken off them, whatever they begin or end with."""
    assert key_in(raw) == raw


@pytest.mark.parametrize(
    "value", [KEY + "\n", " " + KEY, "\ufeff" + KEY, KEY + "\u0000"], ids=ascii
)
def test_values_in_json_stay_as_they_are(value):
    """What a program wrote into JSON, it meant."""
    assert key_in({"secret_key": value}) == value


@pytest.mark.parametrize(
    "encoding, stored",
    [
        ("base64", base64.b64encode(RAW)),
        ("base64", base64.b64encode(RAW).rstrip(b"=")),
        ("base64", base64.encodebytes(RAW * 3)),
        ("base64url", base64.urlsafe_b64encode(RAW)),
        ("base64url", base64.urlsafe_b64encode(RAW).rstrip(b"=") + b"\n"),
        ("hex", RAW.hex().encode()),
        ("hex", RAW.hex().upper().encode()),
    ],
    ids=["base64", "no padding", "lines", "base64url", "base64url bare", "hex", "HEX"],
)
def test_an_encoded_key_is_decoded(encoding, stored):
    """In a document of its own or in JSON; padding and line breaks don't matter."""
    expected = RAW * 3 if stored.count(b"\n") > 1 else RAW
    assert key_in(stored, secret_key_encoding=encoding) == expected
    assert key_in({"secret_key": stored.decode()}, secret_key_encoding=encoding) == expected


@pytest.mark.parametrize(
    "encoding, stored",
    [
        ("base64", KEY + "!"),
        ("base64", KEY[:-1] + "_"),
        ("base64", "A"),
        ("base64", "QQ==QQ=="),
        ("base64url", KEY[:-1] + "+"),
        ("base64url", KEY[:-1] + "/"),
        ("hex", KEY),
        ("hex", "abc"),
        ("hex", "0x" + "ab" * 16),
        ("base64", "klé" * 10),
        ("hex", RAW),
    ],
)
def test_a_key_that_is_not_encoded_so_is_invalid(encoding, stored, refusal):
    """Guessing would sign with another key than the partner's."""
    options = {"client_id": "acme", "secret_key_encoding": encoding}
    error = refusal(CredentialInvalid, lambda: read(stored, options), KEY, repr(stored))
    assert f"the key is no {encoding}, as secret_key_encoding= says" in str(error)


INVALID = {
    "text alone": (KEY, "client id by client_id="),
    "bytes alone": (RAW, "client id by client_id="),
    "empty": ("", "it is empty"),
    "a line break": ("\n", "it is empty"),
    "a byte-order mark": ("\ufeff", "it is empty"),
    "no fields": ("{}", "no field 'client_id', only no field at all"),
    "clientId": (
        {"clientId": "acme", "secret_key": KEY},
        "only clientId, secret_key: name the right one with client_id_field=",
    ),
    "apiKey": (
        {"client_id": "acme", "apiKey": KEY},
        "only apiKey, client_id: name the right one with secret_key_field=",
    ),
    "key as name": ({"client_id": "acme", KEY: "x"}, "only client_id, …"),
    "empty id": (pair(client_id=""), "'client_id' is empty"),
    "blank id": (pair(client_id=" "), "'client_id' is empty"),
    "id is a number": (pair(client_id=7), "'client_id' is a number"),
    "id is null": (pair(client_id=None), "'client_id' is null"),
    "id of two lines": (pair(client_id="ac\nme"), "control characters"),
    "empty key": (pair(secret_key=""), "'secret_key' is empty"),
    "key is a list": (pair(secret_key=[KEY]), "'secret_key' is a list"),
    "key is an object": (pair(secret_key={"a": KEY}), "'secret_key' is an object"),
    "key is true": (pair(secret_key=True), "'secret_key' is true or false"),
    "key is a number": (pair(secret_key=1.5), "'secret_key' is a number"),
    "half a surrogate": ('{"client_id": "a", "secret_key": "\\ud800"}', "half a surrogate"),
    "half in the id": ('{"client_id": "\\ud800", "secret_key": "x"}', "control characters"),
    "key id is a number": (pair(key_id=7), "'key_id' is no printable text"),
    "key id of two lines": (pair(key_id="a\nb"), "'key_id' is no printable text"),
    "version is a list": (pair(version=["x"]), "'version' is no printable text"),
    "expires soon": (pair(expires_at="soon"), "'expires_at' is neither seconds since the epoch"),
    "expires in a day": (pair(expires_at="2027-01-01"), "ISO 8601 with a zone"),
    "expires at a naive time": (pair(expires_at="2027-01-01T00:00:00"), "ISO 8601 with a zone"),
    "expires in milliseconds": (pair(expires_at=1_800_000_000_000), "'expires_at'"),
    "expires before the epoch": (pair(expires_at=-1), "'expires_at'"),
    "expires true": (pair(expires_at=True), "'expires_at'"),
    "refresh at an object": (pair(refresh_at={}), "'refresh_at'"),
    "no last brace": (json.dumps(pair())[:-1], "it ends too early"),
    "cut in the key": (json.dumps(pair())[:-9], "it ends too early"),
    "cut in a name": (json.dumps(pair())[:9], "it ends too early"),
    "cut in a word": ('{"client_id": nul', "no JSON object"),
    "a brace": ("{", "it ends too early"),
    "cut in a character": (f'{{"secret_key": "{KEY}é'.encode()[:-1], "it ends too early"),
    "Python": (str(pair()), "no JSON object: mend it"),
    "more behind it": (json.dumps(pair()) + " {}", "no JSON object: mend it"),
    "key twice": (f'{{"secret_key": "{KEY}", "secret_key": "x"}}', "more than once: secret_key"),
    "inner field twice": (f'{{"a": {{"{KEY}": 1, "{KEY}": 2}}}}', "more than once: …"),
    "NaN": (f'{{"secret_key": "{KEY}", "x": NaN}}', "holds NaN"),
    "-Infinity": (f'{{"secret_key": "{KEY}", "x": -Infinity}}', "holds -Infinity"),
    "objects without end": ('{"a":' * 13_000, "nests too deep"),
    "lists without end": ('{"a":' + "[" * 60_000, "nests too deep"),
    "digits without end": ('{"a":' + "9" * 60_000 + "}", "too many digits"),
    "66 KiB": (KEY * 2100, "longer than 64 KiB"),
    "Latin-1": (
        json.dumps(pair(client_id="é"), ensure_ascii=False).encode("latin-1"),
        "it is JSON, but not in UTF-8",
    ),
    "key in UTF-16": (KEY.encode("utf-16"), "UTF-16"),
    "one letter more": (f"{KEY}x".encode("utf-16"), "UTF-16"),
    "JSON in UTF-16": (json.dumps(pair()).encode("utf-16"), "UTF-16"),
    "key in UTF-16, big end first": (b"\xfe\xff" + KEY.encode("utf-16-be"), "UTF-16"),
    "one letter more, big end first": (b"\xfe\xff" + f"{KEY}x".encode("utf-16-be"), "UTF-16"),
}


@pytest.mark.parametrize("document, said", INVALID.values(), ids=INVALID.keys())
def test_what_is_no_credential_says_why(document, said, refusal):
    """The message names the source, what is wrong and the names of fields, never a value."""
    error = refusal(CredentialInvalid, lambda: read(document), KEY, repr(RAW))
    assert str(error).startswith(f"{SOURCE}: ")
    assert said in str(error)


def test_a_key_alone_has_no_fields(refusal):
    """Where a field of the key is named, another text than JSON is a mistake in the store."""
    options = {"client_id": "acme", "secret_key_field": "key"}
    error = refusal(CredentialInvalid, lambda: read(KEY, options), KEY)
    assert "no JSON object, so it has no field 'key' (secret_key_field=)" in str(error)


def test_many_names_are_not_all_listed(refusal):
    """A message stays readable."""
    document = {f"name_{number:02}": 1 for number in range(40)}
    error = refusal(CredentialInvalid, lambda: read(document))
    assert "name_10, name_11, …: name the right one" in str(error)


@pytest.mark.parametrize(
    "value",
    [
        1_800_000_000,
        1_800_000_000.0,
        "1800000000",
        "2027-01-15T08:00:00Z",
        "2027-01-15T10:00:00+02:00",
    ],
    ids=repr,
)
@pytest.mark.parametrize("name", ["refresh_at", "expires_at"])
def test_a_time_is_a_number_or_iso_8601_with_a_zone(name, value):
    """Seconds since the epoch, as a number or a text, or a date with its zone."""
    found = getattr(read(pair(**{name: value})), name)
    seconds = found.timestamp() if isinstance(found, datetime) else found
    assert seconds == 1_800_000_000


@pytest.mark.parametrize("blank", [None, ""])
def test_an_optional_field_may_be_left_blank(blank):
    """A template that fills in nothing is as good as no field."""
    credential = read(pair(key_id=blank, version=blank, refresh_at=blank, expires_at=blank))
    assert (credential.key_id, credential.version) == (None, None)
    assert (credential.refresh_at, credential.expires_at) == (None, None)


def test_the_earlier_of_two_times_counts():
    """What the store knows and what the document says are both limits."""
    at = datetime(2027, 1, 1, tzinfo=UTC)
    document = pair(refresh_at=at.isoformat(), expires_at=at.isoformat())
    credential = read(document, refresh_at=at + timedelta(1), expires_at=at - timedelta(1))
    assert (credential.refresh_at, credential.expires_at) == (at, at - timedelta(1))


@pytest.mark.parametrize("version, shown", [("v7", "v7"), (7, "7"), (1.5, "1.5")])
def test_a_document_names_its_version(version, shown):
    """A text or a number; it is only shown."""
    assert read(pair(version=version)).version == shown


def test_the_store_names_the_version_first():
    """A document's own `version` is often that of its format."""
    assert read(pair(version=1), version="AWSCURRENT").version == "AWSCURRENT"


def test_a_document_names_its_key_id():
    """It becomes the token's `kid`."""
    assert read(pair(key_id="k1")).key_id == "k1"


def test_what_stands_beside_a_document_wins():
    """A variable or a file of its own is nearer to the program than the document."""
    beside = {"client_id": Secret(b"nearer\n"), "key_id": Secret("k2")}
    credential = read(pair(key_id="k1"), beside=beside)
    assert (credential.client_id, credential.key_id) == ("nearer", "k2")


def found(document, options=None, **more):
    """Return key, version and key id of each alternate."""
    content = document if isinstance(document, (str, bytes)) else json.dumps(document)
    alternates = Fields(**options or {}).alternates(Secret(content), source=SOURCE, **more)
    return [(a.secret_key.reveal(), a.version, a.key_id) for a in alternates]


@pytest.mark.parametrize(
    "document, options, expected",
    [
        (pair(), {}, []),
        (KEY, {}, []),
        (RAW, {"client_id": "acme"}, []),
        (pair(secret_key_next="", secret_key_previous=None), {}, []),
        (
            pair(secret_key_previous="p", secret_key_next="n"),
            {},
            [("n", "next", None), ("p", "previous", None)],
        ),
        (
            pair(secret_key_next="n", secret_key_previous="p", key_id="k", key_id_next="k+"),
            {},
            [("n", "next", "k+"), ("p", "previous", "k")],
        ),
        (
            {"client_id": "acme", "a": {"key": "k", "key_next": "n"}, "secret_key_previous": "p"},
            {"secret_key_field": "a.key"},
            [("n", "next", None), ("p", "previous", None)],
        ),
        (
            pair(secret_key_next="6e", secret_key_previous="zz"),
            {"secret_key_encoding": "hex"},
            [(b"n", "next", None)],
        ),
    ],
    ids=["none", "text", "bytes", "blank", "two", "key ids", "named field", "one is broken"],
)
def test_alternates_stand_beside_the_key(document, options, expected):
    """Next before previous, each with its label as version; one that is broken is left out."""
    assert found(document, options) == expected


def test_an_alternate_carries_the_store_s_version_and_its_label():
    """Events then say which document it came from."""
    assert found(pair(secret_key_next="n"), version="7") == [("n", "7:next", None)]


@pytest.mark.parametrize(
    "document, options",
    [
        ('{"secret_key_next": "' + KEY, {}),
        (pair(secret_key_next=KEY), {"secret_key_encoding": "hex"}),
        ({"secret_key": "x", "secret_key_next": KEY}, {}),
    ],
    ids=["broken document", "all broken", "no client id"],
)
def test_alternates_that_are_all_broken_are_an_error(document, options, refusal):
    """Whoever calls says what is wrong with them."""
    error = refusal(CredentialInvalid, lambda: found(document, options), KEY)
    assert str(error).startswith(SOURCE)


@pytest.mark.parametrize(
    "options",
    [
        {"client_id": ""},
        {"client_id": "a\nb"},
        {"client_id": 7},
        {"client_id": "a", "client_id_field": "b"},
        {"client_id_field": " "},
        {"secret_key_field": "a..b"},
        {"secret_key_field": ".a"},
        {"secret_key_field": ["a"]},
        {"secret_key_encoding": "base32"},
        {"secret_key_encoding": "HEX"},
        {"secret_key_encoding": []},
    ],
)
def test_a_wrong_option_is_refused_at_once(options):
    """A setting that can't be meant shows before anything is read."""
    with pytest.raises(ConfigurationError):
        Fields(**options)


@pytest.mark.parametrize(
    "given, expected",
    [(None, 8.0), (3, 3.0), ("2.5", 2.5), (timedelta(seconds=4), 4.0), (0.1, 0.1), (3600, 3600.0)],
)
def test_a_timeout_is_seconds(given, expected):
    """A number, the text of one (from a URL) or a timedelta; 8 s if nothing is said."""
    assert read_timeout(given) == expected


@pytest.mark.parametrize("given", ["x", "", "nan", "inf", "-1", 0, 0.09, True, 3600.1, b"1", []])
def test_a_timeout_that_is_none_is_refused(given):
    """It must be finite, at least 0.1 s, at most an hour."""
    with pytest.raises(ConfigurationError, match="timeout"):
        read_timeout(given)


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6)
NAMES = st.sampled_from(
    ["client_id", "secret_key", "secret_key_next", "key_id", "version", "refresh_at", "expires_at"]
)
DOCUMENTS = st.dictionaries(
    NAMES | st.text(max_size=4),
    SCALARS | st.just(KEY) | st.lists(st.just(KEY)) | st.dictionaries(NAMES, SCALARS),
)
CONTENTS = (
    DOCUMENTS.map(json.dumps)
    | DOCUMENTS.map(lambda document: json.dumps(document, ensure_ascii=False)).map(
        lambda text: text.encode("utf-8", "surrogatepass")
    )
    | st.tuples(st.binary(max_size=20), st.binary(max_size=20)).map(KEY.encode().join)
    | st.tuples(st.text(max_size=9), st.text(max_size=9)).map(KEY.join)
    | st.tuples(st.sampled_from(["{", "{{", '{"', '{"a":']), st.text(max_size=9)).map(KEY.join)
)


@settings(deadline=None)  # a busy machine is no bug
@given(
    CONTENTS,
    st.none() | st.sampled_from(["base64", "base64url", "hex"]),
    st.none() | st.just("acme"),
    st.none() | st.sampled_from(["a.b", "secret_key", "client_id"]),
    st.integers(0, 40),
)
@example('{"client_id": "a", "secret_key": "' + KEY, None, None, None, 0)
@example(b"\xff\xfe" + KEY.encode("utf-16-le"), None, None, None, 0)
def test_any_document_gives_credentials_or_our_error(
    refusal, content, encoding, client_id, field, cut
):
    """Nothing else is raised, whole or cut off, and no error shows the key."""
    fields = Fields(client_id=client_id, secret_key_field=field, secret_key_encoding=encoding)
    document = Secret(content[: len(content) - cut] if cut else content)
    for call in (fields.credential, fields.alternates):
        if refused(call, document):
            refusal(CredentialInvalid, lambda call=call: call(document, source=SOURCE), KEY)


def refused(call, document):
    """Whether it is an error of ours."""
    try:
        call(document, source=SOURCE)
    except CredentialError:
        return True
    return False
