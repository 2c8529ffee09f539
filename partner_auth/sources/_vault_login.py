"""Who we are to a Vault server: one login, shared by all sources with equal settings.

* A token is renewed, or replaced by a new login, at the first read past half of its life.
* A token that the server no longer knows is replaced at once, unless it is new and was never taken.
* A login that was refused is not repeated until what it is made of changes or a pause is over:
  stores lock accounts.
* One login at a time; who waited for one that failed shares its failure.
* After a fork the token stays (a secret id may work once only); lock and connections are new.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Hashable
from typing import Any, NamedTuple

from partner_auth._clock import Clock, checked
from partner_auth._credentials import Secret
from partner_auth.sources._vault_answers import (
    Grant,
    read_grant,
    read_own_life,
    read_secret_id,
)
from partner_auth.sources._vault_lease import Lease
from partner_auth.sources._vault_methods import Inputs, Method, given_token, login_inputs
from partner_auth.sources._vault_refusals import Answer, Problem, unavailable
from partner_auth.sources._vault_settings import Settings
from partner_auth.sources._vault_wire import Request, Wire

COOLDOWN = 30.0
# Vault and OpenBao lock a user at the fifth bad login; 15 minutes without one clear the count.
_LOCKABLE, _LOCKABLE_PAUSES = ("userpass", "approle"), (COOLDOWN, 60.0, 960.0)
_LOOKUP = 1.0  # seconds: it must not hold up a read whose answer is there
_KEPT = 256  # links and wires; a source holds its own besides


class _Refused(NamedTuple):
    inputs: Inputs
    times: int
    until: float
    problem: Problem


class Link:
    """One server, namespace and way to log in, and what came of it; safe for threads."""

    def __init__(
        self, key: Hashable, wire: Wire, namespace: str | None, method: Method, clock: Clock
    ) -> None:
        self.key = key
        self.wire = wire
        self.namespace = namespace
        self.method = method
        self.clock = clock
        # By process: the parent's may be held, at the fork, by a thread that the child has not.
        self._locks: dict[int, threading.Lock] = {}
        # guarded by the lock: the five below
        self._lease: Lease | None = None
        self._refused: _Refused | None = None
        self._unwrapped: tuple[Secret, Secret] | None = None
        self._failures = 0
        self._failure: Problem | None = None

    def ask(self, request: Request, deadline: float) -> Answer | Problem:
        """Ask in our namespace."""
        return self.wire.ask(request._replace(namespace=self.namespace), deadline)

    def lease(self, deadline: float) -> Lease | Problem:
        """Return a token for a read now: the one held, a renewed one, or that of a new login."""
        return self._alone(deadline, self._current)

    def another(self, unknown: Lease, deadline: float) -> Lease | Problem:
        """Return a token after the server did not know this one: at most one new login."""
        return self._alone(deadline, lambda end: self._replaced(unknown, end))

    def learn_life(self, lease: Lease, deadline: float) -> None:
        """Ask, once, how long a token that we were given lives; it may not be allowed to ask."""
        if lease.looked_up or self.wire.client is not None or not lease.token:
            return
        lease.looked_up = True
        request = Request("get", "auth/token/lookup-self", lease.token)
        answer = self.ask(request, min(deadline, time.monotonic() + _LOOKUP))
        grant = read_own_life(answer, lease.token) if isinstance(answer, Answer) else None
        if grant is not None:
            lease.begin(grant, self.clock.monotonic())

    def _alone(self, deadline: float, step: Callable[[float], Lease | Problem]) -> Lease | Problem:
        lock = self._locks.setdefault(os.getpid(), threading.Lock())
        failures = self._failures
        if not lock.acquire(timeout=max(0.0, deadline - time.monotonic())):
            return unavailable("timeout", "another read's login took all of the time (timeout=)")
        try:
            if self._failure is not None and self._failures != failures:
                return self._failure
            outcome = step(deadline)
            self._failure = outcome if isinstance(outcome, Problem) else None
            self._failures += isinstance(outcome, Problem)
            return outcome
        finally:
            lock.release()

    def _current(self, deadline: float) -> Lease | Problem:
        if self.method.auth == "token":
            return self._given(deadline)
        lease, now = self._lease, self.clock.monotonic()
        if lease is None or lease.is_over(now):
            return self._logged_in(deadline)
        if not lease.is_due(now) or self._is_renewed(lease, deadline):
            return lease
        made = self._logged_in(deadline)
        return lease if isinstance(made, Problem) else made

    def _given(self, deadline: float) -> Lease | Problem:
        given = given_token(self.method, self.wire.client)
        if isinstance(given, Problem):
            return given
        lease, now = self._lease, self.clock.monotonic()
        if lease is None or lease.token != given.token:
            of_unknown_life = Grant(given.token, 0.0, renewable=False)
            lease = self._lease = Lease(of_unknown_life, now, given.origin, from_login=False)
        elif lease.is_due(now):
            self._is_renewed(lease, deadline)
        return lease

    def _replaced(self, unknown: Lease, deadline: float) -> Lease | Problem:
        lease, now = self._lease, self.clock.monotonic()
        if lease is not None and lease is not unknown:
            return lease
        if self.method.auth == "token":
            given = self._given(deadline)
            return _no_better(unknown) if given is unknown else given
        if not unknown.accepted and now < unknown.since + COOLDOWN:
            return unavailable("identity", "the server does not know the token that it just gave")
        self._lease = None
        return self._logged_in(deadline)

    def _is_renewed(self, lease: Lease, deadline: float) -> bool:
        """Renew it; False when it can't be."""
        if not lease.renewable:
            return False
        where = "auth/token/renew-self"
        answer = self.ask(Request("post", where, lease.token, Secret("{}")), deadline)
        grant = answer if isinstance(answer, Problem) else read_grant(answer, where)
        if isinstance(grant, Problem):
            lease.renewable = not grant.is_identity
            return lease.renewable  # only not now: the next read tries again
        lease.renew(grant, self.clock.monotonic())
        return True

    def _logged_in(self, deadline: float) -> Lease | Problem:
        inputs = login_inputs(self.method)
        if isinstance(inputs, Problem):
            return inputs
        grant = self._pause(inputs) or self._granted(inputs, deadline)
        if isinstance(grant, Grant):
            self._refused = None
            now = self.clock.monotonic()
            self._lease = Lease(grant, now, "a login", from_login=True)
            return self._lease
        return grant

    def _granted(self, inputs: Inputs, deadline: float) -> Grant | Problem:
        grant = self._asked_for(inputs, deadline)
        if isinstance(grant, Problem) and grant.is_identity:
            self._refuse(inputs, grant)
        return grant

    def _asked_for(self, inputs: Inputs, deadline: float) -> Grant | Problem:
        ready = self._ready(inputs, deadline)
        if isinstance(ready, Problem):
            return ready
        answer = self.ask(Request("post", ready.path, body=ready.body()), deadline)
        return answer if isinstance(answer, Problem) else read_grant(answer, ready.path)

    def _ready(self, inputs: Inputs, deadline: float) -> Inputs | Problem:
        """Unwrap the secret id, once: a wrapping token works one time, so what it held is kept."""
        if not self.method.secret_id_wrapped:
            return inputs
        wrapping = inputs.fields["secret_id"]
        if self._unwrapped is not None and self._unwrapped[0] == wrapping:
            return inputs.having("secret_id", self._unwrapped[1])
        where = "sys/wrapping/unwrap"
        answer = self.ask(Request("post", where, wrapping, Secret("{}")), deadline)
        held = answer if isinstance(answer, Problem) else read_secret_id(answer, where)
        if isinstance(held, Problem):
            return held
        self._unwrapped = (wrapping, held)
        return inputs.having("secret_id", held)

    def _refuse(self, inputs: Inputs, problem: Problem) -> None:
        before = self._refused
        times = before.times + 1 if before is not None and before.inputs == inputs else 1
        pauses = _LOCKABLE_PAUSES if self.method.auth in _LOCKABLE else (COOLDOWN,)
        until = self.clock.monotonic() + pauses[min(times, len(pauses)) - 1]
        self._refused = _Refused(inputs, times, until, problem)

    def _pause(self, inputs: Inputs) -> Problem | None:
        refused = self._refused
        if refused is None or refused.inputs != inputs:
            return None
        left = refused.until - self.clock.monotonic()
        if left <= 0:
            return None
        again = f"not tried again for {left:.0f} s, unless what it is made of changes"
        return refused.problem._replace(text=f"{refused.problem.text}; {again}")


def _no_better(lease: Lease) -> Problem:
    if not lease.token:
        return unavailable("identity", f"the server wants a token: {lease.origin}")
    text = f"the server does not know the token from {lease.origin} (expired, revoked or used up)"
    return unavailable("identity", text)


_links: dict[Hashable, Link] = {}
_wires: dict[Hashable, Wire] = {}


def link_key(settings: Settings, method: Method, client: Any, clock: Clock | None) -> Hashable:
    """Return what must be equal for two sources to share a login."""
    return settings, method, id(client), id(clock)


def link_for(settings: Settings, method: Method, client: Any, clock: Clock | None) -> Link:
    """Return the process's link for these settings."""
    key = link_key(settings, method, client, clock)
    link = _links.get(key)
    if link is None:
        made = Link(key, _wire(settings, client), settings.namespace, method, checked(clock))
        link = _links.setdefault(key, made)
        _forget_oldest(_links)
    return link


def _wire(settings: Settings, client: Any) -> Wire:
    if client is not None:
        return Wire(settings, client)
    shared = settings._replace(namespace=None)
    wire = _wires.setdefault(shared, Wire(shared))
    _forget_oldest(_wires)
    return wire


def _forget_oldest(registry: dict[Hashable, Any]) -> None:
    for key in list(registry)[:-_KEPT]:
        registry.pop(key, None)
