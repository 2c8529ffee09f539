"""AWS Secrets Manager and Parameter Store: which version is asked for, and what else may be valid.

`source_from_url` calls `from_url`, which hands `aws-ssm://` on to `from_ssm_url`. What the two have
in common is in `_aws_source`, boto3 in `_aws_client`, the local agent in `_aws_agent`, and what
AWS's refusals mean in `_aws_errors`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from urllib.parse import unquote

from partner_auth._credentials import Secret
from partner_auth.exceptions import ConfigurationError
from partner_auth.sources._aws_client import Deadline
from partner_auth.sources._aws_errors import Answer, Call, epoch_of
from partner_auth.sources._aws_source import REGION, AwsSource, Read
from partner_auth.sources._fields import FIELD_PARAMS, Fields
from partner_auth.sources._url import SourceURL

_CURRENT, _PENDING, _PREVIOUS = "AWSCURRENT", "AWSPENDING", "AWSPREVIOUS"
_PARAMETER = r"[^:]+(?::[A-Za-z0-9_.-]+)?"  # a version's number or a label may follow


class AwsSecretsManagerSource(AwsSource):
    """Reads a secret of AWS Secrets Manager, as `aws-secretsmanager://NAME?region=…` does.

    Needs the rights `secretsmanager:GetSecretValue` and, with a key of your own, `kms:Decrypt`.
    Alternates are AWSPENDING and AWSPREVIOUS. Sources with equal settings share one client, which
    the first read makes. Constructing reads and contacts nothing.

    Args:
        secret_id: name or ARN. A leading `/` is part of the name; an ARN's region wins.
        client: a `boto3` client of your own, used as it is, with its own time-outs.
        region: default: as boto3 finds it, like all that is not given here.
        profile: of AWS's config files.
        endpoint_url: where to ask instead of AWS.
        version_stage: the staging label to read; default AWSCURRENT.
        via: "agent" asks the local AWS Secrets Manager Agent or Lambda extension, without boto3.
        client_id: the client id, where the secret is the key alone.
        client_id_field: where it stands in the JSON, a dotted path; default `client_id`.
        secret_key_field: where the key stands, a dotted path; default `secret_key`.
        secret_key_encoding: `base64`, `base64url` or `hex` if the key is stored so.
        timeout: seconds for a whole fetch. A quarter of it (2 s) is left for connecting
            and three eighths (3 s) for an answer, in each of two tries.

    Raises:
        ConfigurationError: a name or setting is wrong, or boto3 is not installed.
    """

    _service = "secretsmanager"
    _name = re.compile("[^:]+")
    _arn = re.compile(rf"arn:aws[a-z-]*:secretsmanager:({REGION}):[0-9]{{12}}:secret:[^:]+")

    def __init__(
        self,
        secret_id: str,
        *,
        client: Any = None,
        region: str | None = None,
        profile: str | None = None,
        endpoint_url: str | None = None,
        version_stage: str | None = None,
        via: str | None = None,
        client_id: str | None = None,
        client_id_field: str | None = None,
        secret_key_field: str | None = None,
        secret_key_encoding: str | None = None,
        timeout: float | str | timedelta = 8.0,
    ) -> None:
        options = {
            "region": region,
            "profile": profile,
            "endpoint_url": endpoint_url,
            "version_stage": version_stage,
            "via": via,
        }
        fields = Fields(client_id, client_id_field, secret_key_field, secret_key_encoding)
        super().__init__(secret_id, client, options, fields, timeout)

    @property
    def _stage(self) -> str:
        return self._options.get("version_stage", _CURRENT)

    def _call(self, stage: str | None = None) -> Call:
        return Call(
            repr(self),
            self._service,
            "GetSecretValue",
            "get_secret_value",
            # Without a stage, AWS gives the current one, and others what they like.
            {"SecretId": self._id, "VersionStage": stage or self._stage},
            f"there is no such secret here, or it has no value yet ({stage or self._stage}): look "
            "at name, region and account",
            _secret_value,
        )

    def _others(self, current: Read, deadline: Deadline) -> list[Read | None]:
        stages = [stage for stage in (_CURRENT, _PENDING, _PREVIOUS) if stage != self._stage][:2]
        others = [self._read(self._call(stage), deadline) for stage in stages]
        if stages[0] == _PENDING and _is_older(others[0], current):
            # Left over from a rotation that failed, or waiting while somebody put the current value
            # once more: dead, most likely. Tried last it costs one send, dropped it could cost the
            # request.
            others.reverse()
        return others


class AwsParameterStoreSource(AwsSource):
    """Reads a parameter of AWS Systems Manager, as `aws-ssm://NAME?region=…` does.

    Needs the rights `ssm:GetParameter` and, for a SecureString with a key of your own,
    `kms:Decrypt`. The alternate is the version before.

    Args:
        name: name or ARN; `:3` or `:label` behind it picks a version. A leading `/` is part of it.
        client: as in `AwsSecretsManagerSource`, like all that follow.
        region: likewise.
        profile: likewise.
        endpoint_url: likewise.
        client_id: likewise.
        client_id_field: likewise.
        secret_key_field: likewise.
        secret_key_encoding: likewise.
        timeout: likewise.

    Raises:
        ConfigurationError: a name or setting is wrong, or boto3 is not installed.
    """

    _service = "ssm"
    _name = re.compile(_PARAMETER)
    _arn = re.compile(rf"arn:aws[a-z-]*:ssm:({REGION}):[0-9]{{12}}:parameter/{_PARAMETER}")

    def __init__(
        self,
        name: str,
        *,
        client: Any = None,
        region: str | None = None,
        profile: str | None = None,
        endpoint_url: str | None = None,
        client_id: str | None = None,
        client_id_field: str | None = None,
        secret_key_field: str | None = None,
        secret_key_encoding: str | None = None,
        timeout: float | str | timedelta = 8.0,
    ) -> None:
        options = {"region": region, "profile": profile, "endpoint_url": endpoint_url}
        fields = Fields(client_id, client_id_field, secret_key_field, secret_key_encoding)
        super().__init__(name, client, options, fields, timeout)

    def _call(self, name: str | None = None) -> Call:
        return Call(
            repr(self),
            self._service,
            "GetParameter",
            "get_parameter",
            {"Name": name or self._id, "WithDecryption": True},
            "there is no such parameter or version here: look at name, region and account",
            _parameter_value,
        )

    def _others(self, current: Read, deadline: Deadline) -> list[Read | None]:
        number = int(current.version or 0) - 1
        if number < 1:
            return []
        head, slash, tail = self._id.rpartition("/")  # an ARN has colons before it
        return [self._read(self._call(f"{head}{slash}{tail.partition(':')[0]}:{number}"), deadline)]


def from_url(url: SourceURL) -> AwsSecretsManagerSource | AwsParameterStoreSource:
    """Return the source that `aws-secretsmanager://…`, `aws-ssm://…` or a bare ARN names."""
    if url.scheme == "aws-ssm":
        return from_ssm_url(url)
    allowed = ("region", "profile", "endpoint_url", "version_stage", "via", *FIELD_PARAMS)
    return AwsSecretsManagerSource(_location(url), **url.keywords(*allowed))


def from_ssm_url(url: SourceURL) -> AwsParameterStoreSource:
    """Return the source that `aws-ssm://…` names."""
    allowed = ("region", "profile", "endpoint_url", *FIELD_PARAMS)
    return AwsParameterStoreSource(_location(url), **url.keywords(*allowed))


def _location(url: SourceURL) -> str:
    if not url.location:
        raise ConfigurationError(f"{url.scheme}:// names nothing: {url.scheme}://NAME?region=…")
    return unquote(url.location)


def _secret_value(said: Any) -> Answer | None:
    text, binary = said.get("SecretString"), said.get("SecretBinary")
    content = text if isinstance(text, str) else binary
    if not isinstance(content, (str, bytes)):
        return None
    version = said.get("VersionId")
    return Answer(
        Secret(content),
        version if isinstance(version, str) else None,
        epoch_of(said.get("CreatedDate")),
    )


def _parameter_value(said: Any) -> Answer | None:
    parameter = said.get("Parameter")
    if not isinstance(parameter, Mapping) or not isinstance(parameter.get("Value"), str):
        return None
    version = parameter.get("Version")
    return Answer(Secret(parameter["Value"]), str(version) if isinstance(version, int) else None)


def _is_older(one: Read | None, other: Read) -> bool:
    times = (one.created if one is not None else None, other.created)
    return times[0] is not None and times[1] is not None and times[0] < times[1]
