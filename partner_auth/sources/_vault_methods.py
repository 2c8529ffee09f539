"""How to log in to Vault: which settings belong to which method, and what is sent.

Variables and files are read anew at each login, and the token of `auth=token` at each read: Vault
Agent rewrites its sink, Kubernetes its service account tokens.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from partner_auth._credentials import Secret
from partner_auth.exceptions import ConfigurationError, Failure
from partner_auth.sources._regular import read_regular
from partner_auth.sources._vault_refusals import Problem, unavailable
from partner_auth.sources._vault_settings import (
    checked_path,
    quoted,
    secret_variable,
    switch,
)

_METHODS = {
    "token": ("token_file",),
    "approle": ("secret_id_wrapped", "auth_mount"),
    "kubernetes": ("role", "jwt_file", "auth_mount"),
    "jwt": ("role", "jwt_file", "auth_mount"),
    "userpass": ("username", "auth_mount"),
}
_NEEDED = {"kubernetes": ("role",), "jwt": ("jwt_file",), "userpass": ("username",)}
_SERVICE_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount/token"
_HOME_TOKEN = "~/.vault-token"  # noqa: S105  the path of one


class Method(NamedTuple):
    """A way to log in and its settings."""

    auth: str = "token"
    token_file: str | None = None
    role: str | None = None
    jwt_file: str | None = None
    username: str | None = None
    secret_id_wrapped: bool = False
    auth_mount: str | None = None

    @property
    def mount(self) -> str:
        """Where the method is mounted."""
        return f"auth/{self.auth_mount or self.auth}"


class Inputs(NamedTuple):
    """What a login is made of: the path, and the body's fields."""

    path: str
    fields: dict[str, Secret]

    def body(self) -> Secret:
        """Return the body as JSON."""
        return Secret(json.dumps({name: value.reveal() for name, value in self.fields.items()}))

    def having(self, name: str, value: Secret) -> Inputs:
        """Return the same with another value."""
        return self._replace(fields=self.fields | {name: value})


class Given(NamedTuple):
    """A token that someone else obtained, and where it stood; it is blank if there is none."""

    token: Secret
    origin: str


def checked_method(auth: object, settings: dict[str, Any]) -> Method:
    """Return the method with its settings.

    Raises:
        ConfigurationError: it is none, a setting is missing, malformed, or another method's.
    """
    if not isinstance(auth, str) or auth not in _METHODS:
        raise ConfigurationError(f"auth= is one of {', '.join(_METHODS)}")
    settings["secret_id_wrapped"] = switch("secret_id_wrapped", settings["secret_id_wrapped"])
    for name, value in settings.items():
        if value in (None, False):
            continue
        if name not in _METHODS[auth]:
            takers = [method for method, names in _METHODS.items() if name in names]
            raise ConfigurationError(f"{name}= is for auth={' or '.join(takers)}, not {auth}")
        if value is not True and (not isinstance(value, str) or not _is_plain(value)):
            raise ConfigurationError(f"{name}= is a text without control characters")
    for name in _NEEDED.get(auth, ()):
        if settings[name] is None:
            raise ConfigurationError(f"auth={auth} needs {name}=")
    if settings["auth_mount"] is not None:
        checked_path("auth_mount", settings["auth_mount"])
    if settings["username"] is not None:
        checked_path("username", settings["username"])
    return Method(auth, **settings)


def checked_client(client: Any, method: Method, address: str | None) -> Any:
    """Return an `hvac.Client`, or None.

    Raises:
        ConfigurationError: it is none, or a setting would contradict its own.
    """
    if client is None:
        return None
    if not hasattr(client, "adapter") or not hasattr(client, "token"):
        raise ConfigurationError("client= is an hvac.Client")
    if method.auth != "token" or method.token_file is not None or address is not None:
        raise ConfigurationError(
            "client= logs in by itself: leave out auth=, token_file=, address="
        )
    return client


def given_token(method: Method, client: Any) -> Given | Problem:
    """Return the token that `auth=token` uses now."""
    if client is not None:
        return Given(Secret(client.token or ""), "the client")
    if method.token_file is not None:
        return _given_by_file(method.token_file)
    name, token = secret_variable("TOKEN")
    if token:
        return Given(token, name)
    return _given_at_home()


def login_inputs(method: Method) -> Inputs | Problem:
    """Return what to log in with now."""
    if method.auth == "approle":
        return _app_role(method)
    if method.auth == "userpass":
        return _user_and_password(method)
    return _json_web_token(method)


def _given_by_file(path: str) -> Given | Problem:
    token = _read(path, "token_file=")
    return token if isinstance(token, Problem) else Given(token, path)


def _given_at_home() -> Given:
    """Return the token that `vault login` left, or none: an agent at the address may add one."""
    token = _read(_HOME_TOKEN, "")
    if isinstance(token, Problem):
        return Given(
            Secret(""), f"set VAULT_TOKEN, log in so that {_HOME_TOKEN} holds one, or auth="
        )
    return Given(token, _HOME_TOKEN)


def _read(path: str, what: str) -> Secret | Problem:
    """Return a file's text without white space around it; not having it is about who we are."""
    content = read_regular(Path(path).expanduser(), what)
    if isinstance(content, Failure):
        return unavailable("identity", content.text)
    text = Secret(content.encoded().decode("utf-8", "replace").strip())
    return text or unavailable("identity", f"{what}: {path!r} is empty")


def _app_role(method: Method) -> Inputs | Problem:
    role_name, role_id = secret_variable("ROLE_ID")
    secret_name, secret_id = secret_variable("SECRET_ID")
    if not role_id:
        return unavailable("identity", f"auth=approle needs the variable {role_name}")
    if not secret_id and method.secret_id_wrapped:
        return unavailable("identity", f"secret_id_wrapped needs the variable {secret_name}")
    fields = {"role_id": role_id} | ({"secret_id": secret_id} if secret_id else {})
    return Inputs(f"{method.mount}/login", fields)


def _user_and_password(method: Method) -> Inputs | Problem:
    name, password = secret_variable("PASSWORD", around="\r\n")
    if not password:
        return unavailable("identity", f"auth=userpass needs the variable {name}")
    path = f"{method.mount}/login/{quoted(method.username or '')}"
    return Inputs(path, {"password": password})


def _json_web_token(method: Method) -> Inputs | Problem:
    token = _read(method.jwt_file or _SERVICE_ACCOUNT, "jwt_file=")
    if isinstance(token, Problem):
        return token
    role = {} if method.role is None else {"role": Secret(method.role)}
    return Inputs(f"{method.mount}/login", role | {"jwt": token})


def _is_plain(text: str) -> bool:
    return bool(text.strip()) and text.isprintable()
