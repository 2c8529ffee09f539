"""A user of requests, who has nothing else."""

import requests

import partner_auth.requests
from partner_auth.testing import PartnerServer

assert issubclass(partner_auth.requests.PartnerAuth, requests.auth.AuthBase)
with PartnerServer() as server, requests.Session() as session:
    session.auth = server.auth()
    assert isinstance(session.auth, requests.auth.AuthBase)
    assert session.get(f"{server.url}/portfolio").ok
    server.rotate()
    assert session.get(f"{server.url}/portfolio").ok
    assert [request.status for request in server.requests] == [200, 401, 200]
