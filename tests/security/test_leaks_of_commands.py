"""What the commands write can go into a ticket, whatever the store holds."""

import pytest

from partner_auth.cli import main
from partner_auth.testing import PartnerServer
from tests.security.searching import printed
from tests.security.stores import DOCUMENTS


@pytest.fixture
def run(shown, search):
    """Call a command and keep what it writes."""

    def run(*words):
        with printed(shown, words[0]):
            shown.tried(words[0], main, [str(word) for word in words])

    return run


@pytest.fixture
def partner(secret_of, search):
    """A partner whose tokens are looked for."""
    with PartnerServer(secret_of()) as partner:
        yield partner
        for one in partner.requests:
            search.hide_token(one.token)


@pytest.mark.parametrize("how", [["doctor"], ["doctor", "--json"], ["token"]])
def test_no_document_shows_a_secret(search, shown, secret_of, tmp_path, partner, run, how):
    """In a report, in JSON, in a complaint; the partner refuses the key that can be read."""
    file = tmp_path / "partner.json"
    for name, document in DOCUMENTS.items():
        if how == ["token"] and name in ("as it should be", "the secret as a time", "short"):
            continue  # a token is what it prints
        content = document(secret_of("plain"))
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        url = f"{partner.url}/portfolio"
        run(*how, "--source", f"file://{file}?client_id=acme", "--url", url)
    assert "acme" in " ".join(text for _, text in shown.texts)
    shown.texts = [(where, _without_tokens(how, text)) for where, text in shown.texts]
    shown.__exit__()
    assert search.found(shown) == []


def _without_tokens(how, text):
    """Leave out the lines that are a token and nothing else: what `token` is for."""
    if how != ["token"]:
        return text
    return "\n".join(line for line in text.splitlines() if not line.startswith("eyJ"))


@pytest.mark.parametrize("command", ["doctor", "token", "watch"])
def test_no_secret_in_an_argument_is_repeated(search, shown, secret_of, run, command, monkeypatch):
    """Where a source was to be named, or where none was."""
    for words in (
        ["--source", "{}"],
        ["--source", "{}://x"],
        ["--source", "vault://{}@secret/partner"],
        ["--source", "env://?secret_key={}"],
        ["--source", "vault://secret/x?token={}"],
    ):
        run(command, *(word.format(secret_of()) for word in words))
    monkeypatch.setenv("PARTNER_AUTH_SOURCE", secret_of())
    run(command)
    shown.__exit__()
    assert search.found(shown) == []
    assert "source" in " ".join(text for _, text in shown.texts)


def test_no_variable_is_repeated(search, shown, secret_of, run, partner, monkeypatch):
    """Of those that hold a secret: ours, a proxy's password, the store's token."""
    monkeypatch.setenv("PARTNER_CLIENT_ID", "acme")
    monkeypatch.setenv("PARTNER_SECRET_KEY", secret_of())
    monkeypatch.setenv("PARTNER_SECRET_KEY_NEXT", secret_of())
    monkeypatch.setenv("HTTPS_PROXY", f"http://user:{secret_of()}@127.0.0.1:1")
    monkeypatch.setenv("HTTP_PROXY", f"http://user:{secret_of()}@127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", "localhost")
    monkeypatch.setenv("VAULT_TOKEN", secret_of())
    monkeypatch.setenv("VAULT_ADDR", f"https://user:{secret_of()}@127.0.0.1:1")
    monkeypatch.setenv("PARTNER_BASE_URL", f"https://user:{secret_of()}@127.0.0.1:1/v1")
    for url in (partner.url, "https://127.0.0.1:1/x", "http://192.0.2.1/x"):
        run("doctor", "--url", url)
        run("doctor", "--url", url, "--json")
        run("doctor", "--url", url, "--source", "vault://secret/partner")
    run("doctor")
    run("token", "--source", "vault://secret/partner")
    shown.__exit__()
    assert search.found(shown) == []


def test_no_url_with_a_password_is_repeated(search, shown, secret_of, run):
    """Of the partner."""
    for command in ("doctor", "token", "watch"):
        run(command, "--url", f"https://acme:{secret_of()}@127.0.0.1:1/x")
    shown.__exit__()
    assert search.found(shown) == []
