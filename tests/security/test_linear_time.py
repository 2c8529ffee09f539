"""What a stranger sends, however long and odd, costs no more time than its length."""

import time

import pytest

from partner_auth import ConfigurationError, CredentialInvalid, FileSource, source_from_url
from partner_auth._clock import skew
from partner_auth._recovery import lacks_scope

LONG = 100_000
SOON = 0.2  # seconds of this thread's CPU; what is quadratic takes much more

CHALLENGES = {
    "quotes in quotes": 'insufficient_scope "' + '\\"' * (LONG // 2),
    "a backslash at the end": 'insufficient_scope "' + "\\" * (LONG + 1),
    "quotes": "insufficient_scope" + '"' * (LONG + 1),
    "quotes and commas": "insufficient_scope" + '",' * (LONG // 2),
    "commas and spaces": "insufficient_scope" + ", " * (LONG // 2),
    "spaces": "insufficient_scope, a" + " " * LONG,
    "one word": "insufficient_scope, " + "a" * LONG,
    "words": "insufficient_scope" + ",a" * (LONG // 2),
    "schemes": "insufficient_scope" + ", Bearer b" * (LONG // 10),
    "errors": "insufficient_scope, Bearer " + "error " * (LONG // 6),
    "errors and equals": "Bearer " + "error=insufficient_scope_" * (LONG // 25),
}
URLS = {
    "colons": "{}://" + ":" * LONG,
    "escaped colons": "{}://" + "%3a" * (LONG // 3),
    "at signs": "{}://" + "@" * LONG,
    "slashes": "{}:///" + "a/" * (LONG // 2),
    "dots": "{}:///" + "../" * (LONG // 3),
    "per cent": "{}:///" + "%" * LONG,
    "one parameter": "{}:///a?" + "a" * LONG,
    "parameters": "{}:///a?" + "a=1&" * (LONG // 4),
    "other parameters": "{}:///a?" + "&".join(f"a{n}=1" for n in range(LONG // 8)),
    "a secret's names": "{}:///a?" + "secret_" * (LONG // 7) + "=1",
}
SCHEMES = ["env", "file", "vault", "aws-secretsmanager", "aws-ssm", "elsewhere"]


def cpu_of(call, *args):
    """Return the seconds that a call took of this thread, and nobody else's."""
    began = time.thread_time()
    call(*args)
    return time.thread_time() - began


@pytest.mark.parametrize("challenge", CHALLENGES.values(), ids=CHALLENGES)
def test_a_challenge_is_judged_at_once(challenge):
    """In an event loop others would wait for it, at each 401."""
    assert cpu_of(lacks_scope, challenge) < SOON / 4


@pytest.mark.parametrize("date", ["1 " * LONG, "Mon, " * LONG, ":" * LONG, "9" * LONG, "(" * LONG])
def test_a_date_is_judged_at_once(date):
    """What is longer than a date is none."""
    assert cpu_of(skew, date, 0.0) < SOON
    assert skew(date, 0.0) == 0.0


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("url", URLS.values(), ids=URLS)
def test_a_source_url_is_taken_apart_at_once(url, scheme):
    """Or refused."""

    def read():
        try:
            source_from_url(url.format(scheme))
        except ConfigurationError:
            return

    read()  # what is imported does not count
    assert cpu_of(read) < SOON


DOCUMENTS = {
    "nested": b'{"a":' * (LONG // 10) + b"1" + b"}" * (LONG // 10),
    "lists": b'{"a":' + b"[" * (LONG // 2),
    "digits": b'{"a":' + b"9" * (LONG // 2) + b"}",
    "names": b"{" + b",".join(b'"a%d":1' % n for n in range(LONG // 16)) + b"}",
    "one of many twice": b'{"a":1,'
    + b",".join(b'"a%d":1' % n for n in range(LONG // 16))
    + b',"a":1}',
    "one name": b"{" + b",".join([b'"a":1'] * (LONG // 12)) + b"}",
    "escapes": b'{"secret_key":"' + b"\\u0041" * (LONG // 12) + b'"}',
    "no UTF-8": b"{" + b"\xff" * (LONG // 2),
    "spaces": b" " * (LONG // 2) + b"{",
    "lines": b"\r\n" * (LONG // 4),
}


@pytest.mark.parametrize("content", DOCUMENTS.values(), ids=DOCUMENTS)
def test_a_document_is_read_at_once(tmp_path, content):
    """Or refused; none is longer than 64 KiB."""
    file = tmp_path / "partner.json"
    file.write_bytes(content)
    source = FileSource(file, client_id_field="a.a.a", secret_key_field="secret_key")

    def read():
        with pytest.raises(CredentialInvalid):
            source.fetch()

    assert cpu_of(read) < SOON
