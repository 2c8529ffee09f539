"""One read of a Vault server: one budget for all of its requests, and at most one fresh login."""

from __future__ import annotations

from partner_auth.sources._vault_lease import Lease
from partner_auth.sources._vault_login import Link
from partner_auth.sources._vault_refusals import Answer, Problem, is_token_unknown, refusal
from partner_auth.sources._vault_wire import Request

_BAD_REQUEST, _BEHIND, _SERVER_ERROR = 400, 412, 500


class Visit:
    """The requests of one read, which end by `deadline` (`time.monotonic()`)."""

    def __init__(self, link: Link, deadline: float) -> None:
        self._link = link
        self._deadline = deadline
        self._lease: Lease | None = None

    def get(self, path: str, query: str = "") -> Answer | Problem:
        """Return the answer, of whatever status but that the token is unknown."""
        lease = self._lease or self._link.lease(self._deadline)
        if isinstance(lease, Problem):
            return lease
        answer = self._asked(lease, path, query)
        if isinstance(answer, Problem) or not is_token_unknown(answer):
            self._lease = lease
            return answer
        return self._with_another_token(lease, path, query)

    def learn_life(self) -> None:
        """Let a token that we were given be renewed from now on, if it can be."""
        if self._lease is not None:
            self._link.learn_life(self._lease, self._deadline)

    def refresh_at(self) -> float | None:
        """Return when a read should come for the token's sake: seconds since the epoch."""
        clock = self._link.clock
        left = self._lease.read_again_in(clock.monotonic()) if self._lease is not None else None
        return None if left is None else clock.now() + left

    def _with_another_token(self, unknown: Lease, path: str, query: str) -> Answer | Problem:
        lease = self._link.another(unknown, self._deadline)
        if isinstance(lease, Problem):
            return lease
        self._lease = lease
        answer = self._asked(lease, path, query)
        if isinstance(answer, Problem) or not is_token_unknown(answer):
            return answer
        return refusal(answer, path)

    def _asked(self, lease: Lease, path: str, query: str) -> Answer | Problem:
        """Ask; once more at once where a node may not have seen a new login yet."""
        request = Request("get", path, lease.token, query=query)
        is_new = lease.from_login and not lease.accepted
        answer = self._link.ask(request, self._deadline)
        if is_new and isinstance(answer, Answer) and _may_lag(answer):
            answer = self._link.ask(request, self._deadline)
        if isinstance(answer, Answer) and not _may_lag(answer):
            lease.accepted = True
        return answer


def _may_lag(answer: Answer) -> bool:
    if answer.status in (_BAD_REQUEST, _BEHIND) or answer.status >= _SERVER_ERROR:
        return True
    return is_token_unknown(answer)
