"""Partner API authentication for the HTTP client that you already use: signed requests, through every rotation."""

import typing as _typing

from partner_auth._authenticator import OriginStatus, Status
from partner_auth._credentials import Credential, Secret
from partner_auth._partner_auth import PartnerAuth
from partner_auth._policy import RefreshPolicy
from partner_auth.exceptions import (
    ConfigurationError,
    CredentialError,
    CredentialInvalid,
    InsecureTransport,
    PartnerAuthError,
    PartnerAuthWarning,
    SourceRejected,
    SourceUnavailable,
)
from partner_auth.sources import (
    ChainSource,
    CredentialSource,
    EnvSource,
    FileSource,
    StaticSource,
    source_from_url,
)

if _typing.TYPE_CHECKING:
    from partner_auth.sources import (
        AwsParameterStoreSource,
        AwsSecretsManagerSource,
        VaultSource,
    )

__all__ = [
    "AwsParameterStoreSource",
    "AwsSecretsManagerSource",
    "ChainSource",
    "ConfigurationError",
    "Credential",
    "CredentialError",
    "CredentialInvalid",
    "CredentialSource",
    "EnvSource",
    "FileSource",
    "InsecureTransport",
    "OriginStatus",
    "PartnerAuth",
    "PartnerAuthError",
    "PartnerAuthWarning",
    "RefreshPolicy",
    "Secret",
    "SourceRejected",
    "SourceUnavailable",
    "StaticSource",
    "Status",
    "VaultSource",
    "source_from_url",
]


def __getattr__(name: str) -> _typing.Any:
    """Look up what is asked for seldom: the stores' sources, and the version from the metadata."""
    if name == "__version__":
        from importlib.metadata import version

        return version("partner-auth")
    if name in __all__:
        from partner_auth import sources

        return getattr(sources, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
