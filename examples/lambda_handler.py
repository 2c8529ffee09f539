"""AWS Lambda: make the object outside the handler, and every warm call uses the token it holds.

A frozen function's clocks disagree when it wakes. A credential that aged meanwhile is stale, not
gone: it serves this call while the store is read behind it.
"""

import os
from typing import Any

import requests

from partner_auth import PartnerAuth

session = requests.Session()
session.auth = PartnerAuth(os.environ.get("PARTNER_AUTH_SOURCE", "env://"))


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Answer with what the partner has."""
    url = f"{os.environ['PARTNER_BASE_URL']}/{event['path']}"
    answer = session.get(url, timeout=10)
    return {"statusCode": answer.status_code, "body": answer.text}


if __name__ == "__main__":
    from partner_auth.testing import PartnerServer

    with PartnerServer() as partner:
        os.environ["PARTNER_BASE_URL"] = partner.url
        os.environ["PARTNER_CLIENT_ID"] = partner.client_id
        os.environ["PARTNER_SECRET_KEY"] = partner.secret
        print("cold:", handler({"path": "portfolio"}, None)["statusCode"])
        print("warm:", handler({"path": "portfolio"}, None)["statusCode"])
        tokens = {request.token for request in partner.requests}
        print("tokens signed:", len(tokens))
    session.close()
