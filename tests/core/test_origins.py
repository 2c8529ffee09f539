"""Where a token may go, decided on the URL that the client connects to."""

from __future__ import annotations

import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partner_auth import (
    ConfigurationError,
    Credential,
    InsecureTransport,
    PartnerAuth,
    PartnerAuthWarning,
)

CREDENTIAL = Credential("acme", "k" * 32)


def signs(url, **options):
    """Whether a request to `url` would carry a token."""
    auth = PartnerAuth(CREDENTIAL, **options)
    try:
        return bool(auth.token(url))
    except ConfigurationError:
        return False


@pytest.mark.parametrize(
    "url",
    [
        "https://api.example/x",
        "https://API.EXAMPLE/x",
        "https://api.example:443/x",
        "https://user:pw@api.example/x",
        "wss://api.example/x",
    ],
)
def test_a_named_origin_is_recognised_in_every_spelling(url):
    """Scheme, host and port are compared, not the text."""
    assert signs(url, origins="https://api.example")


@pytest.mark.parametrize(
    "url",
    [
        "https://api.example.evil/x",
        "https://evil/https://api.example/",
        "https://api.example@evil/x",
        "https://api.example:444/x",
        "https://sub.api.example/x",
        "https://api.example./x",
        "https://api.example\\@evil/x",
        "https://xn--pi-tia.example/",
        "http://elsewhere.example/",
        "ftp://api.example/x",
        "https:///x",
        "https://[::1/x",
        "https://api.example:99999/x",
    ],
)
def test_what_only_looks_like_a_named_origin_gets_no_token(url):
    """Whole comparison; what can't be parsed gets none either."""
    assert not signs(url, origins="https://api.example")


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8/",
        "http://127.9.9.9/",
        "http://[::1]/",
        "http://localhost/",
        "http://a.localhost/",
    ],
)
def test_plain_http_to_loopback_is_signed(url):
    """127/8, ::1, localhost and what is below it."""
    assert signs(url)


@pytest.mark.parametrize(
    "url",
    ["http://api.example/", "ws://api.example/", "http://127.0.0.1.evil/", "http://127.1/", "http://localhost.evil/",
     "http://10.0.0.1/", "http://[::ffff:127.0.0.1]/", "http://0x7f.1/"],
)  # fmt: skip
def test_plain_http_elsewhere_is_refused_before_anything_is_sent(url):
    """The message names the remedy."""
    with pytest.raises(InsecureTransport, match="origins="):
        signs(url)


@pytest.mark.parametrize("url", ["http://api.example/", "http://api.example:8080/"])
def test_plain_http_to_the_host_of_a_named_https_origin_is_refused(url):
    """On any port: there a token would have been expected."""
    with pytest.raises(InsecureTransport):
        signs(url, origins="https://api.example")


def test_a_named_http_origin_is_signed_and_warns_once():
    """For a test network or a mesh."""
    with pytest.warns(PartnerAuthWarning, match="plain http") as caught:
        assert signs("http://testserver/x", origins="http://testserver")
    assert len(caught) == 1


def test_a_second_origin_warns_once_when_none_is_named():
    """Without `origins` every https request is signed."""
    auth = PartnerAuth(CREDENTIAL)
    auth.token("https://one.example/")
    with pytest.warns(PartnerAuthWarning, match=r"two\.example"):
        auth.token("https://two.example/")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        auth.token("https://three.example/")


@pytest.mark.parametrize(
    "origins", ["https://a.example", ["https://a.example"], ("https://a.example/",)]
)
def test_origins_take_one_text_or_several(origins):
    """A bare text is one origin, never a list of letters."""
    assert signs("https://a.example/", origins=origins)


def test_a_unicode_host_is_compared_in_its_ascii_form():
    """As clients put it on the wire (IDNA 2008)."""
    assert signs("https://xn--bcher-kva.example/", origins="https://bücher.example")


@pytest.mark.parametrize("url", ["https://[0:0::1]/", "https://[::1]:443/"])
def test_an_ipv6_address_is_one_in_every_spelling(url):
    """Compared by its shortest form."""
    assert signs(url, origins="https://[::1]")


@pytest.mark.parametrize(
    "origins",
    ["", "api.example", "https://", "https:///x", "https://a.example/v1", "https://u@a.example", "https://a.example?x",
     "https://a.example#x", "https://a.example:0", "https://a.example:x", "https://a b", "https://a.example:", [], 5,
     b"https://a.example", ["https://a.example", None], "https://a\n.example", "https://[::1", "ftp://a.example"],
)  # fmt: skip
def test_a_malformed_origin_is_refused_at_construction(origins):
    """Path, user, query, empty host, a bad port."""
    with pytest.raises(ConfigurationError, match="origins"):
        PartnerAuth(CREDENTIAL, origins=origins)


def test_a_password_in_an_origin_is_not_echoed():
    """It is a secret of somebody's."""
    with pytest.raises(ConfigurationError) as caught:
        PartnerAuth(CREDENTIAL, origins="https://user:hunter2@a.example")
    assert "hunter2" not in str(caught.value)


def test_the_base_url_names_the_origin_when_no_source_is_given(monkeypatch):
    """Its path is ignored."""
    monkeypatch.setenv("PARTNER_CLIENT_ID", "acme")
    monkeypatch.setenv("PARTNER_SECRET_KEY", "k" * 32)
    monkeypatch.setenv("PARTNER_BASE_URL", "https://api.example/v1/")
    auth = PartnerAuth()
    assert auth.token("https://api.example/v2")
    with pytest.raises(ConfigurationError, match="none of `origins`"):
        auth.token("https://other.example/")


def test_the_base_url_is_ignored_when_a_source_is_given(monkeypatch):
    """It belongs to the environment's own partner."""
    monkeypatch.setenv("PARTNER_BASE_URL", "https://api.example/v1/")
    assert signs("https://other.example/")


@given(st.text(max_size=60))
def test_no_text_makes_anything_but_a_clear_error(text):
    """Whatever is given as an origin or asked for as a URL."""
    try:
        PartnerAuth(CREDENTIAL, origins=text)
    except ConfigurationError:
        pass
    except PartnerAuthWarning:
        assert text.lower().startswith(("http:", "ws:"))
    try:
        PartnerAuth(CREDENTIAL, origins="https://api.example").token(f"https://{text}")
    except (ConfigurationError, InsecureTransport):
        pass
    else:
        assert (
            text.lower()
            .split("/")[0]
            .split("?")[0]
            .split("#")[0]
            .rpartition("@")[2]
            .startswith("api.example")
        )
