"""Every option and method with the types that it promises."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import assert_type

from partner_auth import (
    AwsSecretsManagerSource,
    ChainSource,
    Credential,
    CredentialSource,
    EnvSource,
    FileSource,
    PartnerAuth,
    RefreshPolicy,
    Secret,
    StaticSource,
    Status,
    VaultSource,
    source_from_url,
)
from partner_auth.events import CredentialRotated, Event


class OwnSource:
    """The least that a source has."""

    def fetch(self) -> Credential:
        """Return the credential."""
        return Credential("acme", "secret")


class OwnAsyncSource:
    """The same for a store whose client is asynchronous."""

    async def fetch(self) -> Credential:
        """Return the credential."""
        return Credential("acme", b"secret", version="7", key_id="2026", expires_at=1.8e9)


class OwnClock:
    """What `clock=` takes."""

    def now(self) -> float:
        """Return the wall time."""
        return 0.0

    def monotonic(self) -> float:
        """Return the monotonic time."""
        return 0.0


def read() -> Credential:
    """Read a credential, blocking."""
    return Credential("acme", Secret("secret"), refresh_at=datetime.now(UTC))


async def read_async() -> Credential:
    """Read a credential in an event loop."""
    return read()


def claims(credential: Credential) -> dict[str, object]:
    """Return claims that depend on the credential."""
    return {"sub": credential.client_id}


def on_event(event: Event) -> None:
    """Look at an event."""
    if isinstance(event, CredentialRotated):
        print(event.version)


sources: list[CredentialSource] = [
    EnvSource(),
    EnvSource(prefix="ACME_"),
    FileSource("/run/secrets/partner.json"),
    AwsSecretsManagerSource("prod/partner", region="eu-west-1"),
    VaultSource("secret", "partner/acme"),
    StaticSource(read()),
    StaticSource(read(), read()),
    ChainSource(EnvSource(), FileSource("/run/secrets/partner.json")),
    OwnSource(),
    OwnAsyncSource(),
    source_from_url("env://"),
]

PartnerAuth()
PartnerAuth(sources[0])
PartnerAuth(OwnSource())
PartnerAuth(OwnAsyncSource())
PartnerAuth(read())
PartnerAuth(read)
PartnerAuth(read_async)
PartnerAuth("vault://secret/partner/acme")
PartnerAuth(
    "env://",
    origins=["https://api.partner.example", "https://eu.partner.example"],
    lifetime=timedelta(minutes=5),
    algorithm="RS256",
    claims={"scope": ["read"]},
    key_id="2026-11",
    rejects=(401, 403),
    refresh=RefreshPolicy(fresh_for=60, jitter=0, timeout=5.0),
    on_event=on_event,
    clock=OwnClock(),
)
PartnerAuth("env://", origins="https://api.partner.example", lifetime=60, claims=claims)


async def methods(auth: PartnerAuth) -> None:
    """Call every method."""
    assert_type(auth.token(), str)
    assert_type(auth.token("https://api.partner.example"), str)
    assert_type(await auth.atoken(), str)
    auth.refresh()
    auth.refresh(wait=False)
    await auth.arefresh()
    status = auth.status()
    assert_type(status, Status)
    assert_type(status.client_id, str | None)
    assert_type(status.version, str | None)
    assert_type(status.fetched_at, datetime | None)
    assert_type(status.token_expires_at, datetime | None)
    assert_type(status.clock_offset, float)
    assert_type(status.last_error, str | None)


assert_type(read().client_id, str)
assert_type(read().secret_key, Secret)
assert_type(Secret("secret").reveal(), str | bytes)
