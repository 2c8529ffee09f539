"""Where a token may go: scheme, host and port of the URL that the client will connect to, compared whole."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address, ip_network
from typing import NamedTuple
from urllib.parse import urlsplit

from partner_auth.exceptions import ConfigurationError, InsecureTransport, warn

_SCHEMES = {"https": "https", "wss": "https", "http": "http", "ws": "http"}
_PORTS = {"https": 443, "http": 80}
_HOST = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-._~:")
_LOOPBACK = (ip_network("127.0.0.0/8"), ip_network("::1/128"))


class Origin(NamedTuple):
    """One place that a token may go to; the host in its ASCII form, a port always there."""

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        """Write it as a URL does, without a default port."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}" + (
            "" if self.port == _PORTS[self.scheme] else f":{self.port}"
        )

    @property
    def is_loopback(self) -> bool:
        """Whether the host is 127/8, ::1, `localhost` or below it."""
        if self.host == "localhost" or self.host.endswith(".localhost"):
            return True
        try:
            address = ip_address(self.host)
        except ValueError:
            return False
        return any(address in network for network in _LOOPBACK)


def origin_of(scheme: str, host: str, port: int | None) -> Origin | None:
    """Return the origin of a URL that a client has taken apart; None if no token can go there."""
    known = _SCHEMES.get(scheme.lower())
    host = _address(host.lower())
    if known is None or not host or not _HOST.issuperset(host):
        return None
    return Origin(known, host, port or _PORTS[known])  # as clients do with a port of 0


def origin_of_url(url: str) -> Origin | None:
    """Return the origin of a prepared URL; None for one that no token can go to."""
    try:
        parts = urlsplit(url)
        if "\\" in parts.netloc:  # some parsers end the host there, and some do not
            return None
        return origin_of(parts.scheme, parts.hostname or "", parts.port)
    except ValueError:
        return None


class Origins:
    """The origins that a `PartnerAuth` signs for: those named, or every https one when none is."""

    def __init__(self, named: str | Iterable[str] | None) -> None:
        """Check the names. Raise `ConfigurationError` for one that is no origin."""
        self.named = None if named is None else frozenset(_named(named))
        if self.named is not None and not self.named:
            raise ConfigurationError("origins: none is named; give at least one, or leave it out")
        for open_to_all in sorted(
            o for o in self.named or () if o.scheme == "http" and not o.is_loopback
        ):
            text = f"origins: tokens will go to {open_to_all} over plain http, readable on the way"
            warn(text)

    def admit(self, origin: Origin | None) -> bool:
        """Whether a token may go there.

        Raises:
            InsecureTransport: the origin is plain http where a token would else have been sent.
        """
        if origin is None:
            return False
        if self.named is not None:
            if origin in self.named:
                return True
            if origin.scheme == "http" and self._is_secured(origin.host):
                raise _insecure(origin)
            return False
        if origin.scheme == "http" and not origin.is_loopback:
            raise _insecure(origin)
        return True

    def _is_secured(self, host: str) -> bool:
        return any(one.scheme == "https" and one.host == host for one in self.named or ())


def _insecure(origin: Origin) -> InsecureTransport:
    return InsecureTransport(
        f"{origin}: nothing was sent, since a token must not travel over plain http; use https, or "
        f"name it in a network that you trust: origins={str(origin)!r}"
    )


def _named(named: str | Iterable[str]) -> Iterable[Origin]:
    if isinstance(named, (bytes, bytearray)) or not isinstance(named, Iterable):
        raise ConfigurationError(
            f"origins: one or several texts are wanted, not {type(named).__name__}"
        )
    return [_parsed(one) for one in ([named] if isinstance(named, str) else named)]


def base_origin(url: str) -> str:
    """Return the origin part of `PARTNER_BASE_URL`, whose path does not matter.

    Raises:
        ConfigurationError: it is no URL.
    """
    try:
        parts = urlsplit(url.strip())
    except ValueError:
        pass
    else:
        return f"{parts.scheme}://{parts.netloc}"
    raise ConfigurationError("PARTNER_BASE_URL: a URL like 'https://api.example/v1' is wanted")


def _parsed(text: object) -> Origin:
    if not isinstance(text, str):
        raise ConfigurationError(f"origins: a text is wanted, not {type(text).__name__}")
    wrong = _fault(text)
    origin = None if wrong else _split(text)
    if origin is None:
        wrong = wrong or "it has no host, or a malformed one"
        raise ConfigurationError(
            f"origins: an origin is 'https://host' or 'https://host:port': {wrong}"
        )
    return origin


def _fault(text: str) -> str:
    try:
        parts = urlsplit(text)
    except ValueError:
        return "it can't be parsed"
    if "@" in text:  # wherever: a / in a password ends the host for a parser
        return "it has a user or password"
    if parts.scheme not in _SCHEMES:
        return f"{text!r} doesn't begin with https:// (or http://, wss://, ws://)"
    if parts.path not in ("", "/") or parts.query or parts.fragment or text.endswith(("?", "#")):
        return f"{text!r} has a path, query or fragment"
    return (
        ""
        if text.isprintable() and " " not in text
        else "it holds white space or control characters"
    )


def _split(text: str) -> Origin | None:
    parts = urlsplit(text)
    try:
        port = parts.port
    except ValueError:
        return None
    if port == 0 or parts.netloc.endswith(":"):
        return None
    return origin_of(parts.scheme, _ascii(parts.hostname or ""), port)


def _ascii(host: str) -> str:
    """Return the host as clients put it on the wire: both requests and httpx use IDNA 2008."""
    if host.isascii():
        return host
    try:
        import idna
    except ImportError:
        raise ConfigurationError(
            f"origins: write {host!r} in its ASCII form (xn--…), or pip install idna"
        ) from None
    try:
        return idna.encode(host, uts46=True).decode("ascii")
    except idna.IDNAError:
        return ""


def _address(host: str) -> str:
    if ":" not in host:
        return host
    try:
        return str(ip_address(host))
    except ValueError:
        return ""
