"""The stores that a credential can come from, and the protocol for one of your own."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from partner_auth.sources._callable import as_source
from partner_auth.sources._chain import ChainSource
from partner_auth.sources._env import EnvSource
from partner_auth.sources._file import FileSource
from partner_auth.sources._protocol import CredentialSource
from partner_auth.sources._static import StaticSource
from partner_auth.sources._url import source_from_url

if TYPE_CHECKING:
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

_REMOTE = {
    "AwsParameterStoreSource": "_aws",
    "AwsSecretsManagerSource": "_aws",
    "VaultSource": "_vault",
}


def __getattr__(name: str) -> Any:
    """Load the larger sources when they are asked for: most programs use one of them."""
    if name not in _REMOTE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_REMOTE[name]}"), name)
