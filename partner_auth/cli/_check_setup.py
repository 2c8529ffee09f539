"""Before anything is read: packages, variables, the source, the URL, proxies."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from urllib.parse import urlsplit

from partner_auth._origins import base_origin, origin_of_url
from partner_auth.cli._findings import Case, Finding, fail, ok, warn
from partner_auth.cli._http import SignedRequests
from partner_auth.cli._output import printable
from partner_auth.exceptions import PartnerAuthError

_CLIENTS = ("requests", "httpx", "httpx2", "aiohttp", "niquests")
_FIELDS = ("CLIENT_ID", "SECRET_KEY", "SECRET_KEY_NEXT", "SECRET_KEY_PREVIOUS", "KEY_ID")
_KNOWN = (
    "PARTNER_AUTH_SOURCE",
    "PARTNER_BASE_URL",
    *(f"PARTNER_{name}{end}" for name in _FIELDS for end in ("", "_FILE")),
)
_MEANT = {
    "PARTNER_SECRET": "PARTNER_SECRET_KEY",
    "PARTNER_KEY": "PARTNER_SECRET_KEY",
    "PARTNER_API_KEY": "PARTNER_SECRET_KEY",
    "PARTNER_ID": "PARTNER_CLIENT_ID",
    "PARTNER_CLIENT": "PARTNER_CLIENT_ID",
    "PARTNER_URL": "PARTNER_BASE_URL",
    "PARTNER_API_URL": "PARTNER_BASE_URL",
    "PARTNER_SOURCE": "PARTNER_AUTH_SOURCE",
}


def installation(_case: Case) -> Iterator[Finding]:
    """Name the versions, and the package that poses as PyJWT."""
    python = ".".join(map(str, sys.version_info[:3]))
    clients = [f"{name} {found}" for name in _CLIENTS if (found := _version(name))]
    yield ok(
        "packages",
        f"partner_auth {_version('partner-auth')}, Python {python}, clients: "
        f"{', '.join(clients) or 'none (none is needed for a token)'}",
    )
    if not _is_pyjwt():
        yield fail(
            "PyJWT",
            "the module jwt is missing, or another package lies in its place",
            "pip uninstall jwt PyJWT, then pip install 'PyJWT>=2.13'",
        )
    elif _version("jwt"):
        yield warn(
            "PyJWT",
            "another package, jwt, is installed as well and overwrites the files of PyJWT",
            "pip uninstall jwt, then pip install --force-reinstall PyJWT",
        )
    else:
        yield ok("PyJWT", f"PyJWT {_version('PyJWT')}, and no other package jwt")


def environment(case: Case) -> Iterator[Finding]:
    """Name the variables that count, and those that were meant to; never their values."""
    names = sorted(name for name in os.environ if name.startswith("PARTNER_"))
    known = [name for name in names if name in _KNOWN]
    idle = _idle(case, known)
    if idle:
        reason = f"{', '.join(idle)}: not used, another source is named"
        yield warn("environment", reason, "unset what is not meant")
    else:
        yield ok("environment", ", ".join(known) or "no variable PARTNER_… is set")
    for name in names:
        meant = "" if name in _KNOWN else _MEANT.get(name) or _close(name)
        if meant and meant not in names:
            reason = f"{printable(name, 40)} is set, which nobody reads"
            yield warn("environment", reason, f"rename it to {meant}, if that is meant")


def _idle(case: Case, known: list[str]) -> list[str]:
    """Return the variables that hold a credential while another source is named."""
    named = case.source_url or os.environ.get("PARTNER_AUTH_SOURCE", "").strip()
    if not named or named.lower().startswith("env:"):
        return []
    return [name for name in known if "CLIENT_ID" in name or "SECRET_KEY" in name]


def source(case: Case) -> Iterator[Finding]:
    """Make the source; nothing is contacted."""
    try:
        chosen = SignedRequests(
            case.source_url, algorithm=case.algorithm, lifetime=case.lifetime
        ).source
    except PartnerAuthError as error:
        yield fail("source", str(error), "mend the setting that it names")
        return
    case.source = chosen
    how = "of the environment: "
    if case.source_url is not None:
        how = "of --source: "
    elif os.environ.get("PARTNER_AUTH_SOURCE", "").strip():
        how = "of PARTNER_AUTH_SOURCE: "
    yield ok("source", how + repr(chosen))


def url(case: Case) -> Iterator[Finding]:
    """Look at the partner's URL: https, and the one that the program names."""
    base = os.environ.get("PARTNER_BASE_URL", "").strip()
    case.url = case.url or base or None
    if case.url is None:
        yield warn(
            "URL",
            "none is known, so nothing is sent and half of the checks are left out",
            "give --url https://…, a path that wants a token, or set PARTNER_BASE_URL",
        )
        return
    origin = origin_of_url(case.url)
    named = origin_of_url(base_origin(base)) if base else None
    if origin is None or "@" in urlsplit(case.url).netloc:
        reason = "PARTNER_BASE_URL is no URL like https://host/path, or has a password in it"
        yield fail("URL", reason, "mend it")
    elif origin.scheme == "http" and not origin.is_loopback:
        reason = f"{origin} is plain http: nothing was sent, a token could be read on the way"
        yield fail("HTTPS", reason, "use https")
    elif named is not None and named != origin:
        case.may_send = True
        reason = f"{origin} is not PARTNER_BASE_URL ({named}), where alone your program signs"
        yield warn("URL", reason, "set PARTNER_BASE_URL to it, if that is meant")
    else:
        case.may_send = True
        yield ok("URL", f"{origin} ({'https' if origin.scheme == 'https' else 'this machine'})")


def proxies(case: Case) -> Iterator[Finding]:
    """Say which proxy stands between, as all clients take it from the environment."""
    origin = origin_of_url(case.url or "")
    if origin is None or not case.may_send:
        return
    from urllib.request import getproxies, proxy_bypass

    proxy = getproxies().get(origin.scheme) or getproxies().get("all")
    if proxy is None or proxy_bypass(origin.host):
        yield ok("proxy", "none on the way")
        return
    parts = urlsplit(proxy if "//" in proxy else f"//{proxy}")  # may hold a password
    where = case.proxy = printable(f"{parts.hostname}:{parts.port or 'its default port'}")
    if origin.scheme == "http":
        reason = f"a request to this very machine goes through {where}, which can read the token"
        yield warn("proxy", reason, f"set NO_PROXY={origin.host}")
    else:
        yield ok("proxy", f"requests go through {where}, which can't read them")


def _version(name: str) -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def _is_pyjwt() -> bool:
    from importlib import import_module

    try:
        return hasattr(import_module("jwt"), "PyJWS")
    except ImportError:
        return False


def _close(name: str) -> str:
    from difflib import get_close_matches

    return next(iter(get_close_matches(name, _KNOWN, n=1, cutoff=0.8)), "")
