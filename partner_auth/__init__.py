"""Partner API authentication for the HTTP client that you already use: signed requests, through every rotation."""

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
    AwsParameterStoreSource,
    AwsSecretsManagerSource,
    ChainSource,
    CredentialSource,
    EnvSource,
    FileSource,
    StaticSource,
    VaultSource,
    source_from_url,
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


def __getattr__(name: str) -> str:
    """Look the version up when it is asked for: reading the metadata takes longer than the import."""
    if name == "__version__":
        from importlib.metadata import version

        return version("partner-auth")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
