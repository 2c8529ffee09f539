"""Which secrets each of the partner's nodes accepts, and what it makes of a token."""

from __future__ import annotations

import base64
import itertools
import random
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import jwt

from partner_auth._credentials import Secret

FOREVER = float("inf")


@dataclass(frozen=True)
class Verdict:
    """What came of a token: which secret it was accepted with, or why it was refused."""

    accepted_by: str | None = None
    refusal: str | None = None
    claims: dict[str, Any] = field(default_factory=dict)


class Keyring:
    """Hold the secrets that are accepted, node by node, and judge tokens by them."""

    def __init__(
        self, secret: Secret, client_id: str, algorithms: Iterable[str], leeway: float
    ) -> None:
        """Accept `secret` alone, on one node."""
        self._client_id = client_id
        self._algorithms = {name: jwt.PyJWS().get_algorithm_by_name(name) for name in algorithms}
        self._leeway = leeway
        self._lock = threading.Lock()  # guards all below
        self._keys: dict[tuple[Secret, str], Any] = {}
        self._learn(secret)
        self._current = secret
        self._former: set[Secret] = set()
        self._nodes: list[dict[Secret, float]] = [
            {secret: FOREVER}
        ]  # each secret with the time it ends
        self._turns = _in_turn(1)
        self._rejecting = False

    @property
    def current(self) -> Secret:
        """The secret that the partner issued last."""
        return self._current

    def spread(self, count: int, seed: int | None) -> None:
        """Be `count` nodes, taken in turn or by chance; each accepts what the first does now."""
        if count < 1:
            raise ValueError(f"nodes: at least one is wanted, not {count!r}")
        with self._lock:
            self._nodes = [dict(self._nodes[0]) for _ in range(count)]
            self._turns = _in_turn(count) if seed is None else _by_chance(count, seed)

    def pick(self) -> int:
        """Return the number of the node that the next request goes to."""
        with self._lock:
            return next(self._turns)

    def accept(self, secrets: Iterable[Secret], node: int | None) -> None:
        """Accept these alone, on one node, or on all (None), where the first becomes current."""
        secrets = list(secrets)
        with self._lock:
            for secret in secrets:
                self._learn(secret)
            for accepted in self._chosen(node):
                accepted.clear()
                accepted.update(dict.fromkeys(secrets, FOREVER))
            self._rejecting = False
            if secrets and node is None:
                self._issue(secrets[0])

    def rotate(self, secret: Secret, until: float | None, node: int | None) -> None:
        """Accept `secret`, and what was accepted up to now until that time (None: no longer)."""
        with self._lock:
            self._learn(secret)
            for accepted in self._chosen(node):
                kept = (
                    {} if until is None else {old: min(end, until) for old, end in accepted.items()}
                )
                accepted.clear()
                accepted.update(kept)
                accepted[secret] = FOREVER
            self._issue(secret)

    def reject(self, *, rejecting: bool) -> None:
        """Refuse every token, or end that."""
        self._rejecting = rejecting

    def judge(self, token: str | None, node: int, now: float) -> Verdict:
        """Say what comes of a token at a node of the partner, at that time on its clock."""
        if token is None:
            return Verdict(refusal="missing_token")
        try:
            header = jwt.get_unverified_header(token)
            claims = jwt.decode(token, options={"verify_signature": False})
        except jwt.InvalidTokenError:
            return Verdict(refusal="malformed_token")
        if self._rejecting:
            return Verdict(refusal="rejecting", claims=claims)
        if header.get("alg") not in self._algorithms:
            return Verdict(refusal="unsupported_algorithm", claims=claims)
        name = self._signed_by(token, header["alg"], node, now)
        refusal = "unknown_secret" if name is None else self._refusal(claims, now)
        return Verdict(None if refusal else name, refusal, claims)

    def _signed_by(self, token: str, algorithm: str, node: int, now: float) -> str | None:
        text, _, signature = token.rpartition(".")
        signed = base64.urlsafe_b64decode(signature + "=" * (-len(signature) % 4))
        with self._lock:
            accepted = [
                secret for secret, end in self._nodes[node % len(self._nodes)].items() if now < end
            ]
        for secret in accepted:
            key = self._keys.get((secret, algorithm))
            if key is not None and self._algorithms[algorithm].verify(text.encode(), key, signed):
                return self._name(secret)
        return None

    def _refusal(self, claims: dict[str, Any], now: float) -> str | None:
        # PyJWT's own checks read the machine's clock; these are the same ones on the partner's.
        if (
            not all(type(claims.get(name)) is int for name in ("iat", "exp"))
            or "clientId" not in claims
        ):
            return "bad_claims"
        if claims["clientId"] != self._client_id:
            return "wrong_client"
        if claims["iat"] > now + self._leeway:
            return "issued_in_future"
        return "expired" if claims["exp"] <= now - self._leeway else None

    def _chosen(self, node: int | None) -> list[dict[Secret, float]]:
        return self._nodes if node is None else [self._nodes[node]]

    def _issue(self, secret: Secret) -> None:
        if secret != self._current:
            self._former = (self._former | {self._current}) - {secret}
            self._current = secret

    def _name(self, secret: Secret) -> str:
        if secret == self._current:
            return "current"
        return "previous" if secret in self._former else "other"

    def _learn(self, secret: Secret) -> None:
        for name, algorithm in self._algorithms.items():
            # Prepared here, so that a wrong key fails in the test and not in the server's thread;
            # and verified with directly, since PyJWT's `decode` warns of a short key each time.
            key = _prepared(algorithm, secret)
            if key is None:
                raise ValueError(f"PartnerServer: the secret is no key for {name}")
            self._keys[secret, name] = key.public_key() if hasattr(key, "public_key") else key


def _prepared(algorithm: Any, secret: Secret) -> Any:
    try:
        return algorithm.prepare_key(secret.reveal())
    except (jwt.InvalidKeyError, ValueError):
        return None


def _in_turn(count: int) -> Iterator[int]:
    return itertools.cycle(range(count))


def _by_chance(count: int, seed: int) -> Iterator[int]:
    chance = random.Random(seed)  # noqa: S311 - it guards nothing, and a test wants it again
    while True:
        yield chance.randrange(count)
