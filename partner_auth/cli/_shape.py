"""What is odd about a key, seen from its outside; nothing here shows the key or a part of it."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from partner_auth._credentials import Secret

_INVISIBLE = re.compile("[\u200b-\u200f\u2028-\u202f\u2060\ufeff\u00ad]")
_QUOTED = re.compile(r"""\s*(["'`])(.*)\1\s*""", re.DOTALL)
_HEX = re.compile(r"(?:[0-9a-fA-F]{2}){16,}")
_TOKEN = re.compile(r"(?:Bearer )?eyJ[\w-]+\.[\w-]+\.[\w-]*")
_PLACEHOLDER = re.compile(
    r"\s*(?:\$\{.*\}|\$\w+|\{\{.*\}\}|<.*>|change[-_ ]?me|todo|x{3,}|your[-_ ].*)\s*",
    re.IGNORECASE | re.DOTALL,
)
_LEAST_DECODED = 16


class Oddity(NamedTuple):
    """One thing that is odd: `mended` is what the key would be without it.

    `evident` tells whether it is worth a word before the partner has refused the key.
    """

    reason: str
    remedy: str
    mended: Secret | None = None
    name: str = ""
    evident: bool = True


def oddities(key: Secret) -> Iterator[Oddity]:
    """Look at a key that is a text; bytes are as they should be."""
    text = key.reveal()
    if not isinstance(text, str):
        return
    if _PLACEHOLDER.fullmatch(text):
        yield Oddity("is a placeholder", "put the secret that the partner issued into the store")
        return
    if _TOKEN.fullmatch(text.strip()):
        yield Oddity("is a token (JWT)", "store the secret that tokens are signed with")
        return
    yield from _wrapping(text)
    yield from _encodings(text.strip())


def _wrapping(text: str) -> Iterator[Oddity]:
    off = "take it off in the store"
    pem = "-----BEGIN" in text
    if pem and "\\n" in text:
        mended, name = text.replace("\\n", "\n"), "with real line breaks"
        yield _mended(
            "is a PEM with \\n in place of line breaks", "mend it in the store", mended, name
        )
    elif text.rstrip().endswith(("\\n", "\\r")):
        mended = re.sub(r"(?:\\[nr])+\s*$", "", text)
        yield _mended("ends in a written-out \\n", off, mended, "without the \\n at its end")
    if quoted := _QUOTED.fullmatch(text):
        yield _mended("stands in quotes", "take them off", quoted[2], "without its quotes")
    if text != text.strip() and not pem:
        reason = "begins or ends with white space or a line break"
        yield _mended(reason, off, text.strip(), "without white space around it")
    if not pem and re.search(r"[\r\n]", text.strip()):
        mended = "".join(text.split())
        yield _mended("has line breaks inside", "store it in one line", mended, "in one line")
    if _INVISIBLE.search(text):
        mended = _INVISIBLE.sub("", text)
        yield _mended("holds invisible characters", "type it anew", mended, "without those")


def _mended(reason: str, remedy: str, text: str, name: str) -> Oddity:
    return Oddity(reason, remedy, Secret(text), name)


def _encodings(text: str) -> Iterator[Oddity]:
    if _HEX.fullmatch(text):
        yield _encoded("hex", binascii.unhexlify(text), evident=True)
        return
    # Without padding many a word is base64: that is worth a try, not a warning.
    if (raw := _decoded(text, base64.b64decode, "+/")) is not None:
        evident = text.endswith("=") or "+" in text or "/" in text
        yield _encoded("base64", raw, evident=evident)
    elif (raw := _decoded(text, base64.urlsafe_b64decode, "-_")) is not None:
        yield _encoded("base64url", raw, evident=text.endswith("="))


def _decoded(text: str, decode: Callable[[str], bytes], own: str) -> bytes | None:
    body = text.rstrip("=")
    if not re.fullmatch(rf"[A-Za-z0-9{re.escape(own)}]+", body) or len(text) - len(body) > 2:  # noqa: PLR2004  base64's padding
        return None
    try:
        raw = decode(body + "=" * (-len(body) % 4))
    except ValueError:
        return None
    return raw if len(raw) >= _LEAST_DECODED else None


def _encoded(name: str, raw: bytes, *, evident: bool) -> Oddity:
    remedy = f"if the partner says that it is {name}, say so: secret_key_encoding={name}"
    return Oddity(f"looks like {name}", remedy, Secret(raw), f"decoded from {name}", evident)
