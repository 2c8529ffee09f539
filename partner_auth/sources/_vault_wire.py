"""One request to a Vault or OpenBao server: the only place that knows hvac and requests.

hvac's classes drop the status code, follow redirects with the token and read some variables once,
at import; its `RawAdapter` does none of that when it is told.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from partner_auth._credentials import Secret
from partner_auth._origins import origin_of_url
from partner_auth.exceptions import warn
from partner_auth.sources._in_time import InTime
from partner_auth.sources._vault_refusals import Answer, Problem, not_configured, unavailable
from partner_auth.sources._vault_settings import Settings

if TYPE_CHECKING:
    import requests
    from requests.adapters import HTTPAdapter

CONNECT, READ = 2.0, 3.0
_LARGEST_ANSWER = 1_048_576  # Vault itself stores no larger value by default
_PIECE = 65_536
_LONGEST_HOST = 200
_POOL = 32  # as many as there are reading threads at most


class Request(NamedTuple):
    """What is asked: the path below `/v1/` already quoted, the body wrapped."""

    method: str
    path: str
    token: Secret | None = None
    body: Secret | None = None
    query: str = ""
    namespace: str | None = None


class Failed(NamedTuple):
    """A try without an answer; whether another makes sense, and can't be the second to arrive."""

    problem: Problem
    never_sent: bool = False
    worth_another: bool = False


class Wire:
    """Connections to one server, shared by all sources that reach it alike; safe for threads."""

    def __init__(self, settings: Settings, client: Any = None) -> None:
        self.settings = settings
        self.client = client
        self._sessions: dict[
            int, requests.Session
        ] = {}  # by process: a socket must not cross a fork
        self._warned = False
        self._in_time: InTime[Answer | Problem] = InTime()

    def ask(self, request: Request, deadline: float) -> Answer | Problem:
        """Return the server's answer, whatever its status, by `deadline` (`time.monotonic()`).

        A read is tried twice; a login only if the first try can't have been sent.
        """
        self._warn_once()
        outcome = self._in_time.call(lambda: self._tried(request, deadline), deadline)
        late = "no answer within the time for one read (timeout=)"
        return (
            unavailable("timeout", f"{self._where()} gave {late}") if outcome is None else outcome
        )

    def _tried(self, request: Request, deadline: float) -> Answer | Problem:
        outcome = self._try(request, deadline)
        if isinstance(outcome, Failed):
            again = outcome.never_sent or (outcome.worth_another and request.method == "get")
            if again and time.monotonic() < deadline:
                outcome = self._try(request, deadline)
        return outcome.problem if isinstance(outcome, Failed) else outcome

    def _try(self, request: Request, deadline: float) -> Answer | Failed:
        import requests
        import urllib3

        errors = (requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError)
        try:
            response = self._send(request, self._timeouts(deadline))
            return _answer(response, deadline)
        except (*errors, Warning) as error:  # a warning that the program turned into an error
            return self._failed(error)

    def _send(self, request: Request, timeouts: tuple[float, float]) -> requests.Response:
        from hvac.adapters import RawAdapter

        adapter = self._own(RawAdapter) if self.client is None else self._borrowed(RawAdapter)
        adapter.allow_redirects = False
        adapter.namespace = request.namespace or adapter.namespace
        adapter.token = request.token.reveal() if request.token else None
        response: requests.Response = adapter.request(
            request.method,
            f"/v1/{request.path}{request.query}",
            headers={"Accept-Encoding": "identity"},  # nothing to unpack, so nothing that grows
            raise_exception=False,
            data=None if request.body is None else request.body.encoded(),
            stream=True,
            timeout=timeouts,
        )
        return response

    def _own(self, raw_adapter: Callable[..., Any]) -> Any:
        return raw_adapter(
            base_uri=self.settings.address,
            session=self._session(),
            # given again although the session has them: hvac takes verify=False from here alone
            verify=self.settings.verify,
            cert=self.settings.client_cert,
            proxies=self._session().proxies,
        )

    def _borrowed(self, raw_adapter: Any) -> Any:
        return raw_adapter.from_adapter(self.client.adapter)

    def _session(self) -> requests.Session:
        session = self._sessions.get(os.getpid())
        if session is None:
            session = self._sessions.setdefault(os.getpid(), _new_session(self.settings))
        return session

    def _timeouts(self, deadline: float) -> tuple[float, float]:
        left = max(0.01, deadline - time.monotonic())
        read = self.settings.read_timeout or READ
        return min(CONNECT, read, left), min(read, left)

    def _failed(self, error: Exception) -> Failed:
        """Return what an error means; its own text is dropped, since it may quote a header."""
        import requests
        import urllib3

        where, kind = self._where(), type(error).__name__
        cause = getattr(error.args[0] if error.args else None, "reason", None)
        unconnected = (requests.ConnectTimeout, urllib3.exceptions.NewConnectionError)
        never_sent = isinstance(error, unconnected) or isinstance(cause, unconnected)
        if isinstance(error, requests.exceptions.SSLError):
            text = f"TLS with {where} failed: is VAULT_CACERT its CA, and is it https?"
            return Failed(unavailable("unreachable", text))
        if isinstance(error, (requests.exceptions.InvalidHeader, UnicodeError)):
            text = "the token or namespace holds characters that no header can carry"
            return Failed(unavailable("identity", text))
        if _is_about_a_file(error):
            return Failed(not_configured(f"a certificate, key or CA file can't be used ({kind})"))
        timed_out = isinstance(error, (requests.Timeout, urllib3.exceptions.ReadTimeoutError))
        problem = (
            unavailable("timeout", f"{where} gave no answer in time")
            if timed_out
            else unavailable("unreachable", f"{where} can't be reached ({kind})")
        )
        return Failed(problem, never_sent, worth_another=True)

    def _where(self) -> str:
        if self.client is not None:
            return "the client's server"
        unset = "" if self.settings.address_from else " (VAULT_ADDR is not set)"
        return f"{self.settings.address}{unset}"

    def _warn_once(self) -> None:
        if self._warned or self.client is not None:
            return
        self._warned = True
        origin = origin_of_url(self.settings.address)
        if origin is not None and origin.scheme == "http" and not origin.is_loopback:
            text = f"tokens and secrets go to and from {origin} over plain http: use https"
            warn(text)
        if self.settings.verify is False:
            text = f"VAULT_SKIP_VERIFY: who answers for {origin} is not checked; set VAULT_CACERT"
            warn(text)


def _new_session(settings: Settings) -> requests.Session:
    """Return a session that takes nothing from the environment but a remote server's proxies.

    A netrc entry would be sent along; a proxy for a server on this machine would read the token.
    """
    import requests
    from requests.adapters import HTTPAdapter

    session = requests.Session()
    session.trust_env = False
    origin = origin_of_url(settings.address)
    if origin is not None and not origin.is_loopback:
        session.proxies = requests.utils.get_environ_proxies(settings.address)
    session.verify, session.cert = settings.verify, settings.client_cert
    session.mount("https://", _adapter(settings))
    session.mount("http://", HTTPAdapter(pool_maxsize=_POOL))
    return session


def _adapter(settings: Settings) -> HTTPAdapter:
    """Return an adapter that knows VAULT_TLS_SERVER_NAME, and a VAULT_CAPATH with plain PEM files.

    OpenSSL itself reads such a folder only after `c_rehash`; `vault` and `bao` do without.
    """
    from requests.adapters import HTTPAdapter

    extra: dict[str, Any] = {}
    if settings.server_name:
        extra |= {"server_hostname": settings.server_name, "assert_hostname": settings.server_name}
    if isinstance(settings.verify, str) and os.path.isdir(settings.verify):
        extra["ssl_context"] = _trusting_all_in(settings.verify)

    class Adapter(HTTPAdapter):
        def build_connection_pool_key_attributes(
            self, request: Any, verify: Any, cert: Any = None
        ) -> Any:
            host, pool = super().build_connection_pool_key_attributes(request, verify, cert)
            return host, {**pool, **extra}

    return Adapter(pool_maxsize=_POOL)


def _trusting_all_in(folder: str) -> Any:
    import ssl

    from urllib3.util.ssl_ import create_urllib3_context

    context = create_urllib3_context()
    for name in sorted(os.listdir(folder)):
        try:
            context.load_verify_locations(os.path.join(folder, name))
        except (ssl.SSLError, OSError):
            continue  # a key, a folder, a README
    return context


def _is_about_a_file(error: Exception) -> bool:
    import requests

    return isinstance(error, OSError) and not isinstance(
        error, (requests.RequestException, ConnectionError, TimeoutError)
    )


def _answer(response: requests.Response, deadline: float) -> Answer | Failed:
    with response:
        body = _body(response, deadline)
    if body is None:
        return Failed(unavailable("malformed", f"got more than {_LARGEST_ANSWER} bytes"))
    return Answer(response.status_code, body, _host(response.headers.get("Location", "")))


def _body(response: requests.Response, deadline: float) -> Secret | None:
    """Read the body as it came, up to a size and a moment."""
    pieces: list[Secret] = []
    size = 0
    while size <= _LARGEST_ANSWER and time.monotonic() < deadline:
        piece = Secret(response.raw.read1(_PIECE, decode_content=False))
        if not piece.encoded():
            return Secret(b"".join(piece.encoded() for piece in pieces))
        pieces.append(piece)
        size += len(piece.encoded())
    return None


def _host(location: str) -> str:
    """Return the host that a redirect names, and nothing else that a stranger may have written."""
    origin = origin_of_url(location)
    return str(origin) if origin is not None and len(str(origin)) <= _LONGEST_HOST else ""
