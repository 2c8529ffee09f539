"""Ports, hosts and messages of origins."""

import sys

import pytest

from partner_auth import ConfigurationError, Credential, InsecureTransport, PartnerAuth

ACME = Credential("acme", "k" * 40)


def signs(url, *origins):
    """Whether a request to `url` would carry a token."""
    try:
        return bool(PartnerAuth(ACME, origins=origins or None).token(url))
    except ConfigurationError:
        return False


@pytest.mark.parametrize(
    ("origin", "url"),
    [
        ("http://127.0.0.1", "http://127.0.0.1:80/"),
        ("http://127.0.0.1:80", "http://127.0.0.1/"),
        ("ws://127.0.0.1", "http://127.0.0.1:80/"),
        ("https://a.example", "https://a.example:443/"),
        ("wss://a.example:443", "https://a.example/"),
        ("https://\uff42\u00fccher.example", "https://xn--bcher-kva.example/"),
    ],
)
def test_a_default_port_and_a_wide_letter_are_spellings(origin, url):
    """80 and 443; names as IDNA maps them."""
    assert signs(url, origin)


@pytest.mark.parametrize(
    ("origin", "url"),
    [
        ("http://127.0.0.1", "http://127.0.0.1:81/"),
        ("http://127.0.0.1", "http://127.0.0.1:443/"),
        ("https://a.example", "https://a.example:80/"),
        ("https://a.example:8443", "https://a.example/"),
    ],
)
def test_another_port_is_another_origin(origin, url):
    """Each of them whole."""
    assert not signs(url, origin)


def test_plain_http_to_the_host_of_any_named_https_origin_is_refused():
    """Also where others are named."""
    origins = ["https://a.example", "https://b.example", "http://127.0.0.1:8080"]
    for host in ("a.example", "b.example:8080"):
        with pytest.raises(InsecureTransport):
            signs(f"http://{host}/", *origins)
    assert not signs("http://127.0.0.1:8081/", *origins)


@pytest.mark.parametrize(
    ("origin", "said"),
    [
        ("api.example", "'api.example' doesn't begin with https://"),
        ("ftp://api.example", "doesn't begin with https://"),
        ("https://", "it has no host, or a malformed one"),
        ("https://a.example:0", "it has no host, or a malformed one"),
        ("https://a_b\u00df?", "path, query or fragment"),
        ("https://a.example/v1", "'https://a.example/v1' has a path, query or fragment"),
        ("https://a.example#", "has a path, query or fragment"),
        ("https://[::1", "it can't be parsed"),
        ("https://u:p@a.example", "it has a user or password$"),
        ("https://u:p/q@a.example", "it has a user or password$"),
        ("https://a b", "white space or control characters"),
        ("https://\u00e9\u00e9..example", "it has no host, or a malformed one"),
    ],
)
def test_what_is_wrong_with_an_origin_is_said(origin, said):
    """In one sentence, with the right form."""
    with pytest.raises(ConfigurationError, match="an origin is 'https://host'") as caught:
        PartnerAuth(ACME, origins=origin)
    assert said.removesuffix("$") in str(caught.value)


def test_a_wrong_base_url_is_named(monkeypatch):
    """By its variable."""
    monkeypatch.setenv("PARTNER_BASE_URL", "https://[")
    with pytest.raises(ConfigurationError, match="PARTNER_BASE_URL"):
        PartnerAuth()


def test_a_unicode_host_without_idna_says_what_to_do(monkeypatch):
    """Write it in ASCII, or install the package."""
    monkeypatch.setitem(sys.modules, "idna", None)
    with pytest.raises(ConfigurationError, match="pip install idna"):
        PartnerAuth(ACME, origins="https://b\u00fccher.example")
    assert signs("https://xn--bcher-kva.example/", "https://xn--bcher-kva.example")
