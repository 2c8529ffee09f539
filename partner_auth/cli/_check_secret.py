"""What the store holds: readable, how old, what else, fit to sign; and the key's outside."""

from __future__ import annotations

import inspect
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from partner_auth import PartnerAuth
from partner_auth._credentials import Credential, epoch
from partner_auth._held import MOST_ALTERNATES
from partner_auth.cli._findings import Case, Finding, fail, ok, warn
from partner_auth.cli._reads import let_reads_tell
from partner_auth.cli._shape import oddities
from partner_auth.cli._token import claims_of
from partner_auth.events import CredentialFetched, Event
from partner_auth.exceptions import (
    CredentialInvalid,
    Failure,
    PartnerAuthError,
    PartnerAuthWarning,
    SourceUnavailable,
)

SLOW = 2.0
SOON = 86_400.0
_WITHIN = 10.0
_REMEDIES = {
    "unreachable": "see that the store runs and can be reached from here: address, network, proxy",
    "throttled": "wait, or ask for a higher quota",
    "sealed": "unseal the store",
    "identity": "renew your own login at the store; the partner's secret is not at fault",
    "malformed": "something else than the store answered: look for a proxy or a login page",
    "timeout": "see why the store is slow, from this machine",
    "denied": "let this identity read the secret",
    "not_found": "check the name, and region, path or namespace",
    "deleted": "restore the secret, or write a new version",
    "destroyed": "write a new version of the secret",
    "not_configured": "set one of these",
}


class Kept:
    """A source that keeps what the one behind it gave, so that it can be looked at."""

    def __init__(self, source: Any) -> None:
        """Ask `source`."""
        self._source = source
        self.credential: Credential | None = None

    def __repr__(self) -> str:
        """Name the one behind."""
        return repr(self._source)

    def fetch(self) -> Any:
        """Ask it."""
        answer = self._source.fetch()
        return self._awaited(answer) if inspect.isawaitable(answer) else self._kept(answer)

    async def _awaited(self, pending: Any) -> Any:
        return self._kept(await pending)

    def _kept(self, answer: Any) -> Any:
        self.credential = answer if isinstance(answer, Credential) else None
        return answer


def read_and_sign(case: Case) -> Iterator[Finding]:
    """Read the store and make a token, as a program does at its first request."""
    if case.source is None:
        return
    kept, events, token = Kept(case.source), list[Event](), ""
    failure = None
    auth = PartnerAuth(
        kept, algorithm=case.algorithm, lifetime=case.lifetime, on_event=events.append
    )
    try:
        with warnings.catch_warnings():  # a short key is told of below
            warnings.simplefilter("ignore", PartnerAuthWarning)
            token = auth.token()
    except PartnerAuthError as error:
        failure = Failure(error)
    let_reads_tell()
    case.credential = kept.credential
    if kept.credential is None:
        yield _unread(failure)
        return
    took = next((event.took for event in events if isinstance(event, CredentialFetched)), None)
    yield _read(kept.credential, took)
    if failure is not None:
        yield fail("token", failure.text, "mend the stored key, or give --algorithm")
        return
    case.signs = True
    header, claims = claims_of(token)
    lifetime = claims["exp"] - claims["iat"]
    yield ok(
        "token",
        f"well-formed: {header['alg']}, clientId {claims['clientId']!r}, valid for {lifetime} s",
    )


def _unread(failure: Failure | None) -> Finding:
    if failure is None:
        return fail("read", "the store gave nothing", "look at the source")
    remedy = _REMEDIES.get(failure.reason, "mend what the store holds, or the setting")
    return fail("read", failure.text, remedy)


def _read(credential: Credential, took: float | None) -> Finding:
    size = len(credential.secret_key.encoded())
    what = f"client id {credential.client_id!r} and a key of {size} bytes"
    if took is None:
        return ok("read", what)
    what = f"{what}, in {took * 1000:.0f} ms"
    return warn("read", what, "each start waits for it") if took > SLOW else ok("read", what)


def version(case: Case) -> Iterator[Finding]:
    """Say which version is stored, how old it is as far as that is known, and when it ends."""
    credential = case.credential
    if credential is None:
        return
    name = "the store names none" if credential.version is None else repr(credential.version)
    yield ok("version", name + _age(credential.version))
    ends = epoch(credential.expires_at)
    if ends is None:
        return
    left = ends - time.time()
    when = datetime.fromtimestamp(ends, UTC).isoformat(timespec="seconds")
    if left > SOON:
        yield ok("expiry", f"it ends {when}")
    else:
        yield warn("expiry", f"it ends {when}", "ask the partner for a new one")


def _age(version: str | None) -> str:
    try:
        changed = datetime.fromisoformat(version or "")
        seconds = (datetime.now(UTC) - changed).total_seconds()
    except (ValueError, TypeError):
        return ""
    for size, unit in ((86_400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f", {seconds / size:.0f} {unit} old"
    return ", new"


def alternates(case: Case) -> Iterator[Finding]:
    """Ask what else may be valid around a rotation."""
    if case.credential is None:
        return
    ask = getattr(case.source, "alternates", None)
    if ask is None:
        yield ok("alternates", "this kind of source knows the current secret alone")
        return
    found = _in_time(ask)
    if isinstance(found, Failure):
        remedy = _REMEDIES.get(found.reason, "mend it, or a rotation may cost failed requests")
        yield warn("alternates", found.text, remedy)
        return
    for other in found[:MOST_ALTERNATES]:
        if not any(other.same_as(known) for known in (case.credential, *case.alternates)):
            case.alternates.append(other)
    names = [
        f"{role(case, n)} (version {other.version!r})" for n, other in enumerate(case.alternates)
    ]
    yield ok("alternates", ", ".join(names) or "none, as is usual between rotations")


def role(case: Case, index: int) -> str:
    """Return what an alternate is to the rotation, as far as its version's name tells."""
    label = (case.alternates[index].version or "").lower()
    if label.endswith(("next", "pending")):
        return "pending"
    if label.endswith("previous") or label.isdecimal():
        return "previous"
    if len(case.alternates) > 1:
        return "pending" if index == 0 else "previous"
    return "pending or previous"


def _in_time(ask: Callable[[], Sequence[Credential]]) -> list[Credential] | Failure:
    """Ask in a thread that nobody has to wait for: a source of someone's own may hang."""
    found: list[list[Credential] | Failure] = []
    thread = threading.Thread(target=lambda: found.append(_asked(ask)), daemon=True)
    thread.start()
    thread.join(_WITHIN)
    late = Failure.of(SourceUnavailable, "the alternates were not there in time", reason="timeout")
    return found[0] if found else late


def _asked(ask: Callable[[], Sequence[Credential]]) -> list[Credential] | Failure:
    try:
        return list(ask())
    except PartnerAuthError as error:
        return Failure(error)
    except Exception as error:  # noqa: BLE001  a source may raise anything, and quote the secret in it
        return Failure.of(CredentialInvalid, f"the source raised {type(error).__name__}")


def key(case: Case) -> Iterator[Finding]:
    """Look at the key from outside; what the partner accepts as it stands is right."""
    if case.credential is None:
        return
    secret = case.credential.secret_key
    least = int(case.algorithm[2:]) // 8 if case.algorithm.startswith("HS") else 0
    size = len(secret.encoded())
    if size < least:
        reason = f"{size} bytes, and RFC 7518 wants {least} for {case.algorithm}"
        yield warn("key length", reason, "ask the partner for a longer one")
    odd = [oddity for oddity in oddities(secret) if oddity.evident]
    for oddity in odd:
        if case.accepts_as_stored:
            yield ok("key", f"it {oddity.reason}, and the partner accepts it so")
        else:
            yield warn("key", f"it {oddity.reason}", oddity.remedy)
    if not odd:
        yield ok("key", "no quotes, white space or encoding to be seen")
