"""What AWS's answers mean: "no" about the secret or our right to it, "not now", or our own mistake.

Nothing here imports boto3, and no text of one of its errors is passed on: some quote the request,
session token and all.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from partner_auth._credentials import Secret
from partner_auth.exceptions import (
    ConfigurationError,
    Failure,
    SourceRejected,
    SourceUnavailable,
    Unavailability,
)

_TOO_MANY_REQUESTS = 429
_FIRST_SERVER_ERROR = 500


class Answer(NamedTuple):
    """What a store holds: the document, its name for this version, when that was made (epoch)."""

    document: Secret
    version: str | None = None
    created: float | None = None


class Call(NamedTuple):
    """One question to a service, and what to say of its answers.

    Args:
        source: `repr` of the source that asks.
        service: as boto3 and IAM name it.
        operation: as IAM names it.
        method: as boto3 names it.
        parameters: what it is called with.
        missing: what a "not found" means.
        read: takes an answer apart; None: there is none in it.
    """

    source: str
    service: str
    operation: str
    method: str
    parameters: Mapping[str, Any]
    missing: str
    read: Callable[[Any], Answer | None]

    def unavailable(self, text: str, reason: Unavailability = "unreachable") -> Failure:
        """Return "not now"."""
        return Failure.of(SourceUnavailable, f"{self.source}: {text}", reason=reason)

    def rejected(self, text: str, reason: str) -> Failure:
        """Return "no"."""
        return Failure.of(SourceRejected, f"{self.source}: {text}", reason=reason)

    def misconfigured(self, text: str) -> Failure:
        """Return "mend a setting"."""
        return Failure.of(ConfigurationError, f"{self.source}: {text}")

    def no_answer(self, what: str) -> Failure:
        """Return the failure for an answer that AWS would not give."""
        text = f"{what} is no answer to {self.operation}: look for a proxy or a wrong endpoint"
        return self.unavailable(text, "malformed")

    def unidentified(self, word: str) -> Failure:
        """Return the failure for "AWS can't tell who we are"."""
        text = (
            f"AWS can't tell who we are ({word}), which says nothing about the secret: renew the "
            "credentials that boto3 finds (environment, shared files, SSO, container, instance)"
        )
        return self.unavailable(text, "identity")


class Refusal(NamedTuple):
    """An error that a service answered with."""

    code: str
    message: str
    status: int

    @property
    def word(self) -> str:
        """Its code, if it looks like one: who quotes what we sent there writes no words."""
        looks_like_one = re.fullmatch(r"[A-Z][A-Za-z.]{0,47}|[0-9]{3}", self.code)
        return self.code if looks_like_one else "an odd code"


# By names in a class's ancestry: some of these are a BotoCoreError, some a ValueError or OSError
# too, and some are younger than the oldest boto3 that we take.
_SETTINGS = {
    "NoRegionError": "no region is set: give region=, or set AWS_DEFAULT_REGION",
    "InvalidRegionError": "the region is no region's name: mend region= or AWS_DEFAULT_REGION",
    "ProfileNotFound": "AWS's config files have no such profile: mend profile= or AWS_PROFILE",
    "ConfigParseError": "AWS's config file can't be parsed: mend it, or AWS_CONFIG_FILE",
    "ConfigNotFound": "AWS's config file is not there: mend AWS_CONFIG_FILE",
    "InvalidConfigError": "AWS's config file contradicts itself: mend the profile in it",
    "MissingDependencyException": "these credentials need pip install 'botocore[crt]'",
    "ParamValidationError": "the name or version stage is none that AWS takes: mend it",
    "InvalidRetryConfigurationError": "mend AWS_MAX_ATTEMPTS or AWS_RETRY_MODE",
    "InvalidEndpointConfigurationError": "AWS's endpoint settings contradict each other: mend them",
    "InvalidProxiesConfigError": "the proxy settings are wrong: mend them",
    "BaseEndpointResolverError": "AWS has no such endpoint: mend region= or endpoint_url=",
    "EndpointProviderError": "AWS has no such endpoint: mend region= or endpoint_url=",
}
_IDENTITY = frozenset(
    {
        "CredentialRetrievalError",
        "LoginError",
        "MetadataRetrievalError",
        "NoAuthTokenError",
        "NoCredentialsError",
        "PartialCredentialsError",
        "RefreshWithMFAUnsupportedError",
        "SSOError",
        "TokenRetrievalError",
        "UnknownCredentialError",
    }
)
_TIMEOUTS = frozenset({"ConnectTimeoutError", "ReadTimeoutError"})


def failure_of(error: Exception, call: Call, *, made: bool) -> Failure:
    """Say what an error of boto3 means. `made`: there was a client to call."""
    kind = type(error).__name__
    names = [ancestor.__name__ for ancestor in type(error).__mro__]
    setting = next((_SETTINGS[name] for name in names if name in _SETTINGS), None)
    if "ClientError" in names:
        return _client_error(error, call)
    if setting is not None:
        return call.misconfigured(setting)
    if not _IDENTITY.isdisjoint(names):
        return call.unidentified(kind)
    if not _TIMEOUTS.isdisjoint(names):
        return call.unavailable(f"no answer in time ({kind}): look at the network", "timeout")
    if "BotoCoreError" in names:
        return call.unavailable(f"AWS can't be reached ({kind}): look at network and endpoint")
    if isinstance(error, OSError):  # bare: a web identity token's file, a program for credentials
        return call.unidentified(f"{kind}: {error.filename}" if error.filename else kind)
    if made:
        return call.no_answer(f"what botocore could not parse ({kind})")
    if type(error) is ValueError:
        text = "boto3 takes no such endpoint: mend endpoint_url= or AWS_ENDPOINT_URL"
        return call.misconfigured(text)
    return call.unidentified(kind)  # what a program for credentials wrote, say


def _client_error(error: Any, call: Call) -> Failure:
    said = error.response.get("Error", {})
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    refusal = Refusal(str(said.get("Code", "")), str(said.get("Message", "")), status)
    if getattr(error, "operation_name", call.operation) == call.operation:
        return refused(refusal, call)
    # STS or SSO, on the way to our credentials: even a denial there is about us.
    return _passing(refusal, call) or call.unidentified(refusal.word)


_THROTTLED = frozenset(
    {
        "429",
        "BandwidthLimitExceeded",
        "KMSThrottlingException",
        "LimitExceededException",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestThrottledException",
        "SlowDown",
        "ThrottledException",
        "Throttling",
        "ThrottlingException",
        "TooManyRequests",
        "TooManyRequestsException",
    }
)
_BROKEN = frozenset(
    {"InternalFailure", "InternalServerError", "InternalServiceError", "ServiceUnavailable"}
)
_UNIDENTIFIED = frozenset(
    {
        "AuthFailure",
        "ExpiredToken",
        "ExpiredTokenException",
        "IncompleteSignature",
        "IncompleteSignatureException",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "InvalidSignature",
        "InvalidSignatureException",
        "InvalidToken",
        "MissingAuthenticationToken",
        "MissingAuthenticationTokenException",
        "OptInRequired",
        "RequestExpired",
        "RequestTimeTooSkewed",
        "SignatureDoesNotMatch",
        "UnrecognizedClient",
        "UnrecognizedClientException",
    }
)
_DENIED = frozenset({"AccessDenied", "AccessDeniedException", "KMSAccessDeniedException"})
_MISSING = frozenset({"ParameterNotFound", "ParameterVersionNotFound", "ResourceNotFoundException"})
_KEY_IS_OUT = frozenset(
    {
        "DecryptionFailure",
        "InvalidKeyId",
        "KMSDisabledException",
        "KMSInvalidStateException",
        "KMSNotFoundException",
    }
)
_WRONG = frozenset(
    {
        "InvalidParameterException",
        "InvalidParameterValue",
        "UnknownOperationException",
        "ValidationException",
    }
)
_CALLER = re.compile(r"arn:aws[a-z-]*:(?:iam|sts)::\d{12}:[\w+=,.@/-]{1,160}", re.ASCII)


def refused(said: Refusal, call: Call) -> Failure:
    """Say what a service's refusal means."""
    passing = _passing(said, call)
    if passing is not None:
        return passing
    if said.code in _UNIDENTIFIED:
        return call.unidentified(said.word)
    if said.code in _DENIED:
        return call.rejected(_denial(said, call), "denied")
    if said.code in _MISSING:
        return call.rejected(call.missing, "not_found")
    if said.code == "InvalidRequestException" and "delet" in said.message.lower():
        return call.rejected("it is marked for deletion: restore it, or name another", "deleted")
    if said.code in _KEY_IS_OUT:
        text = f"AWS can't decrypt it ({said.word}), which says nothing about it: mend the KMS key"
        return call.unavailable(text, "sealed")
    if said.code in _WRONG:
        return call.misconfigured(f"AWS takes no such name or stage ({said.word}): mend it")
    return call.unavailable(f"AWS says {said.word}, which says nothing about the secret: try again")


def _passing(said: Refusal, call: Call) -> Failure | None:
    """Return what passes by itself, whoever was asked."""
    if said.code in _THROTTLED or said.status == _TOO_MANY_REQUESTS:
        return call.unavailable(f"AWS asks for fewer calls ({said.word}): read less", "throttled")
    if said.status >= _FIRST_SERVER_ERROR or said.code in _BROKEN:
        return call.unavailable(f"AWS can't answer for now ({said.word}): try again")
    if said.code.isdigit():  # botocore puts the status where there is no code: HTML, a redirect
        return call.no_answer(f"HTTP {said.word}")
    return None


def _denial(said: Refusal, call: Call) -> str:
    who = _CALLER.search(said.message)
    key = "KMS" in said.message or said.code.startswith("KMS")
    right = "kms:Decrypt on its key" if key else f"{call.service}:{call.operation} on it"
    return f"AWS denies it to {who[0] if who else 'us'}: allow {right}"


def epoch_of(value: object) -> float | None:
    """Return a time, as botocore gives it or the agent writes it, in seconds since the epoch."""
    if isinstance(value, datetime):
        return value.timestamp()
    try:
        return float(str(value))
    except ValueError:
        return None
