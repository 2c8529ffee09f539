"""Source URLs: taken apart here, handed to the source that has the scheme. Nothing is contacted.

A URL is wrapped in `Secret` until it is known to hold no secret: people put one there, or pass the
secret itself.
"""

from __future__ import annotations

import importlib
import re
from typing import Any, Self
from urllib.parse import unquote

from partner_auth._credentials import Secret
from partner_auth.exceptions import ConfigurationError, PartnerAuthError
from partner_auth.sources._protocol import CredentialSource

GROUP = "partner_auth.sources"

_MODULES = {
    "env": "_env",
    "file": "_file",
    "aws-secretsmanager": "_aws",
    "aws-ssm": "_aws",
    "vault": "_vault",
}
_ARN_SCHEMES = {"secretsmanager": "aws-secretsmanager", "ssm": "aws-ssm"}
_ARN = re.compile(r"arn:aws[a-z-]*:([a-z0-9-]+):")
# Names are shown. A key for HS256 has at least 32 bytes: one in their place is too long for a name.
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]{0,30})://")
_PARAM = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,30}")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_SECRET_PARAM = re.compile(
    r"(.*_)?(secret|secret_?key|secret_?id|token|password|passwd|pwd|passphrase|jwt|api_?key"
    r"|access_?key|private_?key|credentials?)"
)


class SourceURL(str):
    """A source URL in its parts; as a str it is the URL's own text.

    Args:
        scheme: in lower case; of a bare ARN the scheme of its service.
        location: the text between `://` and `?` as it was written: case kept, not percent-decoded.
        params: what stands behind the `?`, percent-decoded; `+` is a plus.
    """

    __slots__ = ("location", "params", "scheme")

    scheme: str
    location: str
    params: dict[str, str]

    def __new__(cls, text: str, scheme: str, location: str, params: dict[str, str]) -> Self:
        """Hold the parts."""
        url = super().__new__(cls, text)
        url.scheme, url.location, url.params = scheme, location, params
        return url

    def __getnewargs__(self) -> tuple[Any, ...]:
        """Pickle and copy with the parts."""
        return str(self), self.scheme, self.location, self.params

    def __repr__(self) -> str:
        """Show the parameters' names alone: a mistyped one may hold what must not be shown."""
        query = "&".join(f"{name}=…" for name in self.params)
        return repr(f"{self.scheme}://{self.location}{'?' if query else ''}{query}")

    def keywords(self, *allowed: str) -> dict[str, str]:
        """Return the parameters.

        Raises:
            ConfigurationError: one is not among `allowed`.
        """
        unknown = [name for name in self.params if name not in allowed]
        if unknown:
            known = ", ".join(sorted(allowed)) or "none"
            raise ConfigurationError(
                f"{self.scheme}:// knows no parameter {unknown[0]!r}; it takes {known}"
            )
        return dict(self.params)


class _NoURL(Exception):
    """Why a text is no source URL, in words that hold no part of it. Never leaves this module."""


def source_from_url(url: str) -> CredentialSource:
    """Return the source that a URL names.

    Contacts nothing. Schemes: `env`, `file`, `aws-secretsmanager` (or a bare ARN), `aws-ssm`,
    `vault`, and those of installed packages with an entry point in the group
    `partner_auth.sources`.

    Raises:
        ConfigurationError: it is no such URL, holds a secret, or its parameters are wrong. The URL
            is not shown.
    """
    text = _wrapped(url)
    del url
    parsed = _parsed(text) if isinstance(text, Secret) else text
    if not isinstance(parsed, SourceURL):
        raise ConfigurationError(parsed)
    if parsed.scheme not in _MODULES:
        return _from_plugin(parsed)
    module = importlib.import_module(f"partner_auth.sources.{_MODULES[parsed.scheme]}")
    source: CredentialSource = module.from_url(parsed)
    return source


def path_segments(path: str, what: str) -> list[str]:
    """Split a decoded path at its slashes; `what` names it in the message.

    Raises:
        ConfigurationError: a segment is empty, `.` or `..`, so that another path would be read than
            the one written.
    """
    segments = path.split("/")
    if any(segment in ("", ".", "..") for segment in segments):
        raise ConfigurationError(f"{what}: a path segment is empty, '.' or '..': write it out")
    return segments


def _wrapped(url: object) -> Secret | str:
    return (
        Secret(url) if isinstance(url, str) else f"a source URL is a str, not {type(url).__name__}"
    )


def _parsed(text: Secret) -> SourceURL | str:
    """Return the URL, or the reason why it is none."""
    try:
        return _parse(str(text.reveal()))
    except _NoURL as reason:
        return str(reason)


def _parse(text: str) -> SourceURL:
    arn, scheme = _ARN.match(text), _SCHEME.match(text)
    if arn is None and scheme is None:
        raise _NoURL(
            "the source is a text but no source URL (it is not shown, since it may be the secret): "
            f"begin it with {_known()}"
        )
    if "#" in text:
        raise _NoURL("a source URL has no fragment: write # as %23")
    if _BAD_ESCAPE.search(text):
        raise _NoURL("a source URL holds a % that begins no escape: write it as %25")
    head, mark, query = text.partition("?")
    if mark and not query:
        raise _NoURL("a source URL ends in ?: a parameter is missing")
    params = _params(query) if mark else {}
    if scheme is not None:
        name, location = scheme[1].lower(), head[scheme.end() :]
    else:
        name, location = _arn_scheme(arn[1] if arn else ""), head
    _check_location(name, location)
    return SourceURL(text, name, location, params)


def _arn_scheme(service: str) -> str:
    if service not in _ARN_SCHEMES:
        raise _NoURL("an ARN is of secretsmanager or ssm, if it is to be a source")
    return _ARN_SCHEMES[service]


def _check_location(scheme: str, location: str) -> None:
    decoded = unquote(location)
    if not decoded.isprintable():
        raise _NoURL("a source URL holds no control characters, not in escapes either")
    if not _ARN.match(decoded) and _has_userinfo(scheme, decoded):
        raise _NoURL(
            f"a {scheme}:// URL holds a user or password before @: secrets don't belong there"
        )


def _has_userinfo(scheme: str, location: str) -> bool:
    """Whether it begins as no location of this scheme does, unless somebody puts a secret there."""
    first = location.partition("/")[0]
    if scheme not in _MODULES:
        return ":" in first.rpartition("@")[0]
    # An AWS name may have an @ but no colon. A mount, file or variable has no @ in its first part,
    # so what stands before it may be a token; nor has it a colon there, before a password with a /.
    before, colon, after = location.partition(":")
    is_password = bool(colon) and "/" not in before and "@" in after
    return is_password or (not scheme.startswith("aws-") and "@" in first)


def _params(query: str) -> dict[str, str]:
    params: dict[str, str] = {}
    for pair in query.split("&"):
        name, equals, value = pair.partition("=")
        if not equals or not _PARAM.fullmatch(name):
            raise _NoURL("a source URL's parameters are name=value, with & between them")
        if _SECRET_PARAM.fullmatch(name.lower().replace("-", "_").replace(".", "_")):
            raise _NoURL(f"a source URL holds no secret: take out {name}=, since URLs are logged")
        if name in params:
            raise _NoURL(f"a source URL has the parameter {name} more than once")
        params[name] = _param_value(name, value)
    return params


def _param_value(name: str, value: str) -> str:
    try:
        decoded = unquote(value, errors="strict")
    except UnicodeDecodeError:
        raise _NoURL(f"the value of a source URL's parameter {name} is not UTF-8") from None
    if not decoded.strip():
        raise _NoURL(f"a source URL's parameter {name} is empty: give it a value or leave it out")
    if not decoded.isprintable():
        raise _NoURL("a source URL holds no control characters, not in escapes either")
    return decoded


def _known() -> str:
    return ", ".join(f"{scheme}://" for scheme in _MODULES) + " or an ARN of AWS Secrets Manager"


def _from_plugin(url: SourceURL) -> CredentialSource:
    import importlib.metadata  # 20 ms: only for a scheme that is not built in

    found = {
        entry.value: entry
        for entry in importlib.metadata.entry_points(group=GROUP, name=url.scheme)
    }
    if not found:
        raise ConfigurationError(
            f"no source has the scheme {url.scheme!r}: known are {_known()}, and the entry points "
            f"of installed packages in {GROUP!r}"
        )
    names = " and ".join(sorted(_distribution(entry) for entry in found.values()))
    if len(found) > 1:
        raise ConfigurationError(f"the scheme {url.scheme!r} is claimed by {names}: uninstall one")
    source = _made_by_plugin(next(iter(found.values())), url)
    if isinstance(source, PartnerAuthError):
        raise source
    if isinstance(source, Exception):
        error = _broken(url.scheme, names, source)
        del source  # its text may quote the URL's parameters
        raise error
    if not callable(getattr(source, "fetch", None)):
        raise ConfigurationError(f"the source {url.scheme!r} of {names} has no method fetch()")
    made: CredentialSource = source
    return made


def _made_by_plugin(entry: Any, url: SourceURL) -> Any:
    try:
        return entry.load()(url)
    except Exception as error:  # noqa: BLE001 - a stranger's code may raise anything
        return error


def _broken(scheme: str, names: str, cause: Exception) -> ConfigurationError:
    error = ConfigurationError(
        f"the source {scheme!r} of {names} is broken ({type(cause).__name__}): "
        "mend or update that package"
    )
    error.__cause__ = cause
    return error


def _distribution(entry: Any) -> str:
    return str(entry.dist.name) if entry.dist is not None else str(entry.module)
