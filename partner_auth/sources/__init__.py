"""The stores that a credential can come from, and the protocol for one of your own."""

import typing as _typing

from partner_auth.sources._callable import as_source
from partner_auth.sources._chain import ChainSource
from partner_auth.sources._env import EnvSource
from partner_auth.sources._file import FileSource
from partner_auth.sources._protocol import CredentialSource
from partner_auth.sources._static import StaticSource
from partner_auth.sources._url import source_from_url

if _typing.TYPE_CHECKING:
    from partner_auth.sources._aws import AwsParameterStoreSource, AwsSecretsManagerSource
    from partner_auth.sources._vault import VaultSource

__all__ = [
    "AwsParameterStoreSource",
    "AwsSecretsManagerSource",
    "ChainSource",
    "CredentialSource",
    "EnvSource",
    "FileSource",
    "StaticSource",
    "VaultSource",
    "as_source",
    "source_from_url",
]


def __getattr__(name: str) -> _typing.Any:
    """Load a store's source when it is asked for: the two are half of the import otherwise."""
    if name in ("AwsParameterStoreSource", "AwsSecretsManagerSource"):
        from partner_auth.sources import _aws

        return getattr(_aws, name)
    if name == "VaultSource":
        from partner_auth.sources._vault import VaultSource

        return VaultSource
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
