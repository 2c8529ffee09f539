"""The signing transports of httpx and httpx2: the same rule below hooks and redirects."""

from __future__ import annotations

import asyncio

import httpx
import httpx2
import pytest

import partner_auth.httpx
import partner_auth.httpx2
from partner_auth import ConfigurationError, Credential, InsecureTransport, PartnerAuth

DOORS = [(httpx, partner_auth.httpx), (httpx2, partner_auth.httpx2)]
clients = pytest.mark.parametrize(("client", "door"), DOORS, ids=["httpx", "httpx2"])


def raise_for_status(response):
    response.raise_for_status()


@clients
def test_a_rotation_is_mended_below_a_raising_hook(client, door, partner_server):
    """The hook that httpx's docs advise sees the final answer alone."""
    transport = door.SigningTransport(partner_server.auth())
    hooks = {"response": [raise_for_status]}
    with client.Client(transport=transport, event_hooks=hooks, max_redirects=1) as session:
        session.get(partner_server.url + "/portfolio")
        partner_server.rotate()
        answer = session.get(partner_server.url + "/portfolio")
    assert answer.status_code == 200
    assert answer.history == []
    assert answer.request.headers["Authorization"].endswith(partner_server.requests[-1].token)


@clients
def test_the_asynchronous_transport_mends_as_well(client, door, partner_server):
    """With a body that goes out twice."""

    async def main():
        transport = door.AsyncSigningTransport(partner_server.auth())
        async with client.AsyncClient(transport=transport) as session:
            await session.get(partner_server.url + "/portfolio")
            partner_server.rotate()
            return await session.post(partner_server.url + "/echo", json={"a": 1})

    assert asyncio.run(main()).status_code == 200
    assert [r.status for r in partner_server.requests] == [200, 401, 200]


@clients
def test_each_hop_of_a_redirect_is_judged_anew(client, door, partner_server):
    """A named origin is signed at once, wherever the hop came from."""
    partner_server.redirect("/moved", partner_server.url + "/portfolio")
    transport = door.SigningTransport(partner_server.auth())
    with client.Client(transport=transport, follow_redirects=True) as session:
        assert session.get(partner_server.url + "/moved").status_code == 200


@clients
def test_another_origin_is_left_alone(client, door, partner_server):
    """Unsigned and untouched, its 401 too."""
    auth = PartnerAuth(Credential("acme", "k" * 32), origins="https://api.partner.example")
    with client.Client(transport=door.SigningTransport(auth)) as session:
        assert session.get(partner_server.url + "/portfolio").status_code == 401
        with pytest.raises(InsecureTransport):
            session.get("http://api.partner.example/")
    assert [r.headers.get("Authorization") for r in partner_server.requests] == [None]


@clients
def test_origins_are_required(client, door):
    """A transport can't tell a hop from a request."""
    for made in (door.SigningTransport, door.AsyncSigningTransport):
        with pytest.raises(ConfigurationError, match="origins"):
            made(PartnerAuth(Credential("acme", "k" * 32)))
        with pytest.raises(ConfigurationError, match="PartnerAuth"):
            made(("user", "password"))


@clients
def test_a_pool_of_one_connection_is_enough(client, door, partner_server):
    """The refused answer gives its connection back before the resend."""
    inner = client.HTTPTransport(limits=client.Limits(max_connections=1))
    with client.Client(
        transport=door.SigningTransport(partner_server.auth(), inner), timeout=3
    ) as session:
        for _ in range(3):
            partner_server.rotate()
            assert session.get(partner_server.url + "/portfolio").status_code == 200
