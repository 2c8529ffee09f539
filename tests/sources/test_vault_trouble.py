"""A Vault server that hangs, lies, limits or sends elsewhere, and the way to it."""

import contextlib
import socket
import ssl
import threading
import time
from dataclasses import replace

import pytest

from partner_auth.exceptions import (
    ConfigurationError,
    PartnerAuthWarning,
    SourceRejected,
    SourceUnavailable,
)
from tests.concurrency.kit import eventually
from tests.sources import bao_fixtures
from tests.sources.bao_fixtures import K0, K1, ROOT, document, running, vault
from tests.sources.lying_server import DROP, HANG, LyingServer, Reply, black_hole

bao, bao_server, home = bao_fixtures.bao, bao_fixtures.bao_server, bao_fixtures.home
authority, clock, liar = bao_fixtures.authority, bao_fixtures.clock, bao_fixtures.liar
liar_before_bao = bao_fixtures.liar_before_bao

TOKEN = "s.token-of-the-liar"
MOUNT = Reply(200, {"data": {"path": "secret/", "options": {"version": "2"}}})
VAULTS = {"Content-Type": "application/json; charset=utf-8"}


def errors(status, *said):
    """Answer as Vault does when it gives nothing."""
    return Reply(status, {"errors": list(said)}, VAULTS)


# What the server itself says


def test_a_sealed_server(bao, refusal):
    """`sealed`, and well again when it is unsealed."""
    path = bao.fresh("app")
    bao.put(path, document(K0))
    source = vault(path)
    source.fetch()
    with bao.sealed():
        error = refusal(SourceUnavailable, source.fetch, ROOT)
        assert error.reason == "sealed"
    assert source.fetch().secret_key.reveal() == K0


def test_a_rate_limit(bao, refusal):
    """A quota's 429 is `throttled`: not a refusal, and not tried at once again."""
    path = bao.fresh("app")
    bao.put(path, document(K0))
    source = vault(path)
    source.fetch()
    limit = {"rate": 0.001, "path": f"secret/data/{path}", "interval": "60s"}
    bao.api("POST", "sys/quotas/rate-limit/test", limit)
    with contextlib.suppress(SourceUnavailable):
        source.fetch()
    error = refusal(SourceUnavailable, source.fetch)
    assert error.reason == "throttled"
    bao.api("DELETE", "sys/quotas/rate-limit/test")
    assert source.fetch().secret_key.reveal() == K0


def test_a_server_that_hangs(bao, refusal):
    """It accepts connections and says nothing: the read ends at `timeout`."""
    path = bao.fresh("app")
    bao.put(path, document(K0))
    source = vault(path, timeout=0.5)
    source.fetch()
    with bao.stopped():
        began = time.monotonic()
        error = refusal(SourceUnavailable, source.fetch, ROOT)
        assert time.monotonic() - began < 2
    assert error.reason == "timeout"
    assert source.fetch().secret_key.reveal() == K0


ANSWERS = {
    "a redirect": (Reply(307, "", {"Location": "https://leader.example:8200/v1/x"}), "unreachable"),
    "a permanent one": (Reply(308, "", {"Location": "http://leader.example/v1/x"}), "unreachable"),
    "a proxy's login page": (Reply(302, "", {"Location": "/login?next=x"}), "unreachable"),
    "HTML with 200": (Reply(200, "<html>hello</html>"), "malformed"),
    "HTML with 403": (Reply(403, "<html>forbidden</html>"), "malformed"),
    "HTML with 404": (Reply(404, "<html>not found</html>"), "malformed"),
    "JSON of another kind with 403": (Reply(403, {"message": "no"}), "malformed"),
    "nothing with 200": (Reply(200, ""), "malformed"),
    "204": (Reply(204), "malformed"),
    "null": (Reply(200, "null"), "malformed"),
    "no data": (Reply(200, {"data": None}), "malformed"),
    "data without metadata": (Reply(200, {"data": {"data": {"a": "b"}}}), "malformed"),
    "a list": (Reply(200, "[1, 2]"), "malformed"),
    "a nesting bomb": (Reply(200, "[" * 100_000), "malformed"),
    "a number of too many digits": (Reply(200, '{"data": ' + "9" * 5000 + "}"), "malformed"),
    "half an answer": (Reply(200, '{"data": {"da', claims=200), "unreachable"),
    "too long an answer": (
        Reply(200, {"data": {"data": {"x": "x" * 1_100_000}, "metadata": {"version": 1}}}),
        "malformed",
    ),
    "compression": (Reply(200, "x", {"Content-Encoding": "gzip"}), "malformed"),
    "a bad request": (errors(400, "what?"), "malformed"),
    "a method that is not allowed": (errors(405), "malformed"),
    "a request that was given up": (errors(499), "malformed"),
    "a proxy that wants a password": (Reply(407, "<html>"), "malformed"),
    "a node that is behind": (errors(412, "required index state not present"), "unreachable"),
    "a recovery standby": (errors(472), "unreachable"),
    "a performance standby": (errors(473), "unreachable"),
    "an error of the server's": (errors(500, "internal error"), "unreachable"),
    "a load balancer without servers": (
        Reply(503, "<html>no healthy upstream</html>"),
        "unreachable",
    ),
    "a server that is not initialized": (errors(501, "Vault is not initialized"), "sealed"),
    "a sealed one": (errors(503, "Vault is sealed"), "sealed"),
    "a dropped connection": (DROP, "unreachable"),
}


@pytest.mark.parametrize("reply, reason", ANSWERS.values(), ids=ANSWERS)
@pytest.mark.parametrize("mounted", [True, False])
def test_an_answer_that_says_nothing_of_the_secret(liar, refusal, reply, reason, mounted):
    """Not now, with a reason; never a revocation."""
    liar.answer = lambda request: MOUNT if mounted and "/sys/" in request.path else reply
    error = refusal(SourceUnavailable, vault("app").fetch, TOKEN)
    assert error.reason == reason


def test_a_redirect_is_not_followed(liar, refusal):
    """A standby points at its leader: our token goes to nobody, and the message names it."""
    with LyingServer() as other:
        liar.say(Reply(307, "", {"Location": f"{other.url}/v1/secret/data/app?x=y"}))
        error = refusal(SourceUnavailable, vault("app").fetch, TOKEN)
        assert other.requests == []
    assert f"redirects to {other.url} (307)" in str(error)
    assert "x=y" not in str(error)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_every_redirect_is_told(liar, refusal, status):
    """Whether it is for this time or for ever."""
    liar.say(Reply(status, "", {"Location": "https://leader.example/v1/x"}))
    error = refusal(SourceUnavailable, vault("app").fetch, TOKEN)
    assert f"redirects to https://leader.example ({status})" in str(error)


def test_an_answer_that_is_too_long_is_not_asked_for_again(liar, refusal):
    """It would be as long."""
    liar.say(Reply(200, {"data": "x" * 1_100_000}))
    refusal(SourceUnavailable, vault("app").fetch, TOKEN)
    assert len(liar.requests) == 1


def test_a_failure_is_not_asked_for_again(liar, refusal):
    """A server in trouble gets one request a read, unless it gave us the token just then."""
    liar.say(errors(503))
    refusal(SourceUnavailable, vault("app").fetch, TOKEN)
    assert len(liar.requests) == 1


DENIALS = {
    "a policy": (errors(403, "1 error occurred:\n\t* permission denied\n\n"), "denied"),
    "no such path": (errors(404), "not_found"),
    "no such path, at length": (Reply(404, {"request_id": "1", "data": None}, VAULTS), "not_found"),
}


@pytest.mark.parametrize("reply, reason", DENIALS.values(), ids=DENIALS)
def test_an_answer_that_is_a_refusal(liar, refusal, reply, reason):
    """Whatever `Content-Type` adds to `application/json`."""
    liar.answer = lambda request: MOUNT if "/sys/" in request.path else reply
    assert refusal(SourceRejected, vault("app").fetch, TOKEN).reason == reason


@pytest.mark.parametrize(
    "said",
    [
        ["permission denied"],
        ["permission denied", "invalid token"],
        ["2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n"],
    ],
)
def test_the_ways_to_say_that_a_token_is_dead(liar, refusal, said):
    """OpenBao's, and HashiCorp Vault's before and since 1.16."""
    liar.answer = lambda request: MOUNT if "/sys/" in request.path else errors(403, *said)
    assert refusal(SourceUnavailable, vault("app").fetch, TOKEN).reason == "identity"


def test_a_server_without_an_answer_to_where_a_path_is_mounted(liar):
    """A policy that denies `sys/`, or a very old server: the first segment, version 2."""
    data = {"data": {"data": document(K0), "metadata": {"version": 7}}}
    for reply in (errors(404), errors(403, "1 error occurred:\n\t* permission denied\n\n")):
        liar.answer = lambda request, reply=reply: (
            reply if "/sys/" in request.path else Reply(200, data)
        )
        assert vault("app").fetch().version == "7"


def test_a_server_that_says_another_mount_than_the_paths(liar, refusal):
    """It would make us read another path."""
    liar.say(Reply(200, {"data": {"path": "other/", "options": {"version": "2"}}}))
    error = refusal(SourceUnavailable, vault("app").fetch)
    assert error.reason == "malformed"


def test_an_alternate_that_can_not_be_read_ends_the_search(liar):
    """What was found so far is returned; an error means none."""
    current = {"data": document(K0, secret_key_next=K1), "metadata": {"version": 9}}
    liar.answer = lambda request: (
        MOUNT
        if "/sys/" in request.path
        else Reply(503)
        if "version=" in request.path
        else Reply(200, {"data": current})
    )
    assert [one.secret_key.reveal() for one in vault("app").alternates()] == [K1]
    queries = [request.path.partition("?")[2] for request in liar.requests]
    assert [query for query in queries if query] == ["version=8"]


def test_an_answer_of_the_servers_is_never_repeated(liar, refusal):
    """A server that was taken over puts our token into its error."""
    for status in (400, 403, 404, 500, 503):
        liar.say(errors(status, f"no {TOKEN} no {K0}", "namespace not authorized"))
        error = _failure(vault("app").fetch)
        assert TOKEN not in str(error)
        assert K0 not in str(error)


def _failure(call):
    with pytest.raises((SourceUnavailable, SourceRejected)) as caught:
        call()
    return caught.value


# Time


@pytest.mark.parametrize(
    "reply",
    [
        HANG,
        Reply(200, "x" * 1000, drip=0.05),
        Reply(200, "x", claims=10),
    ],
    ids=["silence", "a dripping body", "half a body"],
)
def test_a_slow_server_is_given_up_in_time(liar, refusal, reply):
    """One budget for all of a read's requests, whatever it hangs in."""
    liar.say(reply)
    began = time.monotonic()
    refusal(SourceUnavailable, vault("app", timeout=0.5).fetch, TOKEN)
    assert time.monotonic() - began < 2


def test_headers_that_drip_are_given_up_in_time(home, monkeypatch, refusal):
    """Each byte starts a socket's time-out anew."""
    with _dripping_headers() as (address, _):
        monkeypatch.setenv("VAULT_ADDR", address)
        began = time.monotonic()
        error = refusal(SourceUnavailable, vault("app", timeout=0.5).fetch)
        assert time.monotonic() - began < 2
    assert error.reason == "timeout"


def test_reads_that_were_given_up_do_not_pile_up(home, monkeypatch, refusal):
    """While four of them hang nothing more is begun; when they end all is well again."""
    with _dripping_headers() as (address, connections):
        monkeypatch.setenv("VAULT_ADDR", address)
        for _ in range(6):
            error = refusal(SourceUnavailable, vault("app", timeout=0.3).fetch)
            assert error.reason == "timeout"
        eventually(lambda: len(connections) == 4)


@contextlib.contextmanager
def _dripping_headers():
    over, connections, threads = threading.Event(), [], []

    def drip(connection):
        with connection, contextlib.suppress(OSError):
            connection.sendall(b"HTTP/1.1 200 OK\r\nX-Slow: ")
            while not over.wait(0.05):
                connection.sendall(b"x")

    def serve():
        with contextlib.suppress(OSError):
            while True:
                connections.append(listening.accept()[0])
                threads.append(threading.Thread(target=drip, args=(connections[-1],)))
                threads[-1].start()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        serving = threading.Thread(target=serve)
        serving.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}", connections
        finally:
            over.set()
            listening.shutdown(socket.SHUT_RDWR)
            serving.join()
            for thread in threads:
                thread.join()


def test_a_black_hole_is_given_up_in_time(home, monkeypatch, refusal):
    """No connection is ever made."""
    with black_hole() as address:
        monkeypatch.setenv("VAULT_ADDR", address)
        began = time.monotonic()
        error = refusal(SourceUnavailable, vault("app", timeout=0.5).fetch)
        assert time.monotonic() - began < 2
    assert error.reason == "timeout"


def test_the_budget_is_one_for_all_requests(liar_before_bao, bao, refusal):
    """Where it is mounted, and the secret: two answers of 0.3 s are too many for 0.5 s."""
    path = bao.fresh("app")
    bao.put(path, document(K0))
    working = liar_before_bao.answer

    def slowly(request):
        time.sleep(0.3)
        return working(request)

    liar_before_bao.answer = slowly
    assert vault(path).fetch().secret_key.reveal() == K0
    began = time.monotonic()
    assert refusal(SourceUnavailable, vault(path, timeout=0.5).fetch).reason == "timeout"
    assert time.monotonic() - began < 2


def test_the_commands_own_time_out_is_taken(liar, monkeypatch, refusal):
    """`VAULT_CLIENT_TIMEOUT` bounds each try of a request."""
    monkeypatch.setenv("VAULT_CLIENT_TIMEOUT", "200ms")
    liar.say(HANG)
    began = time.monotonic()
    refusal(SourceUnavailable, vault("app").fetch)
    assert 0.3 < time.monotonic() - began < 2.5


def test_nothing_listens(home, monkeypatch, refusal):
    """Refused at once; the message says the address."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
    monkeypatch.setenv("VAULT_ADDR", address)
    error = refusal(SourceUnavailable, vault("app").fetch)
    assert error.reason == "unreachable"
    assert address in str(error)


def test_a_read_is_tried_twice(liar_before_bao, bao):
    """A connection that the server closed meanwhile, or one lost answer, is no failure."""
    path = bao.fresh("app")
    bao.put(path, document(K0))
    liar_before_bao.say_in_turn(DROP, liar_before_bao.answer)
    assert vault(path).fetch().secret_key.reveal() == K0


def test_how_long_a_token_lives_may_stay_unknown(liar_before_bao, bao):
    """That question never holds up a read whose answer is there by more than a second."""
    path = bao.fresh("app")
    bao.put(path, document(K0))
    working = liar_before_bao.answer
    liar_before_bao.answer = lambda request: (
        HANG if "lookup-self" in request.path else working(request)
    )
    began = time.monotonic()
    assert vault(path).fetch().secret_key.reveal() == K0
    assert time.monotonic() - began < 1.9


# The way to the server


def test_a_proxy_gets_nothing_for_a_server_on_this_machine(bao, monkeypatch, home):
    """`HTTP_PROXY` without `NO_PROXY`: the token would cross it in clear."""
    path = bao.fresh("app")
    bao.put(path, document(K0))
    with LyingServer() as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setenv("ALL_PROXY", proxy.url)
        monkeypatch.setenv("BAO_ADDR", bao.url.replace("127.0.0.1", "localhost"))
        assert vault(path).fetch().secret_key.reveal() == K0
        assert proxy.requests == []


def test_a_proxy_is_used_for_a_server_elsewhere(bao, monkeypatch, home):
    """As the commands do."""
    path = bao.fresh("app")
    bao.put(path, document(K0))
    with LyingServer() as proxy:
        proxy.pass_on_to(bao.url)
        working = proxy.answer
        proxy.answer = lambda request: working(_without_host(request))
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setenv("VAULT_ADDR", "http://vault.test:8200")
        with pytest.warns(PartnerAuthWarning, match=r"http://vault\.test:8200 over plain http"):
            assert vault(path).fetch().secret_key.reveal() == K0
        assert vault(path).fetch().secret_key.reveal() == K0
    assert proxy.requests[0].path.startswith("http://vault.test:8200/v1/")


def _without_host(request):
    return replace(request, path="/v1/" + request.path.partition("/v1/")[2])


def test_a_netrc_entry_is_not_sent(bao, home, liar_before_bao):
    """It is somebody else's password."""
    (home / ".netrc").write_text("default login somebody password elses\n")
    path = bao.fresh("app")
    bao.put(path, document(K0))
    vault(path).fetch()
    assert "authorization" not in liar_before_bao.requests[0].headers


@pytest.fixture(scope="module")
def tls(tmp_path_factory):
    """A dev server that speaks TLS, with a CA of its own."""
    folder = tmp_path_factory.mktemp("tls")
    certs = folder / "certs"
    certs.mkdir()
    options = ["-dev-tls", f"-dev-tls-cert-dir={certs}"]
    with running(folder, *options, scheme="https") as server:
        server.certs = certs
        server.context = ssl.create_default_context(cafile=str(certs / "vault-ca.pem"))
        yield server


@pytest.fixture
def app_over_tls(tls, home, monkeypatch):
    """A secret in it; the folder with its certificates."""
    monkeypatch.setenv("VAULT_ADDR", tls.url)
    monkeypatch.setenv("VAULT_TOKEN", ROOT)
    tls.put("app", document(K0))
    return tls.certs


def test_a_ca_of_ones_own(app_over_tls, monkeypatch, refusal):
    """`VAULT_CACERT`, set after hvac was imported; without it there is no connection."""
    error = refusal(SourceUnavailable, vault("app").fetch, ROOT)
    assert error.reason == "unreachable"
    assert "VAULT_CACERT" in str(error)
    monkeypatch.setenv("VAULT_CACERT", str(app_over_tls / "vault-ca.pem"))
    assert vault("app").fetch().secret_key.reveal() == K0
    monkeypatch.delenv("VAULT_CACERT")
    refusal(SourceUnavailable, vault("app").fetch)


def test_a_folder_of_cas(app_over_tls, monkeypatch):
    """`VAULT_CAPATH` with plain PEM files, as the commands read it, beside other files."""
    monkeypatch.setenv("BAO_CAPATH", str(app_over_tls))
    assert vault("app").fetch().secret_key.reveal() == K0


def test_the_ca_bundle_of_requests_is_taken(app_over_tls, monkeypatch):
    """And hvac goes by it, so people have set it."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(app_over_tls / "vault-ca.pem"))
    assert vault("app").fetch().secret_key.reveal() == K0


@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")  # urllib3's own, each time
def test_skipping_the_verification_warns(app_over_tls, monkeypatch):
    """Once, and names the address."""
    monkeypatch.setenv("VAULT_SKIP_VERIFY", "true")
    with pytest.warns(PartnerAuthWarning, match="who answers for https://127.0.0.1"):
        assert vault("app").fetch().secret_key.reveal() == K0
    assert vault("app").fetch().secret_key.reveal() == K0


def test_plain_http_at_a_tls_port(app_over_tls, tls, monkeypatch, refusal):
    """A forgotten `s`."""
    monkeypatch.setenv("VAULT_ADDR", tls.url.replace("https", "http"))
    error = refusal(SourceUnavailable, vault("app").fetch, ROOT)
    assert error.reason == "malformed"


@pytest.fixture
def choosy(authority, home, monkeypatch):
    """A server that has another name and wants a client certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.issue("vault.internal"))
    context.load_verify_locations(authority.file)
    context.verify_mode = ssl.CERT_REQUIRED
    with LyingServer() as server:
        server._server.socket = context.wrap_socket(server._server.socket, server_side=True)
        data = {"data": {"data": document(K0), "metadata": {"version": 1}}}
        server.answer = lambda request: MOUNT if "/sys/" in request.path else Reply(200, data)
        monkeypatch.setenv("VAULT_ADDR", server.url.replace("http:", "https:"))
        monkeypatch.setenv("VAULT_TOKEN", TOKEN)
        monkeypatch.setenv("VAULT_CACERT", str(authority.file))
        yield authority


def test_a_client_certificate_and_another_name(choosy, monkeypatch, refusal):
    """`VAULT_CLIENT_CERT`, `VAULT_CLIENT_KEY` and `VAULT_TLS_SERVER_NAME`."""
    certificate, key = choosy.issue("app")
    monkeypatch.setenv("VAULT_CLIENT_CERT", str(certificate))
    monkeypatch.setenv("VAULT_CLIENT_KEY", str(key))
    assert refusal(SourceUnavailable, vault("app").fetch, TOKEN).reason == "unreachable"
    monkeypatch.setenv("VAULT_TLS_SERVER_NAME", "vault.internal")
    assert vault("app").fetch().secret_key.reveal() == K0
    monkeypatch.setenv("VAULT_TLS_SERVER_NAME", "vault.external")
    refusal(SourceUnavailable, vault("app").fetch, TOKEN)
    monkeypatch.setenv("VAULT_TLS_SERVER_NAME", "vault.internal")
    monkeypatch.delenv("VAULT_CLIENT_KEY")
    monkeypatch.delenv("VAULT_CLIENT_CERT")
    refusal(SourceUnavailable, vault("app").fetch, TOKEN)


def test_a_certificate_and_key_in_one_file(choosy, monkeypatch, tmp_path):
    """`VAULT_CLIENT_CERT` alone is enough then."""
    certificate, key = choosy.issue("app")
    both = tmp_path / "both.pem"
    both.write_bytes(certificate.read_bytes() + key.read_bytes())
    monkeypatch.setenv("VAULT_CLIENT_CERT", str(both))
    monkeypatch.setenv("VAULT_TLS_SERVER_NAME", "vault.internal")
    assert vault("app").fetch().secret_key.reveal() == K0


@pytest.mark.parametrize("name", ["VAULT_CACERT", "VAULT_CAPATH", "VAULT_CLIENT_CERT"])
def test_a_file_that_is_not_there_is_named(liar, monkeypatch, refusal, name):
    """With the variable that wants it."""
    monkeypatch.setenv(name, "/no/such/file")
    error = refusal(ConfigurationError, vault("app").fetch)
    assert f"{name} names '/no/such/file'" in str(error)


def test_a_ca_file_that_is_none(app_over_tls, monkeypatch, tmp_path, refusal):
    """It can't be told from a server that is not trusted, but is no crash."""
    (tmp_path / "ca.pem").write_text("no PEM")
    monkeypatch.setenv("VAULT_CACERT", str(tmp_path / "ca.pem"))
    error = refusal(SourceUnavailable, vault("app").fetch)
    assert "VAULT_CACERT" in str(error)


def test_a_token_that_no_header_can_carry(liar, monkeypatch, refusal):
    """It is not sent, nor shown."""
    monkeypatch.setenv("VAULT_TOKEN", "s.half\r\nX-Other: half")
    error = refusal(SourceUnavailable, vault("app").fetch, "s.half")
    assert error.reason == "identity"
    monkeypatch.setenv("VAULT_TOKEN", "s.€uro")
    refusal(SourceUnavailable, vault("app").fetch, "€uro")
    assert liar.requests == []
