"""boto3's only room: who makes a client, how long a call may take, and what it may log.

**Time.** botocore's own limits add up to no bound: it sleeps between its tries (6 s when AWS asks
for it), each byte of a dripping body starts its read time-out anew, looking up a name has no limit,
and asking a container for credentials takes 9 s. So all of it, credentials too, is given up at the
deadline by `_in_time`.

**Identity.** boto3 keeps credentials in the Session, expired ones too (boto/botocore#3117, #3134,
#3480), so an answer that is about *us* drops the Session and all that was made from it. It reads
the environment only when it makes one, so another environment is another Session from the start.
"""

from __future__ import annotations

import logging
import os
import threading
import time
import weakref
from collections import defaultdict, deque
from collections.abc import Callable
from contextvars import ContextVar
from functools import partial
from typing import Any, NamedTuple, Self

from partner_auth.exceptions import Failure
from partner_auth.sources._aws_errors import Answer, Call, failure_of
from partner_auth.sources._in_time import InTime

Asking = Callable[[], Answer | Failure]
Bound = InTime[Answer | Failure]

# Of a fetch's `timeout`, for each of two tries: 2 s and 3 s of 8.
CONNECT, READ = 1 / 4, 3 / 8
_CONNECTIONS = 32  # as many as a process has reading threads
_BURST = 4  # Sessions made in a row; one a second after that: each takes up to 0.3 s of CPU


class Deadline(NamedTuple):
    """When a fetch has to be over, and how many seconds it was given."""

    seconds: float
    ends: float

    @classmethod
    def within(cls, seconds: float) -> Self:
        """Begin now."""
        return cls(seconds, time.monotonic() + seconds)

    def left(self) -> float:
        """Return the seconds that are left; none after the end."""
        return max(0.0, self.ends - time.monotonic())


class Settings(NamedTuple):
    """What a client is made with: sources with equal ones share it."""

    service: str
    region: str | None
    endpoint_url: str | None
    timeout: float


class Account:
    """One Session and its clients, for all sources of one profile; or a client of the user's own.

    A Session costs 8 MB, a further client of it 160 kB.
    """

    def __init__(self, profile: str | None = None, *, own: Any = None) -> None:
        """Make nothing yet."""
        self.own = own
        self.bounds: dict[Settings, Bound] = defaultdict(InTime)  # a region's hang is its own
        self._profile = profile
        self._lock = threading.Lock()  # guards the three below, also while they are being made
        self._session: Any = None
        self._clients: dict[Settings, Any] = {}
        self._made: deque[float] = deque(maxlen=_BURST)

    def client(self, settings: Settings) -> Any:
        """Return the client for `settings`, made by the first who asks."""
        if self.own is not None:
            return self.own
        known = self._clients.get(settings)  # does not wait while another one is being made
        if known is not None:
            return known
        with self._lock:
            return self._clients.get(settings) or self._make(settings)

    def drop(self, client: Any) -> bool:
        """Have the next read make a new Session. Return whether it will have another client."""
        if self.own is not None:
            return False
        with self._lock:
            if client is not None and all(client is not one for one in self._clients.values()):
                return True  # others saw to it
            if len(self._made) == _BURST and time.monotonic() - self._made[0] < _BURST:
                return False
            self._session, self._clients = None, {}
            return True

    def _make(self, settings: Settings) -> Any:
        import boto3
        from botocore.config import Config

        if self._session is None:
            self._session = boto3.Session(profile_name=self._profile)
            self._made.append(time.monotonic())
        client: Any = self._session.client(
            settings.service,
            region_name=settings.region,
            endpoint_url=settings.endpoint_url,
            config=Config(
                connect_timeout=settings.timeout * CONNECT,
                read_timeout=settings.timeout * READ,
                retries={"mode": "standard", "total_max_attempts": 2},
                max_pool_connections=_CONNECTIONS,
            ),
        )
        self._clients[settings] = client
        return client


class _Accounts:
    """The accounts of this process, each for as long as a source has it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards the one below
        self._of: weakref.WeakValueDictionary[tuple[str | None, int], Account] = (
            weakref.WeakValueDictionary()
        )

    def of(self, profile: str | None) -> Account:
        key = profile, _environment()
        with self._lock:
            account = self._of.get(key)
            if account is None:
                account = self._of[key] = Account(profile)
            return account


def _environment() -> int:
    """Return what tells one environment from another in this process, and nothing about either."""
    names = [n for n in os.environ if n.startswith("AWS_") or n.upper().endswith("_PROXY")]
    return hash(tuple((name, os.environ.get(name)) for name in sorted(names)))


_process: dict[str, _Accounts] = {}  # filled by the first read, emptied in a forked child
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_process.clear)


def shared_account(profile: str | None) -> Account:
    """Return the account that all sources of `profile` share: keep it, it is held weakly here."""
    accounts = _process.get("accounts") or _process.setdefault("accounts", _Accounts())
    return accounts.of(profile)


def ask(
    find: Callable[[], Account], settings: Settings, call: Call, deadline: Deadline
) -> Answer | Failure:
    """Ask AWS, once more with a new Session if it can't tell who we are, and end in time."""
    asking = partial(_quietly, partial(_ask, find, settings, call, deadline))
    return in_time(asking, call, deadline, find().bounds[settings])


def _ask(
    find: Callable[[], Account], settings: Settings, call: Call, deadline: Deadline, tries: int = 2
) -> Answer | Failure:
    account = find()
    answer, client = _ask_once(account, settings, call)
    about_us = isinstance(answer, Failure) and answer.reason == "identity"
    renewed = (about_us or client is None) and account.drop(client)
    if about_us and renewed and tries > 1 and deadline.left():
        return _ask(find, settings, call, deadline, tries - 1)
    return answer


def _ask_once(account: Account, settings: Settings, call: Call) -> tuple[Answer | Failure, Any]:
    client = None
    try:
        client = account.client(settings)
        answer = call.read(getattr(client, call.method)(**call.parameters))
    except Exception as error:  # noqa: BLE001 - boto3 lets through whatever its parts raise
        return failure_of(error, call, made=client is not None), client
    return answer or call.no_answer("what came"), client


def in_time(asking: Asking, call: Call, deadline: Deadline, bound: Bound) -> Answer | Failure:
    """Return what `asking` returns, or a time-out at the deadline."""
    answer = bound.call(asking, deadline.ends)
    if answer is not None:
        return answer
    text = (
        f"no answer within {deadline.seconds:g} s: look at network, endpoint and proxy, and at "
        "where the credentials come from"
    )
    return call.unavailable(text, "timeout")


# They log at DEBUG: the answer; our session token and signature; these, and web identity tokens.
_LOGGERS = ("botocore.parsers", "botocore.auth", "botocore.endpoint")
_reading: ContextVar[bool] = ContextVar("partner_auth_reads_aws", default=False)


def _is_not_ours(_: logging.LogRecord) -> bool:
    """Whether to log it: the application's own calls keep their lines."""
    return not _reading.get()


def _quietly(asking: Asking) -> Answer | Failure:
    for name in _LOGGERS:
        logging.getLogger(name).addFilter(_is_not_ours)  # twice is once
    token = _reading.set(True)
    try:
        return asking()
    finally:
        _reading.reset(token)
