"""Where a token goes and where the client connects are one place, however a URL is written.

The client's own code says where it connects: urllib3's pool for requests, httpcore's origin for
httpx. The adapters and transports here only look; nothing is sent.
"""

import contextlib
import ipaddress
import warnings

import httpcore
import httpcore2
import httpx
import httpx2
import pytest
import requests
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from requests.adapters import HTTPAdapter

from partner_auth import (
    ConfigurationError,
    Credential,
    InsecureTransport,
    PartnerAuth,
    PartnerAuthWarning,
)

KEY = "k" * 40
NAMED = {
    ("https", "api.example", 443),
    ("https", "xn--bcher-kva.example", 8443),
    ("https", "::1", 443),
    ("http", "127.0.0.1", 8080),
}
ORIGINS = [
    "https://api.example",
    "https://bücher.example:8443",
    "https://[::1]",
    "http://127.0.0.1:8080",
]
LOOPBACK = {"localhost", "127.0.0.1", "::1"}


def _mixed(*texts):
    """Write some of these texts, or any other one, behind each other."""
    return st.lists(st.sampled_from(texts) | st.text(max_size=2), max_size=4).map("".join)


def _words(text, often=0):
    """Draw one of the words of a text; `often` times more likely none at all."""
    return st.sampled_from([""] * often + text.split(" "))


WIDE = "\uff45", "\uff14", "\u3002"  # e, 4 and a full stop, as wide as a Chinese character
SCHEME = _words("https http HTTPS HtTp hTTps wss ws ftp file https:https http+x")
SEPARATOR = st.sampled_from(
    ["://"] * 8 + [":", ":/", ":///", ":\\\\", "://\\", ":/\\", "//", "://@", ":// "]
)
USER = _words(
    "u@ u:p@ api.example@ api.example:443@ a@b@ %40 \\@ @ /@ ?@ #@ [::1]@ :@", often=8
) | (st.sampled_from(["api.example/@", "api.example%2f@", "api.example\t@", "api.example?@"]))
HOST = st.one_of(
    _words("api.example API.Example api.example. api.example.. evil evil.api.example"),
    _words("api.example.evil api.example%2eevil api%2eexample api.example;evil api.example,evil"),
    _words("b\u00fccher.example B\u00dcCHER.example bu\u0308cher.example xn--bcher-kva.example"),
    _words(
        "[::1] [0:0::1] [::1%25lo] [::1%lo] [::ffff:127.0.0.1] [::1 ::1] [v1.x] fa\u00df.example"
    ),
    _words("127.0.0.1 127.1 0x7f.0.0.1 2130706433 127.0.0.1. 0127.0.0.1 127.0.0.1%2f", often=1),
    _words("localhost LOCALHOST a.localhost localhost. localhost.evil"),
    st.sampled_from(
        ["api.ex\u00adample", "api.example\u200b", "api\t.example", "api.example\\.evil"]
    ),
    _mixed("api.example", "evil", ".", "@", "\\", "/", "%", "[", "]", ":", "\t", " ", "?", *WIDE),
)
PORT = _words(
    ":443 :0443 :80 :8443 :8080 : :0 :65536 :-1 :+443 :443@evil :4_43 :443. :a", often=8
) | (
    st.sampled_from([": 443", f":{WIDE[1]}43", ":443\\", ":443:443", ":%34%34%33", ":" + "9" * 20])
)
REST = st.one_of(
    st.sampled_from(["", "/", "/x", "?x", "#x", "/@evil", "/..//evil", "\\x", "/\\evil", "?@evil"]),
    _mixed("/", "?", "#", "@", "\\", ":", "evil", "api.example", "%2f", "..", " "),
)
URLS = st.tuples(SCHEME, SEPARATOR, USER, HOST, PORT, REST).map("".join)


class Looking(HTTPAdapter):
    """Tells where a request would be sent to, and what with."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def send(self, request, **given):
        pool = self.get_connection_with_tls_context(request, verify=True)
        self.seen.append((pool.scheme, pool.host, pool.port, request.headers.get("Authorization")))
        response = requests.Response()
        response.status_code, response.request, response.url = 200, request, request.url
        response.raw = None
        response._content = b""
        return response


def _httpx_transport(client, core):
    class Transport(client.BaseTransport):
        """Tells the same."""

        def __init__(self):
            self.seen = []

        def handle_request(self, request):
            url = request.url
            target = core.URL(
                scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path
            )
            if url.scheme not in ("http", "https"):
                raise client.UnsupportedProtocol(url.scheme)
            sent_to = target.origin
            header = request.headers.get("Authorization")
            host = sent_to.host.decode("ascii").removeprefix("[").removesuffix("]")
            self.seen.append((sent_to.scheme.decode(), host, sent_to.port, header))
            return client.Response(200)

    return Transport()


@contextlib.contextmanager
def _requests(auth):
    with requests.Session() as session:
        session.trust_env = False
        session.auth, looking = auth, Looking()
        session.adapters.clear()  # nothing is sent anywhere
        session.mount("", looking)
        yield session.get, looking.seen


def _of_httpx(client, core):
    @contextlib.contextmanager
    def opened(auth):
        transport = _httpx_transport(client, core)
        with client.Client(auth=auth, transport=transport, trust_env=False) as session:
            yield session.get, transport.seen

    return opened


CLIENTS = {
    "requests": _requests,
    "httpx": _of_httpx(httpx, httpcore),
    "httpx2": _of_httpx(httpx2, httpcore2),
}
FUZZ = settings(
    max_examples=400, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)


def _sent(client, url, **options):
    """Return where a request went and whether it was signed; None: the client has no such URL."""
    auth = PartnerAuth(Credential("acme", KEY), **options)
    with CLIENTS[client](auth) as (get, seen):
        return _outcome(get, seen, url)


def _outcome(get, seen, url):
    seen.clear()
    try:
        get(url)
    except InsecureTransport:
        assert seen == []
        return "refused"
    except (*_errors(), ValueError, UnicodeError):
        return None
    return seen[0] if seen else None


def _errors():
    of_httpx = [(one.HTTPError, one.InvalidURL) for one in (httpx, httpx2)]
    return (requests.RequestException, *of_httpx[0], *of_httpx[1])


def _canonical(scheme, host, port):
    """Return where a connection goes in one spelling: case and brackets mean nothing there."""
    host = host.lower()
    with contextlib.suppress(ValueError):
        host = str(ipaddress.ip_address(host))
    return scheme, host, port


@pytest.mark.parametrize("client", CLIENTS)
@FUZZ
@given(st.lists(URLS, min_size=1, max_size=4))
@example(["https://api.example/", "https://api.example\\@evil/", "https://api.example@evil/"])
@example(["https://api.example/", "https://api.example:0/"])
@example(["https://api.example", "https://api.example?@evil/", "https://api.example#@evil/"])
def test_named_origins_are_where_the_client_connects(client, urls):
    """One object, several URLs after each other: what it remembers of one is no other's."""
    auth = PartnerAuth(Credential("acme", KEY), origins=ORIGINS)
    with CLIENTS[client](auth) as (get, seen):
        for url in urls:
            outcome = _outcome(get, seen, url)
            if outcome in (None, "refused"):
                continue
            *place, header = outcome
            assert (header is not None) == (_canonical(*place) in NAMED), (url, outcome)


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.filterwarnings("ignore::partner_auth.PartnerAuthWarning")
@FUZZ
@given(st.lists(URLS, min_size=1, max_size=4))
def test_without_origins_every_https_url_and_loopback_alone_is_signed(client, urls):
    """Plain http elsewhere is refused before anything is sent."""
    auth = PartnerAuth(Credential("acme", KEY))
    with CLIENTS[client](auth) as (get, seen):
        for url in urls:
            outcome = _outcome(get, seen, url)
            if outcome in (None, "refused"):
                continue
            scheme, host, _, header = outcome
            near = _canonical(*outcome[:3])[1]
            is_loopback = near in LOOPBACK or near.endswith(".localhost") or near.startswith("127.")
            if header is not None:
                assert scheme == "https" or is_loopback, (url, outcome)
            else:  # a scheme or host that no token can go to
                assert scheme not in ("https", "http") or not _is_plain(host), (url, outcome)


def _is_plain(host):
    return all(c.isascii() and (c.isalnum() or c in "-._~:") for c in host)


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize(
    "url",
    [
        "https://api.example./x",
        "https://api.example:444/x",
        "http://api.example:443/x",
        "https://api.example@evil/x",
        "https://evil/https://api.example/",
        "https://api.example%2eevil/x",
        "https://api.example.evil/x",
        "https://evil\\@api.example.evil/x",
        "https://127.0.0.1:8080/x",
        "http://127.0.0.1:8081/x",
        "http://127.1:8080/x",
        "http://[::1]/x",
        "https://[::1]:8443/x",
        "https://[::ffff:7f00:1]/x",
    ],
)
def test_what_only_looks_like_a_named_origin_is_unsigned(client, url):
    """Or refused; by every client."""
    outcome = _sent(client, url, origins=ORIGINS)
    assert outcome in (None, "refused") or outcome[3] is None


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize(
    "url",
    [
        "https://api.example/x",
        "HTTPS://API.EXAMPLE:443/x",
        "https://user:pw@api.example/x",
        "https://bücher.example:8443/x",
        "https://xn--bcher-kva.example:8443",
        "https://[0:0:0:0:0:0:0:1]/x",
        "http://127.0.0.1:8080?x",
    ],
)
def test_a_named_origin_is_signed_in_each_spelling(client, url):
    """By every client."""
    outcome = _sent(client, url, origins=ORIGINS)
    assert outcome is not None
    assert outcome[3].startswith("Bearer ")


@FUZZ
@given(st.text(max_size=30) | URLS)
def test_what_can_be_named_is_where_the_clients_connect(text):
    """Or is refused when the object is made: no origin is named and then never signed for."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PartnerAuthWarning)
        try:
            auth = PartnerAuth(Credential("acme", KEY), origins=text)
        except ConfigurationError:
            return
    (named,) = auth._origins.named
    for client, opened in CLIENTS.items():
        if named.scheme == "https" and not text.lower().startswith("ws"):
            with opened(auth) as (get, seen):
                outcome = _outcome(get, seen, f"{text.rstrip('/')}/x")
                assert outcome is None or outcome[3], (client, text, named, outcome)
