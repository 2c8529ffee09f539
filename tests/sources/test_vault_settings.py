"""How a Vault source is named and made, what it shows, and what it never does."""

import copy
import gc
import io
import logging
import pickle
import subprocess
import sys
import threading
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import hvac
import pytest
import requests

from partner_auth.exceptions import ConfigurationError, SourceRejected, SourceUnavailable
from partner_auth.sources import CredentialSource, VaultSource, source_from_url
from partner_auth.sources._vault_settings import read_settings
from tests.sources import bao_fixtures
from tests.sources.bao_fixtures import K0, K1, ROOT, document, vault
from tests.sources.lying_server import LyingServer, Reply

bao, bao_server, home = bao_fixtures.bao, bao_fixtures.bao_server, bao_fixtures.home
clock, liar = bao_fixtures.clock, bao_fixtures.liar
liar_before_bao = bao_fixtures.liar_before_bao


# Making one


def test_a_url_and_the_class_say_the_same():
    """Each parameter is a keyword of the same name."""
    url = (
        "vault://kv/team%20a/app?auth=kubernetes&role=r&jwt_file=/j&auth_mount=k8s/eu"
        "&namespace=n&address=https://vault.test:8200/&client_id=acme&secret_key_field=a.b"
        "&secret_key_encoding=hex&timeout=3.5"
    )
    source = VaultSource(
        "kv",
        "team a/app",
        auth="kubernetes",
        role="r",
        jwt_file="/j",
        auth_mount="k8s/eu",
        namespace="n",
        address="https://vault.test:8200",
        client_id="acme",
        secret_key_field="a.b",
        secret_key_encoding="hex",
        timeout=3.5,
    )
    assert repr(source_from_url(url)) == repr(source)
    assert vars(source_from_url(url))["_timeout"] == 3.5


def test_its_repr_is_how_to_make_it():
    """Class, place, and the settings that were given."""
    source = source_from_url("vault://secret/a/b?auth=approle&secret_id_wrapped=true")
    assert repr(source) == "VaultSource('secret', 'a/b', auth='approle', secret_id_wrapped=True)"
    assert repr(vault("app")) == "VaultSource('secret', 'app')"


def test_it_is_a_source():
    """The protocol is met."""
    assert isinstance(vault("app"), CredentialSource)


WRONG = {
    "no path": ("vault://secret", "vault://MOUNT/PATH"),
    "an empty path": ("vault://secret/", "segment"),
    "an empty mount": ("vault:///app", "segment"),
    "an empty segment": ("vault://secret/a//b", "segment"),
    "a dot": ("vault://secret/a/./b", "segment"),
    "two dots": ("vault://secret/../b", "segment"),
    "two dots in escapes": ("vault://secret/%2e%2E/b", "segment"),
    "a slash at the end": ("vault://secret/a/", "segment"),
    "a slash in an escape": ("vault://secret/a%2Fb", "%2F"),
    "no UTF-8": ("vault://secret/a%FFb", "UTF-8"),
    "an unknown parameter": ("vault://secret/a?rolle=r", "no parameter 'rolle'"),
    "a parameter for code alone": ("vault://secret/a?client=x", "no parameter 'client'"),
    "the clock": ("vault://secret/a?clock=x", "no parameter 'clock'"),
    "an unknown method": ("vault://secret/a?auth=ldap", "token, approle, kubernetes, jwt"),
    "another method's setting": ("vault://secret/a?role=r", "auth=kubernetes or jwt, not token"),
    "a token file for a role": (
        "vault://secret/a?auth=approle&token_file=/t",
        "token_file= is for auth=token",
    ),
    "no role": ("vault://secret/a?auth=kubernetes", "auth=kubernetes needs role="),
    "no JWT": ("vault://secret/a?auth=jwt&role=r", "auth=jwt needs jwt_file="),
    "no user": ("vault://secret/a?auth=userpass", "auth=userpass needs username="),
    "a dotted user": ("vault://secret/a?auth=userpass&username=../x", "segment"),
    "a dotted login": ("vault://secret/a?auth=approle&auth_mount=../x", "segment"),
    "no switch": ("vault://secret/a?auth=approle&secret_id_wrapped=s.x", "'true' or 'false'"),
    "no address": ("vault://secret/a?address=vault.test", "address="),
    "a socket": ("vault://secret/a?address=unix:///run/vault", "address="),
    "no time": ("vault://secret/a?timeout=soon", "timeout"),
    "no time at all": ("vault://secret/a?timeout=0", "timeout"),
    "a namespace that no header carries": ("vault://secret/a?namespace=%C3%A4", "namespace="),
}


@pytest.mark.parametrize("url, words", WRONG.values(), ids=WRONG)
def test_what_can_be_checked_is_checked_at_once(refusal, url, words):
    """Nothing is contacted for it."""
    assert words in str(refusal(ConfigurationError, lambda: source_from_url(url)))


def test_arguments_are_checked_as_urls_are(refusal):
    """urllib3 would read `admin` for `tenants/../admin`."""
    for mount, path in (
        ("secret", "tenants/../admin"),
        ("..", "a"),
        ("secret", "a\n"),
        ("", "a"),
        ("secret", None),
        ("secret", b"a"),
    ):
        refusal(ConfigurationError, lambda mount=mount, path=path: VaultSource(mount, path))
    refusal(ConfigurationError, lambda: vault("a", auth=None))
    refusal(ConfigurationError, lambda: vault("a", auth="kubernetes", role=3))
    refusal(ConfigurationError, lambda: vault("a", address=3))
    refusal(ConfigurationError, lambda: vault("a", namespace=3))
    refusal(ConfigurationError, lambda: vault("a", clock="noon"))
    refusal(ConfigurationError, lambda: vault("a", client_id=""))


def test_a_password_in_an_address_is_refused_and_not_shown(home, monkeypatch, refusal):
    """Neither the argument nor the variable."""
    address = "https://admin:hunter2@vault.test"
    refusal(ConfigurationError, lambda: vault("a", address=address), "hunter2")
    monkeypatch.setenv("VAULT_ADDR", address)
    error = refusal(ConfigurationError, vault("a").fetch, "hunter2")
    assert "VAULT_ADDR" in str(error)


VARIABLES = {
    "VAULT_ADDR": "vault.test",
    "BAO_ADDR": "https://vault.test?x=y",
    "VAULT_SKIP_VERIFY": "maybe",
    "VAULT_CLIENT_TIMEOUT": "soon",
    "VAULT_CLIENT_KEY": "/k",
    "VAULT_NAMESPACE": "a\tb",
}


@pytest.mark.parametrize("name, value", VARIABLES.items(), ids=VARIABLES)
def test_a_variable_that_is_wrong_is_named(liar, monkeypatch, refusal, name, value):
    """At the read, since it is read then."""
    monkeypatch.setenv(name, value)
    source = vault("a")
    assert name in str(refusal(ConfigurationError, source.fetch, value if "=" in value else "\0"))
    assert liar.requests == []


@pytest.mark.parametrize(
    "text, seconds",
    [("30", 30), ("1.5s", 1.5), ("500ms", 0.5), ("1m30s", 90), ("2h", 7200), ("0", None)],
)
def test_times_are_read_as_the_commands_do(monkeypatch, text, seconds):
    """Go's form of a time, or whole seconds; 0 is no limit."""
    monkeypatch.setenv("VAULT_CLIENT_TIMEOUT", text)
    assert read_settings(None, None).read_timeout == seconds


def test_the_other_variables_likewise(monkeypatch):
    """`BAO_X` before `VAULT_X` holds for each of them."""
    for name in ("NAMESPACE", "TLS_SERVER_NAME"):
        monkeypatch.setenv(f"VAULT_{name}", "vault")
        monkeypatch.setenv(f"BAO_{name}", "bao")
    settings = read_settings(None, None)
    assert (settings.namespace, settings.server_name) == ("bao", "bao")


def test_bao_comes_before_vault(bao, monkeypatch):
    """As the `bao` command has it; an empty variable counts as unset."""
    path = bao.fresh("app")
    bao.put(path, document(K0))
    monkeypatch.setenv("VAULT_ADDR", "http://127.0.0.1:9")
    monkeypatch.setenv("BAO_ADDR", bao.url)
    monkeypatch.setenv("BAO_TOKEN", "")
    assert vault(path).fetch().secret_key.reveal() == K0


def test_an_address_may_be_an_argument(bao, monkeypatch):
    """It wins over the variables; a path before `/v1` is kept."""
    path = bao.fresh("app")
    bao.put(path, document(K0))
    monkeypatch.setenv("BAO_ADDR", "http://127.0.0.1:9")
    assert vault(path, address=bao.url + "/").fetch().secret_key.reveal() == K0
    with LyingServer() as server:
        with pytest.raises(SourceUnavailable):
            vault(path, address=f"{server.url}/behind/a/path").fetch()
        assert server.requests[0].path.startswith("/behind/a/path/v1/sys/")


def test_without_an_address_the_commands_default_is_used(home, refusal):
    """`https://127.0.0.1:8200`; the message says that the variable is not set."""
    error = refusal(SourceUnavailable, vault("a", timeout=0.5).fetch)
    assert "https://127.0.0.1:8200 (VAULT_ADDR is not set)" in str(error)


def test_the_default_address_wants_no_client(monkeypatch, refusal):
    """Without hvac the remedy is in the message, before anything is read."""
    monkeypatch.delitem(sys.modules, "hvac")
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    error = refusal(ConfigurationError, lambda: vault("a"))
    assert "pip install 'partner-auth[vault]'" in str(error)


def test_making_one_imports_neither_hvac_nor_requests():
    """They come with the first read."""
    program = (
        "import sys; from partner_auth.sources import source_from_url;"
        "source_from_url('vault://secret/a');"
        "sys.exit(any(m in sys.modules for m in ('hvac', 'requests', 'urllib3', 'boto3')))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_five_thousand_are_small(bao, clock):
    """No client, session, lock or login of their own."""
    path = bao.fresh("app")
    bao.put(path, document(K0))
    vault(path, clock=clock).fetch()
    gc.collect()
    tracemalloc.start()
    sources = [vault(path, clock=clock) for _ in range(5000)]
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size / len(sources) < 1500
    for source in sources[:50]:
        source.fetch()
    assert len({id(vars(source)["_link"]) for source in sources[:50]}) == 1


# Pickles and copies


def test_a_pickle_carries_the_settings_alone(bao):
    """No token, client or lock; the copy reads by itself."""
    path = bao.fresh("app")
    bao.put(path, document(K0))
    source = vault(path)
    source.fetch()
    data = pickle.dumps(source)
    assert ROOT.encode() not in data
    assert K0.encode() not in data
    again = pickle.loads(data)
    assert again.fetch().secret_key.reveal() == K0
    assert repr(again) == repr(source)
    assert copy.deepcopy(source).fetch().client_id == "acme"


def test_one_with_a_client_of_your_own_is_not_pickled(bao):
    """A client of hvac pickles with its token in it."""
    source = vault("a", client=hvac.Client(bao.url, ROOT))
    with pytest.raises(TypeError, match="its client holds a token"):
        pickle.dumps(source)


# A client of your own


def test_a_client_of_your_own_is_used_as_it_is(bao, monkeypatch):
    """Its address and token; the environment's are not looked at."""
    path = bao.fresh("app")
    bao.put(path, document(K0))
    bao.put(path, document(K1))
    monkeypatch.setenv("VAULT_ADDR", "http://127.0.0.1:9")
    monkeypatch.setenv("VAULT_TOKEN", "s.garbage")
    client = hvac.Client(bao.url, bao.reader(path))
    source = vault(path, client=client)
    assert source.fetch().secret_key.reveal() == K1
    assert [one.secret_key.reveal() for one in source.alternates()] == [K0]
    assert "client=…" in repr(source)


@pytest.mark.parametrize("timeout, limits", [(8, (2.0, 3.0)), (1, (1, 1))])
def test_a_try_may_take_a_part_of_the_time(bao, timeout, limits):
    """2 s to connect and 3 s for an answer, so that a second one can follow; no more than is left."""
    seen = []

    class Seen(requests.Session):
        def send(self, request, **settings):
            seen.append(settings["timeout"])
            return super().send(request, **settings)

    path = bao.fresh("app")
    bao.put(path, document(K0))
    vault(path, client=hvac.Client(bao.url, ROOT, session=Seen()), timeout=timeout).fetch()
    assert seen[0] == pytest.approx(limits, abs=0.5)


def test_a_client_of_your_own_keeps_its_namespace(bao):
    """Unless the source names one."""
    space = bao.fresh("team")
    bao.api("POST", f"sys/namespaces/{space}")
    bao.mount("kv", 2, namespace=space)
    bao.put("app", document(K0), "kv", namespace=space)
    inside = hvac.Client(bao.url, ROOT, namespace=space)
    assert vault("kv", "app", client=inside).fetch().secret_key.reveal() == K0
    outside = hvac.Client(bao.url, ROOT)
    assert vault("kv", "app", client=outside, namespace=space).fetch().client_id == "acme"


def test_a_client_of_your_own_that_logs_in_again_is_followed(bao, refusal):
    """Its token is taken at each read; we never log it in."""
    path = bao.fresh("app")
    bao.put(path, document(K0))
    client = hvac.Client(bao.url, "s.garbage")
    source = vault(path, client=client)
    error = refusal(SourceUnavailable, source.fetch, "s.garbage")
    assert error.reason == "identity"
    assert "the token from the client" in str(error)
    client.token = bao.reader(path)
    assert source.fetch().secret_key.reveal() == K0


def test_a_client_of_your_own_follows_no_redirect_for_us(bao):
    """Its own setting stays as it is."""
    with LyingServer() as server, LyingServer() as other:
        server.say(Reply(307, "", {"Location": other.url}))
        client = hvac.Client(server.url, ROOT)
        with pytest.raises(SourceUnavailable, match="redirects"):
            vault("a", client=client).fetch()
        assert other.requests == []
        assert client.allow_redirects is True


@pytest.mark.parametrize(
    "settings",
    [{"auth": "approle"}, {"token_file": "/t"}, {"address": "https://vault.test"}],
    ids=["auth", "token_file", "address"],
)
def test_a_client_of_your_own_brings_its_own_settings(refusal, settings):
    """What would contradict it is refused."""
    client = hvac.Client("http://127.0.0.1:9", "t")
    refusal(ConfigurationError, lambda: vault("a", client=client, **settings))
    refusal(ConfigurationError, lambda: vault("a", client=object()))


# What is never shown


@pytest.fixture
def everything_logged():
    """All that any logger says at DEBUG."""
    text = io.StringIO()
    handler = logging.StreamHandler(text)
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield text
    root.removeHandler(handler)
    root.setLevel(level)


def test_no_log_has_a_secret_in_it(bao, monkeypatch, clock, everything_logged):
    """urllib3 logs the path at DEBUG and nothing else; login, renewal and alternates included."""
    path = bao.fresh("app")
    bao.put(path, document(K0))
    bao.put(path, document(K1))
    mount, password = bao.enable("userpass"), "correct horse battery staple"
    settings = {"password": password, "token_policies": bao.policy(f"secret/data/{path}")}
    bao.api("POST", f"auth/{mount}/users/app", settings | {"token_ttl": 60})
    monkeypatch.setenv("VAULT_PASSWORD", password)
    source = vault(path, auth="userpass", username="app", auth_mount=mount, clock=clock)
    source.fetch()
    source.alternates()
    clock.advance(31)
    source.fetch()
    token = vars(source)["_link"].lease(time.monotonic() + 5).token.reveal()
    logged = everything_logged.getvalue()
    assert "/v1/secret/data/" in logged
    for secret in (K0, K1, ROOT, password, token):
        assert secret not in logged


def test_no_error_has_a_secret_in_it(bao, monkeypatch, clock, refusal):
    """Neither text, context nor a local of our frames: `refusal` looks at all of them."""
    path = bao.fresh("app")
    mount = bao.enable("userpass")
    monkeypatch.setenv("VAULT_PASSWORD", "hunter2-hunter2")
    source = vault(path, auth="userpass", username="app", auth_mount=mount, clock=clock)
    refusal(SourceUnavailable, source.fetch, "hunter2-hunter2")
    refusal(SourceRejected, vault(path).fetch, ROOT)


def test_threads_share_one_source(bao, liar_before_bao, caplog):
    """Many reads at once, each right; no connection is thrown away, which urllib3 would tell."""
    path = bao.fresh("app")
    for key in (K0, K1):
        bao.put(path, document(key))
    source, together = vault(path), threading.Barrier(16)
    source.fetch()
    working = liar_before_bao.answer

    def answer(request):
        together.wait(5)
        return working(request)

    liar_before_bao.answer = answer
    with ThreadPoolExecutor(16) as pool:
        reads = [pool.submit(source.fetch) for _ in range(16)]
        found = [read.result().secret_key.reveal() for read in reads]
    assert found == [K1] * 16
    assert not [record for record in caplog.records if record.levelno > logging.DEBUG]


def test_connections_are_used_again(bao, liar_before_bao):
    """Ten reads, one connection."""
    path = bao.fresh("app")
    bao.put(path, document(K0))
    source = vault(path)
    for _ in range(10):
        source.fetch()
    assert liar_before_bao.connections == 1


def test_a_read_after_a_rotation_never_goes_back(bao):
    """Every read is of the server's current version: nothing is kept here."""
    path = bao.fresh("app")
    source = vault(path)
    versions = []
    for key in (K0, K1, K0):
        bao.put(path, document(key))
        versions.append(int(source.fetch().version))
    assert all(earlier < later for earlier, later in pairwise(versions))
