"""What the two AWS sources share: whom they ask, and how an answer becomes a credential."""

from __future__ import annotations

import importlib.util
import re
import weakref
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, ClassVar, NamedTuple
from urllib.parse import urlsplit

from partner_auth._credentials import Credential
from partner_auth._origins import origin_of_url
from partner_auth.exceptions import (
    ConfigurationError,
    CredentialInvalid,
    Failure,
    warn,
)
from partner_auth.sources import _aws_agent, _aws_client
from partner_auth.sources._aws_client import Account, Deadline, Settings
from partner_auth.sources._aws_errors import Answer, Call
from partner_auth.sources._fields import Fields, read_timeout

REGION = r"(?!-)[a-z0-9-]{1,63}(?<!-)"


class Read(NamedTuple):
    """What one answer was read as."""

    credential: Credential
    version: str | None
    created: float | None


class AwsSource:
    """What the two share: whom they ask, and how an answer becomes a credential."""

    _service: ClassVar[str]
    _name: ClassVar[re.Pattern[str]]
    _arn: ClassVar[re.Pattern[str]]  # its first group is the region

    # Not in a pickle: a source that is loaded from one finds its own.
    _account: Account | None = None
    _last: tuple[weakref.ref[Credential], str | None, float | None] | None = None

    def __init__(
        self,
        name: str,
        client: Any,
        options: Mapping[str, str | None],
        fields: Fields,
        timeout: float | str | timedelta,
    ) -> None:
        self._client = client
        self._options = {key: value for key, value in options.items() if value is not None}
        self._fields = fields
        self._timeout = read_timeout(timeout)
        for key, value in {"the name": name, **self._options}.items():
            _check_text(f"{type(self).__name__}: {key}", value)
        self._id = name
        _check_options(client, self._options)
        shape = self._arn if name.startswith("arn:") else self._name
        if not shape.fullmatch(name):  # and is not shown: it may be user:password
            raise ConfigurationError(f"{type(self).__name__}: AWS has no such name or ARN: mend it")
        if client is None and not self._via_agent and not _is_installed("boto3"):
            raise ConfigurationError(f"{self!r} needs boto3: pip install 'partner-auth[aws]'")

    def fetch(self) -> Credential:
        """Read the credential that is current now.

        Raises:
            SourceUnavailable: AWS can't be asked for now, or can't tell who we are.
            SourceRejected: it is not there, is marked for deletion, or AWS denies it to us.
            CredentialInvalid: what is stored can't be read as a credential.
            ConfigurationError: region, profile, endpoint or name is wrong.
        """
        return self._fetch(fresh=False)

    def fetch_fresh(self) -> Credential:
        """Read it past any cache in between; else like `fetch`."""
        return self._fetch(fresh=True)

    def alternates(self) -> list[Credential]:
        """Read what else may be valid around a rotation, the likeliest first, two at the most.

        One that is missing, denied, unreadable, or equal to what the last fetch brought, is none.
        """
        deadline = Deadline.within(self._timeout)
        current = self._current(deadline)
        if current is None:
            return []
        found: list[Credential] = []
        for other in self._others(current, deadline):
            known = (current.credential, *found)
            if other is not None and not any(one.same_as(other.credential) for one in known):
                found.append(other.credential)
        return found

    def __repr__(self) -> str:
        """Name class, secret and settings."""
        options = [f"{name}={value!r}" for name, value in self._options.items()]
        shown = [repr(self._id), *options, *self._fields.options()]
        return f"{type(self).__name__}({', '.join(shown)})"

    def __getstate__(self) -> dict[str, Any]:
        """Pickle and copy the settings alone."""
        if self._client is not None:
            raise TypeError(f"{self!r} can't be pickled with its client=: give region= or profile=")
        return {key: vars(self)[key] for key in vars(self) if key not in ("_account", "_last")}

    @property
    def _via_agent(self) -> bool:
        return self._options.get("via") == "agent"

    def _fetch(self, *, fresh: bool) -> Credential:
        answer = self._ask(self._call(), Deadline.within(self._timeout), fresh=fresh)
        if isinstance(answer, Failure):
            raise answer.error()
        credential = self._credential(answer)
        self._last = weakref.ref(credential), answer.version, answer.created
        return credential

    def _current(self, deadline: Deadline) -> Read | None:
        """Return what the last fetch brought: who asks for alternates has tried that.

        A rotation that ends in between turns what was pending then into the current one, and it is
        an alternate still. Held weakly, it is gone with its last user, and is then read again.
        """
        credential = self._last[0]() if self._last is not None else None
        if self._last is None or credential is None:
            return self._read(self._call(), deadline)
        return Read(credential, *self._last[1:])

    def _read(self, call: Call, deadline: Deadline) -> Read | None:
        answer = self._ask(call, deadline, fresh=True)
        if isinstance(answer, Failure):
            return None
        try:
            return Read(self._credential(answer), answer.version, answer.created)
        except CredentialInvalid:
            return None

    def _credential(self, answer: Answer) -> Credential:
        return self._fields.credential(answer.document, source=repr(self), version=answer.version)

    def _ask(self, call: Call, deadline: Deadline, *, fresh: bool) -> Answer | Failure:
        settings = Settings(
            self._service, self._region, self._options.get("endpoint_url"), self._timeout
        )
        if self._via_agent:
            bound = self._find_account().bounds[settings]
            return _aws_agent.ask(call, deadline, bound, fresh=fresh)
        return _aws_client.ask(self._find_account, settings, call, deadline)

    def _find_account(self) -> Account:
        if self._client is None:
            self._account = _aws_client.shared_account(self._options.get("profile"))
        elif self._account is None:
            self._account = Account(own=self._client)
        return self._account

    @property
    def _region(self) -> str | None:
        arn = self._arn.fullmatch(self._id)
        return arn[1] if arn is not None else self._options.get("region")

    def _call(self) -> Call:
        raise NotImplementedError

    def _others(self, current: Read, deadline: Deadline) -> list[Read | None]:
        raise NotImplementedError


def _is_installed(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except ValueError:  # it was imported in a way that left no spec
        return True


def _check_text(what: str, value: object) -> None:
    if not isinstance(value, str):
        raise ConfigurationError(f"{what} is a str, not {type(value).__name__}")
    if not value.strip() or not value.isprintable():
        raise ConfigurationError(f"{what} is blank or holds control characters")


def _check_options(client: Any, options: Mapping[str, str]) -> None:
    ours = [name for name in ("region", "profile", "endpoint_url") if name in options]
    if "via" in options:
        if options["via"] != "agent":
            raise ConfigurationError("via= is 'agent' or is left out")
        ours += [] if client is None else ["client"]
        if ours:
            raise ConfigurationError(
                f"via='agent' and {ours[0]}= exclude each other: leave one out"
            )
    if client is not None and ours:
        raise ConfigurationError(f"client= and {ours[0]}= exclude each other: leave one out")
    if not re.fullmatch(REGION, options.get("region", "none")):
        raise ConfigurationError("region= is no region's name, such as eu-west-1")
    if "endpoint_url" in options:
        _check_endpoint(options["endpoint_url"])


def _check_endpoint(url: str) -> None:
    origin = origin_of_url(url)
    if origin is None or urlsplit(url).scheme not in ("https", "http"):
        raise ConfigurationError("endpoint_url= is no URL with a host, such as https://host:port")
    if "@" in urlsplit(url).netloc or "?" in url or "#" in url:
        raise ConfigurationError("endpoint_url= has a user, query or fragment: leave them out")
    if origin.scheme == "http" and not origin.is_loopback:
        warn(f"endpoint_url: the secret comes over plain http from {origin}, readable on the way")
