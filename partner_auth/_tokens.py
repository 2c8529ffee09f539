"""From claims to a signed token, through PyJWT; the only file that knows it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from copy import copy
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, NamedTuple

from partner_auth._credentials import Credential, epoch
from partner_auth._policy import seconds
from partner_auth.exceptions import (
    ConfigurationError,
    CredentialInvalid,
    PartnerAuthError,
    warn,
)

if TYPE_CHECKING:
    from jwt import PyJWS

Claims = Mapping[str, object] | Callable[[Credential], Mapping[str, object]]

_SHARED = ("HS256", "HS384", "HS512")
_PAIRS = (
    "RS256",
    "RS384",
    "RS512",
    "PS256",
    "PS384",
    "PS512",
    "ES256",
    "ES256K",
    "ES384",
    "ES512",
    "EdDSA",
)
_RESERVED = ("clientId", "iat", "exp")
_LATEST_RENEWAL = 60.0


class Signed:
    """One signed token and what it was signed with; its repr shows no token.

    `issued_at`, `replace_at` and `expires_at` are seconds since the epoch on *our* wall clock,
    `until` is `replace_at` on the monotonic one; `offset` is what the claims were moved by to fit
    the partner's clock.
    """

    __slots__ = ("credential", "expires_at", "header", "issued_at", "offset", "replace_at", "until")

    def __init__(
        self,
        header: str,
        credential: Credential,
        issued_at: float,
        expires_at: float,
        offset: float,
    ) -> None:
        """Hold the value of the header and the times."""
        self.header = header
        self.credential = credential
        self.issued_at = issued_at
        self.expires_at = expires_at
        self.offset = offset
        self.replace_at = expires_at - min(_LATEST_RENEWAL, (expires_at - issued_at) / 10)
        self.until = float("inf")

    @property
    def token(self) -> str:
        """The token without the word before it."""
        return self.header.removeprefix("Bearer ")

    def __repr__(self) -> str:
        """Show whose token it is, not the token."""
        return f"Signed({self.credential!r})"


class _Fault(NamedTuple):
    """Why a token could not be signed: returned, and raised by a frame that holds no key."""

    kind: type[PartnerAuthError]
    text: str


class Signer:
    """Make tokens by one set of options.

    Args:
        lifetime: seconds or `timedelta` between `iat` and `exp` (1 second to 366 days).
        algorithm: a JWA name (RFC 7518 §3.1, RFC 8037): HS*, and with the `crypto` extra RS*, PS*,
            ES*, EdDSA.
        claims: further claims, or a callable of the credential that runs once a token.
        key_id: the header `kid`, unless the credential brings one.

    Raises:
        ConfigurationError: an option is wrong.
    """

    def __init__(
        self, lifetime: object, algorithm: object, claims: Claims | None, key_id: object
    ) -> None:
        """Check all that can be checked without a key."""
        self.lifetime = int(seconds("lifetime", lifetime, least=1.0))
        self.algorithm = _checked_algorithm(algorithm)
        if key_id is not None and not (
            isinstance(key_id, str) and key_id.strip() and key_id.isprintable()
        ):
            raise ConfigurationError("key_id: a text without control characters is wanted")
        self.key_id = key_id
        if claims is not None and not callable(claims):
            claims = _checked_claims(claims)
        self.claims = claims
        self._warned = False

    def check(self, credential: Credential) -> None:
        """Raise `CredentialInvalid` when the key does not fit the algorithm."""
        outcome = self._encoded({}, credential)
        if isinstance(outcome, _Fault):
            raise outcome.kind(outcome.text)

    def sign(self, credential: Credential, now: float, offset: float = 0.0) -> Signed:
        """Sign a token that is valid from `now` (seconds since the epoch) on.

        `offset` is how many seconds the clock of whoever verifies it is ahead.

        Raises:
            CredentialInvalid: the key does not fit the algorithm.
            ConfigurationError: the claims can't be used.
        """
        issued_at = int(now + offset)
        expires_at = issued_at + self.lifetime
        limit = epoch(credential.expires_at)
        if limit is not None:
            expires_at = min(expires_at, int(limit))
        own = {"clientId": credential.client_id, "iat": issued_at, "exp": expires_at}
        outcome = self._encoded({**own, **self._further(credential)}, credential)
        if isinstance(outcome, _Fault):
            raise outcome.kind(outcome.text)
        self._warn_once(credential)
        return Signed(outcome, credential, issued_at - offset, expires_at - offset, offset)

    def _further(self, credential: Credential) -> Mapping[str, object]:
        if self.claims is None:
            return {}
        if not callable(self.claims):
            return self.claims
        kind = ""
        try:
            return _checked_claims(self.claims(credential))
        except ConfigurationError:
            raise
        except Exception as error:  # noqa: BLE001  the caller's code may raise anything
            kind = type(error).__name__
        raise ConfigurationError(f"claims: the callable raised {kind}")

    def _encoded(self, payload: Mapping[str, object], credential: Credential) -> str | _Fault:
        key_id = credential.key_id or self.key_id
        headers = None if key_id is None else {"kid": key_id}
        body = json.dumps(payload, separators=(",", ":")).encode()
        jws = _jws(self.algorithm)
        try:
            return "Bearer " + jws.encode(
                body, credential.secret_key.reveal(), self.algorithm, headers
            )
        except Exception as error:  # noqa: BLE001  PyJWT, cryptography and their parsers raise many kinds
            fault = type(error).__name__
        return _Fault(CredentialInvalid, self._misfit(credential, fault))

    def _misfit(self, credential: Credential, fault: str) -> str:
        if fault == "UnicodeEncodeError":
            remedy = "the key is a text that is no UTF-8: give it as bytes"
        elif self.algorithm in _SHARED:
            remedy = "the key is a PEM or ssh key: store the shared secret, or choose algorithm='RS256' or the like"
        else:
            remedy = (
                "store the private key as PEM, line breaks and all, or choose another algorithm"
            )
        whose = f"the secret key of client {credential.client_id!r}"
        return f"{whose} can't sign with {self.algorithm} ({fault}): {remedy}"

    def _warn_once(self, credential: Credential) -> None:
        if self._warned or self.algorithm not in _SHARED:
            return
        least = int(self.algorithm[2:]) // 8
        if len(credential.secret_key.encoded()) >= least:
            return
        self._warned = True
        text = (
            f"the secret key of client {credential.client_id!r} is shorter than the {least} bytes that RFC 7518 §3.2 "
            f"wants for {self.algorithm}: ask the partner for a longer one"
        )
        warn(text)


def _checked_algorithm(algorithm: object) -> str:
    if not isinstance(algorithm, str) or algorithm not in _SHARED + _PAIRS:
        known = ", ".join(_SHARED + _PAIRS)
        raise ConfigurationError(f"algorithm: {algorithm!r} is none of {known}")
    if find_spec("jwt") is None:
        raise ConfigurationError("PyJWT is missing: pip install partner-auth")
    if algorithm in _PAIRS and find_spec("cryptography") is None:
        raise ConfigurationError(
            f"algorithm {algorithm} needs a package: pip install 'partner-auth[crypto]'"
        )
    return algorithm


def _checked_claims(claims: object) -> Mapping[str, object]:
    """Return a copy that JSON can carry (RFC 8259 knows no NaN, and no key but text)."""
    if not isinstance(claims, Mapping):
        raise ConfigurationError(f"claims: a mapping is wanted, not {type(claims).__name__}")
    taken = [name for name in _RESERVED if name in claims]
    if taken:
        raise ConfigurationError(
            f"claims: {', '.join(taken)} is set by the library, not by further claims"
        )
    if not all(isinstance(name, str) for name in claims):
        raise ConfigurationError("claims: every name is a text")
    fault = ""
    try:
        copied: dict[str, object] = json.loads(json.dumps(dict(claims), allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        fault = type(error).__name__
    else:
        return copied
    raise ConfigurationError(
        f"claims: JSON can't carry them ({fault}): use text, finite numbers, lists and mappings"
    )


_signers: dict[str, PyJWS] = {}


def _jws(algorithm: str) -> PyJWS:
    """Return PyJWT's signer, which warns of a short key at every token, made quiet: we warn once."""
    known = _signers.get(algorithm)
    if known is not None:
        return known
    try:
        import jwt
    except ImportError:
        raise ConfigurationError("PyJWT is missing: pip install partner-auth") from None
    if not hasattr(jwt, "PyJWS"):
        raise ConfigurationError(
            "another package lies in PyJWT's place: pip uninstall jwt, then pip install --force-reinstall PyJWT"
        )
    signer = jwt.PyJWS(algorithms=[algorithm])
    quiet: Any = copy(signer.get_algorithm_by_name(algorithm))
    quiet.check_key_length = _no_complaint
    signer.unregister_algorithm(algorithm)
    signer.register_algorithm(algorithm, quiet)
    _signers[algorithm] = signer
    return signer


def _no_complaint(_key: object) -> None:
    return None
