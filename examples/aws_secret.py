"""A secret in AWS Secrets Manager, here played by moto.

The rotation is the one that AWS's own templates do: the new secret is staged as AWSPENDING, the
partner takes it, and only then it becomes AWSCURRENT. No request fails in between.
"""

import json
import logging
import os

import boto3
import requests
from moto.server import ThreadedMotoServer

from partner_auth import PartnerAuth
from partner_auth.testing import PartnerServer

logging.getLogger("werkzeug").setLevel(logging.ERROR)
aws = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
aws.start()
os.environ |= {
    "AWS_ENDPOINT_URL": "http://{}:{}".format(*aws.get_host_and_port()),
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
}


def text(secret: str) -> str:
    """Write the JSON that the secret holds."""
    return json.dumps({"client_id": "acme", "secret_key": secret})


with PartnerServer() as partner, requests.Session() as session:
    manager = boto3.client("secretsmanager", region_name="eu-west-1")
    manager.create_secret(Name="prod/partner", SecretString=text(partner.secret))

    session.auth = PartnerAuth(
        "aws-secretsmanager://prod/partner?region=eu-west-1", origins=partner.url
    )
    print("AWSCURRENT:", session.get(f"{partner.url}/portfolio").status_code)

    new = "the-next-secret-of-at-least-32-bytes"
    manager.put_secret_value(
        SecretId="prod/partner", SecretString=text(new), VersionStages=["AWSPENDING"]
    )
    partner.rotate(new)
    print("AWSPENDING:", session.get(f"{partner.url}/portfolio").status_code)

    manager.put_secret_value(SecretId="prod/partner", SecretString=text(new))
    session.auth.refresh()
    print("AWSCURRENT again:", session.get(f"{partner.url}/portfolio").status_code)
    print("refused in all:", sum(request.status == 401 for request in partner.requests))
aws.stop()
