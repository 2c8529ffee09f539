"""A read that lands in the midst of a request that has begun to sign."""

from __future__ import annotations

import threading

import requests

from partner_auth import PartnerAuth
from partner_auth.testing import Clock, MemoryStore, PartnerServer
from tests.concurrency.kit import NEW, OLD, signer_of


class Eager(threading.Thread):
    """Let a read be over before whoever began it goes on, as a busy machine may."""

    def start(self):
        super().start()
        if self.name == "partner_auth-read":
            self.join()


def test_what_was_signed_with_before_a_landing_serves_no_other_request():
    """The store was read while the caller's claims were made."""
    store = MemoryStore("acme", OLD)

    def claims(credential):
        if credential.secret_key.reveal() == OLD:
            store.set(NEW)
            auth.refresh()
        return {}

    auth = PartnerAuth(store, claims=claims)
    assert signer_of(auth.token()) == OLD
    assert signer_of(auth.token()) == NEW


def test_an_alternate_that_becomes_the_current_one_costs_no_401(monkeypatch):
    """The request that has begun the read signs with what that brought, not with the old one."""
    clock = Clock()
    with PartnerServer(clock=clock) as server, requests.Session() as session:
        session.auth = server.auth()
        session.get(f"{server.url}/portfolio", timeout=10)
        new = server.store.pending = server.rotate(store=False)
        session.get(f"{server.url}/portfolio", timeout=10)
        server.clear()
        server.store.set(new)
        clock.advance(901)  # what is held is stale, so that the next request begins a read
        monkeypatch.setattr(threading, "Thread", Eager)
        session.get(f"{server.url}/portfolio", timeout=10)
        assert [request.status for request in server.requests] == [200]
