"""Where a Vault server is and how to reach it: checked arguments and the commands' variables.

`vault` and `bao` read the same ones, `BAO_X` before `VAULT_X`; an empty one counts as unset. They
are read at each use: hvac looks at some of them once, at its import, and at others never.
"""

from __future__ import annotations

import os
import re
from typing import NamedTuple
from urllib.parse import quote, urlsplit

from partner_auth._credentials import Secret
from partner_auth._origins import origin_of_url
from partner_auth.exceptions import ConfigurationError
from partner_auth.sources._url import path_segments

DEFAULT_ADDRESS = "https://127.0.0.1:8200"
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})  # what Go's strconv.ParseBool takes
_FALSE = frozenset({"0", "f", "F", "FALSE", "false", "False"})


class Settings(NamedTuple):
    """How one server is reached; two sources with equal settings share a connection pool."""

    address: str
    address_from: str
    namespace: str | None
    verify: bool | str
    client_cert: str | tuple[str, str] | None
    server_name: str | None
    read_timeout: float | None


def variable(name: str) -> tuple[str, str]:
    """Return name and value of `BAO_{name}`, else of `VAULT_{name}`, which may be empty."""
    for prefixed in (f"BAO_{name}", f"VAULT_{name}"):
        if value := os.environ.get(prefixed, ""):
            return prefixed, value
    return f"VAULT_{name}", ""


def secret_variable(name: str, around: str | None = None) -> tuple[str, Secret]:
    """Return the same with the value wrapped, and stripped of white space or of what is given."""
    for prefixed in (f"BAO_{name}", f"VAULT_{name}"):
        if secret := Secret(os.environ.get(prefixed, "").strip(around)):
            return prefixed, secret
    return f"VAULT_{name}", Secret("")


def read_settings(address: Secret | None, namespace: str | None) -> Settings:
    """Return what the arguments and, where they are None, the variables say now.

    Raises:
        ConfigurationError: a variable holds no address, file, switch or time; it is named.
    """
    given_by, found = ("address=", address) if address is not None else secret_variable("ADDR")
    from_name, name = ("namespace=", namespace) if namespace is not None else variable("NAMESPACE")
    return Settings(
        address=checked_address(given_by, found) if found else DEFAULT_ADDRESS,
        address_from=given_by if found else "",
        namespace=checked_namespace(from_name, name),
        verify=_verification(),
        client_cert=_client_certificate(),
        server_name=variable("TLS_SERVER_NAME")[1] or None,
        read_timeout=_duration(*variable("CLIENT_TIMEOUT")),
    )


def checked_address(given_by: str, address: Secret) -> str:
    """Return the address without a slash at its end; `given_by` is the argument or variable.

    It comes wrapped, since people put a password into it.
    """
    if not _is_address(address):
        raise ConfigurationError(
            f"{given_by}: an address such as 'https://vault.example:8200' is wanted, of scheme, "
            "host, port and path alone"
        )
    return _text(address)


def _text(address: Secret) -> str:
    return str(address.reveal()).strip().rstrip("/")


def _is_address(address: Secret) -> bool:
    text = _text(address)
    if origin_of_url(text) is None or not text.isprintable() or " " in text:
        return False
    parts = urlsplit(text)
    plain = not ("@" in parts.netloc or "?" in text or "#" in text)
    return plain and parts.scheme in ("http", "https")


def checked_namespace(source: str, namespace: object) -> str | None:
    """Return the namespace as the header carries it, None for the root one."""
    text = namespace.strip("/") if isinstance(namespace, str) else "\n"
    if not text.isprintable() or not text.isascii():
        raise ConfigurationError(f"{source}: a namespace is a path of printable ASCII characters")
    return text or None


def checked_path(what: str, path: object) -> str:
    """Return a path with one slash between its segments, none of them empty, `.` or `..`.

    urllib3 would resolve the dots, so that `tenants/../admin` reads `admin`.
    """
    if not isinstance(path, str) or not path.isprintable():
        raise ConfigurationError(f"{what}: a text without control characters is wanted")
    path_segments(path, what)
    return path


def quoted(path: str) -> str:
    """Return a checked path as it goes into a URL."""
    return "/".join(quote(segment, safe="", errors="surrogatepass") for segment in path.split("/"))


def switch(source: str, value: object) -> bool:
    """Return a bool written as Go programs, and so `vault`, read it."""
    if isinstance(value, bool):
        return value
    if value in _TRUE or value in _FALSE:
        return value in _TRUE
    raise ConfigurationError(f"{source}: 'true' or 'false' is wanted")


def _verification() -> bool | str:
    name, skip = variable("SKIP_VERIFY")
    if skip and switch(name, skip):
        return False
    for name, path in (variable("CACERT"), variable("CAPATH")):
        if path:
            return _existing(name, path)
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):  # what requests, and so hvac, goes by
        if path := os.environ.get(name, ""):
            return _existing(name, path)
    return True


def _client_certificate() -> str | tuple[str, str] | None:
    (cert_name, cert), (key_name, key) = variable("CLIENT_CERT"), variable("CLIENT_KEY")
    if key and not cert:
        raise ConfigurationError(
            f"{key_name} is set but VAULT_CLIENT_CERT isn't: set both, or neither"
        )
    if not cert:
        return None
    cert = _existing(cert_name, cert)
    return (cert, _existing(key_name, key)) if key else cert


def _existing(name: str, path: str) -> str:
    if not os.access(path, os.R_OK):
        raise ConfigurationError(f"{name} names {path!r}, which is not there or can't be read")
    return path


def _duration(name: str, text: str) -> float | None:
    """Return a time as Go writes it (`90`, `1m30s`, `500ms`) in seconds; None where it is 0."""
    if not text:
        return None
    if re.fullmatch(r"\d+(\.\d+)?", text, re.ASCII):
        text += "s"
    pieces = re.findall(r"(\d+(?:\.\d+)?)(ms|s|m|h)", text, re.ASCII)
    if "".join(number + unit for number, unit in pieces) != text:
        raise ConfigurationError(f"{name}: a time such as '30', '30s' or '1m30s' is wanted")
    return sum(float(number) * _UNITS[unit] for number, unit in pieces) or None
