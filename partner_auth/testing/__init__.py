"""A partner API and a clock for your tests: real sockets, real tokens, time moved by hand."""

from partner_auth.testing._clock import Clock
from partner_auth.testing._received import Received
from partner_auth.testing._server import PartnerServer
from partner_auth.testing._store import MemoryStore

__all__ = ["Clock", "MemoryStore", "PartnerServer", "Received"]
