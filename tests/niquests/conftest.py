"""The partner and the strangers of tests/conformance, for the doors of niquests."""

from tests.clients.conftest import certificate, client, connect, other, partner, secure

__all__ = ["certificate", "client", "connect", "other", "partner", "secure"]
