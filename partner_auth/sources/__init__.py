"""The stores that a credential can come from, and the protocol for one of your own."""

from partner_auth.sources._aws import AwsParameterStoreSource, AwsSecretsManagerSource
from partner_auth.sources._callable import as_source
from partner_auth.sources._chain import ChainSource
from partner_auth.sources._env import EnvSource
from partner_auth.sources._file import FileSource
from partner_auth.sources._protocol import CredentialSource
from partner_auth.sources._static import StaticSource
from partner_auth.sources._url import source_from_url
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
