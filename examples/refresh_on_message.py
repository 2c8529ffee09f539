"""Read the store again when EventBridge says that a secret was rotated: its rule sends to an SQS queue.

The rule's pattern: `{"source": ["aws.secretsmanager"], "detail": {"eventName": ["RotationSucceeded"]}}`.
A queue for each process, or an SNS topic between: one message is for one reader. AWS is moto here.
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
    "AWS_DEFAULT_REGION": "eu-west-1",
}
manager, sqs = boto3.client("secretsmanager"), boto3.client("sqs")
queue = sqs.create_queue(QueueName="rotations")["QueueUrl"]


def follow(auth: PartnerAuth) -> None:
    """Take what has come; a thread of yours does this for ever, with `WaitTimeSeconds=20`."""
    for message in sqs.receive_message(QueueUrl=queue).get("Messages", []):
        if json.loads(message["Body"])["detail"]["eventName"] == "RotationSucceeded":
            auth.refresh()  # raises when the read fails: the message stays, and comes again
        sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])


with PartnerServer() as partner, requests.Session() as session:
    document = {"client_id": "acme", "secret_key": partner.secret}
    manager.create_secret(Name="prod/partner", SecretString=json.dumps(document))
    auth = session.auth = PartnerAuth("aws-secretsmanager://prod/partner", origins=partner.url)
    print("before:", session.get(f"{partner.url}/portfolio").status_code)

    document["secret_key"] = partner.rotate(overlap=True)
    manager.put_secret_value(SecretId="prod/partner", SecretString=json.dumps(document))
    event = {"source": "aws.secretsmanager", "detail": {"eventName": "RotationSucceeded"}}
    sqs.send_message(QueueUrl=queue, MessageBody=json.dumps(event))  # as EventBridge does

    follow(auth)
    partner.retire()
    print("after:", session.get(f"{partner.url}/portfolio").status_code)
    print("refused in all:", sum(request.status == 401 for request in partner.requests))
aws.stop()
