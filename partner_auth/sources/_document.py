"""What a store holds, as text, JSON or bytes: told apart, measured, decoded.

What is raised here is a `CredentialInvalid` that `Fields` catches, since its frames hold the
document.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from partner_auth._credentials import Secret
from partner_auth.exceptions import CredentialInvalid

LIMIT = 65_536  # bytes of a document: a credential has a few hundred

# A key for HS256 has at least 32 bytes: one put where a name belongs is too long to be shown.
_NAME = re.compile(r"[A-Za-z_][\w.-]{0,30}", re.ASCII)
_NAMES_SHOWN = 12
_BLANKS = " \t\r\n"
_BOM = "\ufeff"


def values_of(document: Secret, alone: str) -> tuple[dict[str, Any], bool]:
    """Return a document's fields, and whether it is JSON; all of another is the field `alone`."""
    content = decoded(document)
    if isinstance(content, str) and _begins_json(content):
        return _json(content), True
    if not content.strip():
        raise CredentialInvalid("it is empty: put the partner's client id and secret there")
    return {alone: trimmed(content)}, False


def begins_json(document: Secret) -> bool:
    """Whether it is read as JSON and not as a key."""
    try:
        content = decoded(document)
    except CredentialInvalid:
        return False  # whoever reads it says what is wrong
    return isinstance(content, str) and _begins_json(content)


def decoded(content: Secret) -> str | bytes:
    """Return text where it is text, else the bytes as they stand."""
    if len(content.encoded()) > LIMIT:
        raise CredentialInvalid(f"it is longer than {LIMIT // 1024} KiB, which no credential is")
    raw = content.reveal()
    if isinstance(raw, str):
        return raw.removeprefix(_BOM)
    if _is_utf16(raw):
        raise CredentialInvalid("it is UTF-16 (PowerShell's `>` writes that): save it as UTF-8")
    try:
        return raw.decode().removeprefix(_BOM)
    except UnicodeDecodeError as error:
        whole = raw[: error.start].decode()
        at_the_end = error.reason == "unexpected end of data"
    if at_the_end and _begins_json(whole.removeprefix(_BOM)):
        return whole  # JSON that is still being written
    if _is_json(raw.decode("latin-1")):
        raise CredentialInvalid("it is JSON, but not in UTF-8: save it as UTF-8")
    return raw


def trimmed(content: str | bytes) -> str | bytes:
    """Drop one line break at the end of a text: editors and `echo` put it there."""
    if isinstance(content, bytes):
        return content
    return content.removesuffix("\r\n") if content.endswith("\r\n") else content.removesuffix("\n")


def unwrapped(value: str | bytes, encoding: str) -> bytes:
    """Return the bytes that a text stands for in one of `ENCODINGS`."""
    raw = value if isinstance(value, bytes) else value.encode("utf-8", "replace")
    try:
        return ENCODINGS[encoding](b"".join(raw.split()))  # openssl breaks its lines
    except ValueError:
        pass
    other = {
        "base64": " (with - and _ it is base64url)",
        "base64url": " (with + and / it is base64)",
    }
    raise CredentialInvalid(
        f"the key is no {encoding}, as secret_key_encoding= says{other.get(encoding, '')}"
    )


def names_for_message(names: Mapping[str, Any] | set[str]) -> str:
    """List the names of fields, leaving out what may be a secret in the wrong place."""
    shown = [name if _NAME.fullmatch(name) else "…" for name in sorted(names)]
    return ", ".join(shown[:_NAMES_SHOWN] + ["…"] * (len(shown) > _NAMES_SHOWN))


def is_unicode(text: str) -> bool:
    """Whether it can be written as UTF-8: JSON's escapes can hold half of a character."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _begins_json(text: str) -> bool:
    return text.lstrip(_BLANKS).startswith("{")


def _is_utf16(raw: bytes) -> bool:
    if not raw.startswith((b"\xff\xfe", b"\xfe\xff")) or len(raw) % 2:
        return False
    high = raw[3::2] if raw.startswith(b"\xff\xfe") else raw[2::2]
    return 2 * high.count(0) > len(high)  # a random key is not half zeros


def _json(text: str) -> dict[str, Any]:
    try:
        values: dict[str, Any] = json.loads(
            text, object_pairs_hook=_once, parse_constant=_no_constant
        )
    except json.JSONDecodeError as error:
        cut = error.pos >= len(text.rstrip(_BLANKS)) or error.msg.startswith("Unterminated")
        hint = "it ends too early (still being written?)" if cut else "mend it"
        raise CredentialInvalid(f"it begins with {{ but is no JSON object: {hint}") from None
    except (ValueError, RecursionError):
        raise CredentialInvalid(
            "its JSON nests too deep or holds a number of too many digits"
        ) from None
    return values


def _is_json(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        times = Counter(name for name, _ in pairs)
        twice = names_for_message({name for name in times if times[name] > 1})
        raise CredentialInvalid(f"its JSON has a field more than once: {twice}")
    return values


def _no_constant(name: str) -> NoReturn:
    raise CredentialInvalid(f"its JSON holds {name}, which is no JSON")


def _base64(raw: bytes) -> bytes:
    body = raw.removesuffix(b"=").removesuffix(b"=")  # some tools leave the padding out
    return base64.b64decode(body + b"=" * (-len(body) % 4), validate=True)


def _base64url(raw: bytes) -> bytes:
    if b"+" in raw or b"/" in raw:
        raise ValueError
    return _base64(raw.translate(bytes.maketrans(b"-_", b"+/")))


ENCODINGS: dict[str, Callable[[bytes], bytes]] = {
    "base64": _base64,
    "base64url": _base64url,
    "hex": binascii.unhexlify,
}
