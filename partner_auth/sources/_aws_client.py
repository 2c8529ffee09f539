"""boto3's only room: who makes a client, how long a call may take, and what it may log.

**Time.** botocore's own limits add up to no bound: it sleeps between its tries (6 s when AWS asks
for it), each byte of a dripping body starts its read time-out anew, looking up a name has no limit,
and asking a container for credentials takes 9 s. So a call runs in a thread of its own, which is
given up at the deadline. While four that were given up still hang, nothing more is asked.

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

Asking = Callable[[], Answer | Failure]

# Of a fetch's `timeout`, for each of two tries: 2 s and 3 s of 8.
CONNECT, READ = 1 / 4, 3 / 8
_CONNECTIONS = 32  # as many as a process has reading threads
_GIVEN_UP = 4
_BEGINS_WITHIN = 1.0  # a thread that has not begun by then never will
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
        self.given_up: dict[Settings, list[threading.Event]] = defaultdict(list)
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

    def drop(self, client: Any) -> None:
        """Have the next read make a new Session, unless others did so since, or just before."""
        with self._lock:
            in_use = client is None or any(client is one for one in self._clients.values())
            if in_use and not self._too_often():
                self._session, self._clients = None, {}

    def _too_often(self) -> bool:
        return len(self._made) == _BURST and time.monotonic() - self._made[0] < _BURST

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
    return in_time(asking, call, deadline, find().given_up[settings])


def _ask(
    find: Callable[[], Account], settings: Settings, call: Call, deadline: Deadline
) -> Answer | Failure:
    account = find()
    answer = _ask_once(account, settings, call)
    if _is_about_us(answer) and account.own is None and deadline.left():
        return _ask_once(find(), settings, call)
    return answer


def _ask_once(account: Account, settings: Settings, call: Call) -> Answer | Failure:
    client = None
    answer: Answer | Failure | None
    try:
        client = account.client(settings)
        answer = call.read(getattr(client, call.method)(**call.parameters))
    except Exception as error:  # noqa: BLE001 - boto3 lets through whatever its parts raise
        answer = failure_of(error, call, made=client is not None)
    if answer is None:
        answer = call.no_answer("what came")
    if client is None or _is_about_us(answer):
        account.drop(client)
    return answer


def _is_about_us(answer: Answer | Failure) -> bool:
    return isinstance(answer, Failure) and answer.reason == "identity"


class _Work:
    """A call in a thread of its own, or here where no thread begins."""

    def __init__(self, asking: Asking) -> None:
        self.answer: Answer | Failure | None = None
        self.over = threading.Event()
        self._asking = asking
        self._begun = threading.Lock()  # taken once, by whoever does the work

    def begin(self) -> None:
        if not self._begun.acquire(blocking=False):
            return
        try:
            self.answer = self._asking()
        finally:
            self.over.set()


def in_time(
    asking: Asking, call: Call, deadline: Deadline, given_up: list[threading.Event]
) -> Answer | Failure:
    """Return what `asking` returns, or a time-out at the deadline; then it stands in `given_up`."""
    given_up[:] = [over for over in given_up if not over.is_set()]
    if not deadline.left() or len(given_up) >= _GIVEN_UP:
        return _late(call, deadline)
    work = _Work(asking)
    try:
        threading.Thread(target=work.begin, daemon=True, name="partner_auth-aws").start()
    except RuntimeError:  # the interpreter is about to exit, or there are too many threads
        work.begin()
    if not work.over.wait(min(_BEGINS_WITHIN, deadline.left())):
        work.begin()  # no thread begins in a uWSGI without threads; where it has, this does nothing
    if not work.over.wait(deadline.left()):
        given_up.append(work.over)
        return _late(call, deadline)
    return work.answer or call.unavailable("the read was broken off: try again")


def _late(call: Call, deadline: Deadline) -> Failure:
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
