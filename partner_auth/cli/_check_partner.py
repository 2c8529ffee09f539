"""What the partner says: to the network, to the clock, to each secret that the store knows."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http import HTTPStatus

from partner_auth._clock import MOST_SKEW, skew
from partner_auth._credentials import Credential, Secret
from partner_auth._recovery import ACCEPTED, REFUSED, RIGHTS, Answer, judged
from partner_auth._tokens import Signer
from partner_auth.cli._check_secret import role
from partner_auth.cli._findings import (
    FAILURE,
    OK,
    WARNING,
    Case,
    Finding,
    fail,
    hidden_from,
    ok,
    warn,
)
from partner_auth.cli._http import TIMEOUT, Reply, ask
from partner_auth.cli._output import printable
from partner_auth.cli._shape import oddities
from partner_auth.exceptions import PartnerAuthError

_NETWORK = "check the network, a firewall, a proxy"
_TROUBLES: tuple[tuple[type[Exception], str, str], ...] = (
    (socket.gaierror, "the name of the partner's host is not known here", "check the URL and DNS"),
    (TimeoutError, f"no answer within {TIMEOUT:g} s", _NETWORK),
    (ConnectionRefusedError, "nobody listens at that host and port", "check the URL and its port"),
)
_GRAIN = 2.0  # seconds: `Date` has whole ones, and the way takes some


@dataclass(frozen=True)
class Trial:
    """One token to try: with which secret, in words too, and what to do if that is the right one."""

    kind: str
    what: str
    credential: Credential
    status: str
    remedy: str


def partner(case: Case) -> Iterator[Finding]:
    """Send a request, explain the answer, and find out which secret is accepted."""
    if not case.may_send or case.url is None or case.credential is None or not case.signs:
        return
    current = Trial("current", "the current secret", case.credential, OK, "")
    first, signed = _send(case, current, 0.0)
    if isinstance(first, Exception):
        reason, remedy = trouble(first)
        through = f" (through the proxy {case.proxy})" if case.proxy else ""
        yield fail("connection", reason + through, remedy)
        return
    yield ok("connection", f"the partner answered in {first.took * 1000:.0f} ms")
    yield _clock(first)
    verdict = _verdict(first)
    if verdict is REFUSED:
        yield from _others(case, current, first, signed)
    elif verdict is ACCEPTED:
        yield from _accepted(case, current, first)
    elif verdict is RIGHTS:
        reason = "the partner takes the token, but this client has no right there"
        yield warn("answer", reason, "ask the partner for the right, or give another --url")
    else:
        reason = f"{_said(first, signed)}, which says nothing about the token"
        yield warn("answer", reason, "try again later")


def _accepted(case: Case, trial: Trial, reply: Reply) -> Iterator[Finding]:
    """Ask the same without a token: only where that is refused was the token looked at."""
    unsigned = ask(case.url or "")
    if not isinstance(unsigned, Reply) or _verdict(unsigned) not in (REFUSED, RIGHTS):
        reason = f"{reply.status}, but nobody looked at the token: without one it is no other"
        yield warn("answer", reason, "give --url a path that wants a token")
        return
    case.accepted = trial.kind
    case.accepts_as_stored = trial.credential is case.credential
    reason = f"{reply.status}: the partner accepts {trial.what}"
    yield Finding("answer", trial.status, reason, trial.remedy)
    if reply.status >= HTTPStatus.MULTIPLE_CHOICES:
        yield _no_success(reply.status)


def _no_success(status: int) -> Finding:
    if status == HTTPStatus.FORBIDDEN:
        reason = "403: this client may not do that, whatever its token"
        return warn("rights", reason, "ask the partner for the right")
    if status < HTTPStatus.BAD_REQUEST:
        reason = f"{status}: it leads elsewhere, and no token goes to another origin"
        return warn("redirect", reason, "use the URL that it leads to")
    reason = f"{status}: the token is good, the path or the method is not"
    return warn("path", reason, "look at the URL")


def _others(case: Case, current: Trial, first: Reply, signed: Secret) -> Iterator[Finding]:
    """Try all else that the store knows, then what the key may have been meant to be."""
    offset = skew(first.headers.get("Date"), first.arrived)
    tried = [current.what]
    for trial in _trials(case, current, offset):
        tried.append(trial.what)
        reply, _ = _send(case, trial, offset)
        if isinstance(reply, Reply) and _verdict(reply) is ACCEPTED:
            yield from _accepted(case, trial, reply)
            return
    reason = f"{_said(first, signed)}; it refuses {', '.join(tried)}"
    yield fail("answer", reason, _advice(first, offset))


def _trials(case: Case, current: Trial, offset: float) -> Iterator[Trial]:
    if offset:
        ahead = f"{abs(offset):.0f} s {'ahead' if offset > 0 else 'back'}"
        remedy = "set this clock by NTP; until then PartnerAuth mends it, at the cost of a 401"
        what = f"{current.what}, clock set {ahead}"
        yield Trial(current.kind, what, current.credential, WARNING, remedy)
    for index, other in enumerate(case.alternates):
        kind = role(case, index)
        what = f"the {kind} secret (version {other.version!r})"
        remedy = "finish the rotation; until then PartnerAuth finds it by itself, after a 401"
        yield Trial(kind, what, other, WARNING, remedy)
    for oddity in oddities(current.credential.secret_key):  # four at the most
        if oddity.mended:
            mended = _with_key(current.credential, oddity.mended)
            what = f"{current.what} {oddity.name}"
            yield Trial(f"current {oddity.name}", what, mended, FAILURE, oddity.remedy)


def _with_key(credential: Credential, key: Secret) -> Credential:
    """Return the credential with another key."""
    return Credential(credential.client_id, key, key_id=credential.key_id)


def _send(case: Case, trial: Trial, offset: float) -> tuple[Reply | Exception, Secret]:
    import warnings

    try:
        with warnings.catch_warnings():  # a short key is told of elsewhere
            warnings.simplefilter("ignore")
            signer = Signer(case.lifetime, case.algorithm, None, None)
            signed = signer.sign(trial.credential, time.time(), offset)
    except PartnerAuthError as error:
        return error.with_traceback(None), Secret("")
    header = Secret(signed.header)
    return ask(case.url or "", header), header


def _verdict(reply: Reply) -> str:
    challenge = reply.headers.get("WWW-Authenticate")
    return judged(Answer(reply.status, None, challenge), (401,))


def _said(reply: Reply, signed: Secret) -> str:
    """Quote what the partner says, without what we sent."""
    texts = (reply.headers.get("WWW-Authenticate", ""), _body(reply))
    words = (printable(hidden_from(text, signed), 120) for text in texts)
    return f"{reply.status}" + "".join(f" {word!r}" for word in words if word)


def _body(reply: Reply) -> str:
    compressed = reply.headers.get("Content-Encoding", "identity") != "identity"
    return "" if compressed else reply.body.decode("utf-8", "replace")


def _advice(reply: Reply, offset: float) -> str:
    text = reply.headers.get("WWW-Authenticate", "") + _body(reply)
    if "expired" in text.lower() and not offset:
        return "to the partner the token is too old: try a longer --lifetime, look at the clock"
    return (
        "compare the secret in the store with the one that the partner issued, for this client id "
        "and this environment (a sandbox's secret is of no use in production)"
    )


def _clock(reply: Reply) -> Finding:
    told, remedy = reply.headers.get("Date"), "see that this machine's clock is set by NTP"
    if told is None:
        return warn("clock", "the partner sends no Date, so its clock is not known", remedy)
    offset = skew(told, reply.arrived)
    if abs(offset) > _GRAIN:
        where = "behind" if offset > 0 else "ahead of"
        reason = f"this machine is {abs(offset):.0f} s {where} the partner's clock"
        return warn("clock", reason, remedy)
    if _is_far_off(told, reply.arrived):
        return fail("clock", "this machine's clock and the partner's are days apart", remedy)
    return ok("clock", "that of the partner, to two seconds")


def _is_far_off(date: str, now: float) -> bool:
    try:
        return abs(parsedate_to_datetime(date).timestamp() - now) > MOST_SKEW
    except (ValueError, TypeError, OverflowError):
        return False


def trouble(error: Exception) -> tuple[str, str]:
    """Return why no answer came, and what to do; an error's own text might quote what was sent."""
    if isinstance(error, ssl.SSLCertVerificationError):
        why = printable(error.verify_message or "")
        return (
            f"HTTPS: the partner's certificate is not trusted here ({why})",
            "name your own authority (or that of a proxy which looks into TLS) in SSL_CERT_FILE",
        )
    if isinstance(error, ssl.SSLError):
        return "HTTPS: no TLS connection came about", "see that this port speaks TLS"
    if isinstance(error, OSError) and "Tunnel connection failed" in str(error):
        return f"the proxy refused: {printable(str(error))}", "give the proxy's user, or NO_PROXY"
    for kind, reason, remedy in _TROUBLES:
        if isinstance(error, kind):
            return reason, remedy
    return f"no answer ({type(error).__name__})", _NETWORK
