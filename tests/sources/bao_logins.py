"""Login methods mounted on a real OpenBao, each with what it needs to let one application in."""

import contextlib
import time

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from partner_auth.exceptions import SourceUnavailable
from tests.sources.bao_fixtures import K0, document, vault
from tests.sources.lying_server import Reply

PASSWORD = "correct horse battery staple"


@pytest.fixture
def app(bao, monkeypatch):
    """A secret, and a policy that may read it; the token of the environment is gone."""
    monkeypatch.delenv("VAULT_TOKEN")
    path = bao.fresh("app")
    bao.put(path, document(K0))
    return path, bao.policy(f"secret/data/{path}")


class Users:
    """A mounted `userpass` with one user."""

    def __init__(self, bao, policy, **settings):
        self.bao, self.mount = bao, bao.enable("userpass")
        self.user = f"auth/{self.mount}/users/app"
        bao.api("POST", self.user, {"password": PASSWORD, "token_policies": policy} | settings)

    def source(self, path, **settings):
        return vault(path, auth="userpass", username="app", auth_mount=self.mount, **settings)


class Roles:
    """A mounted `approle` with one role."""

    def __init__(self, bao, monkeypatch, policy, **settings):
        self.bao, self.mount, self.monkeypatch = bao, bao.enable("approle"), monkeypatch
        self.role = f"auth/{self.mount}/role/app"
        bao.api("POST", self.role, {"token_policies": policy} | settings)
        role_id = bao.api("GET", f"{self.role}/role-id")["data"]["role_id"]
        monkeypatch.setenv("VAULT_ROLE_ID", role_id)

    def give_secret_id(self):
        secret_id = self.bao.api("POST", f"{self.role}/secret-id", {})["data"]["secret_id"]
        self.monkeypatch.setenv("VAULT_SECRET_ID", secret_id)
        return secret_id

    def give_wrapped(self):
        answer = self.bao.api("POST", f"{self.role}/secret-id", {}, wrap="60s")
        token = answer["wrap_info"]["token"]
        self.monkeypatch.setenv("VAULT_SECRET_ID", token)
        return token

    def source(self, path, **settings):
        return vault(path, auth="approle", auth_mount=self.mount, **settings)


class Issuer:
    """A mounted `jwt` that trusts a key of ours."""

    def __init__(self, bao, policy, folder):
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.mount, self.file = bao.enable("jwt"), folder / "jwt"
        public = self.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        keys = {"jwt_validation_pubkeys": [public.decode()]}
        bao.api("POST", f"auth/{self.mount}/config", keys)
        role = {"role_type": "jwt", "bound_audiences": ["bao"], "user_claim": "sub"}
        life = {"token_policies": policy, "token_ttl": 60, "token_max_ttl": 60}
        bao.api("POST", f"auth/{self.mount}/role/app", role | life)

    def write(self, *, life=600, audience="bao"):
        now = int(time.time())
        claims = {"sub": "app", "aud": audience, "iat": now, "exp": now + life}
        self.file.write_text(jwt.encode(claims, self.key, "ES256"))
        return self.file.read_text()

    def source(self, path, **settings):
        return vault(
            path, auth="jwt", role="app", jwt_file=str(self.file), auth_mount=self.mount, **settings
        )


class Pods:
    """A mounted `kubernetes`, a stand-in for Kubernetes' own API, and a pod's token."""

    NAME = "system:serviceaccount:shop:app"

    def __init__(self, bao, api, policy, authority):
        self.api, self.mount = api, bao.enable("kubernetes")
        self.confirm()
        now = int(time.time())
        pod = {"namespace": "shop", "serviceaccount": {"name": "app", "uid": "1234"}}
        claims = {"sub": self.NAME, "kubernetes.io": pod, "iat": now, "exp": now + 600}
        self.file = authority.folder / "token"
        self.file.write_text(jwt.encode(claims, ec.generate_private_key(ec.SECP256R1()), "ES256"))
        config = {"kubernetes_host": api.url, "kubernetes_ca_cert": authority.pem.decode()}
        config |= {"token_reviewer_jwt": "reviewer", "disable_local_ca_jwt": True}
        bao.api("POST", f"auth/{self.mount}/config", config)
        for role, account in (("app", "app"), ("other", "other")):
            bound = {"bound_service_account_names": account, "token_policies": policy}
            bound |= {"bound_service_account_namespaces": "shop"}
            bao.api("POST", f"auth/{self.mount}/role/{role}", bound)

    def confirm(self, **status):
        user = {"username": self.NAME, "uid": "1234", "groups": ["system:serviceaccounts"]}
        review = {"kind": "TokenReview", "apiVersion": "authentication.k8s.io/v1"}
        review |= {"status": {"authenticated": True, "user": user} | status}
        self.api.say(Reply(201, review, {"Content-Type": "application/json"}))

    def source(self, path, **settings):
        ours = {"auth": "kubernetes", "auth_mount": self.mount, "jwt_file": str(self.file)}
        return vault(path, **ours | settings)


def paths_of(server):
    """Return what was asked, in order."""
    return [request.path.removeprefix("/v1/") for request in server.requests]


def logins_in(server):
    """Return the logins among what was asked."""
    return [path for path in paths_of(server) if "/login" in path]


def fetched_or_none(source):
    """Read; a failure is none of the test's business."""
    with contextlib.suppress(SourceUnavailable):
        return source.fetch()
    return None
