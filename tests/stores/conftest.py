"""The real stores of the sources' own tests, and an object that signs from them."""

from __future__ import annotations

import threading

import pytest

from tests.sources import aws_fixtures, bao_fixtures
from tests.sources.lying_server import LyingServer
from tests.stores.kit import Traffic, eventually, policy

bao, bao_server, home = bao_fixtures.bao, bao_fixtures.bao_server, bao_fixtures.home
aws, aws_server = aws_fixtures.aws, aws_fixtures.aws_server


@pytest.fixture
def partner(partner_server):
    """The partner, which accepts the first secret."""
    return partner_server


@pytest.fixture
def proxy():
    """A server that stands between a source and its store."""
    with LyingServer() as server:
        yield server


@pytest.fixture
def flowing(partner):
    """Have traffic flow, signed from a source: it is well when the block begins."""

    def flowing(source, **settings):
        traffic = Traffic(partner, source, policy(**settings))
        traffic.auth.token()
        return traffic

    yield flowing
    eventually(no_reader)


def no_reader():
    """Whether no store is being read."""
    return not [t for t in threading.enumerate() if t.name == "partner_auth-read"]
