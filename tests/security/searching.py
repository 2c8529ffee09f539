"""Who looks for secrets: every form of each of them, in everything that is shown or written down.

`Search` knows what is to be found nowhere, in its many spellings. `Shown` collects what a log, a
crash reporter, a pickle or a curious `repr` would take; `Search.found` tells which of it is secret.
"""

from __future__ import annotations

import base64
import codecs
import contextlib
import hashlib
import io
import json
import logging
import pickle
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote, quote_plus

import partner_auth

PACKAGE = str(Path(partner_auth.__file__).parent)
WINDOW = 12  # characters: a shorter part of a random secret may turn up by chance
_WIDE = {"a list of numbers": 30}  # as a part of a date may

_HASHES = ("md5", "sha1", "sha256", "sha512")


def forms(secret: str | bytes) -> dict[str, str]:
    """Return the spellings in which a secret could get somewhere."""
    raw = secret.encode("utf-8", "surrogatepass") if isinstance(secret, str) else secret
    text = secret if isinstance(secret, str) else raw.decode("latin-1")
    spelt = {
        "itself": text,
        "as UTF-8": raw.decode("utf-8", "backslashreplace"),
        "repr": repr(text)[1:-1],
        "repr of bytes": repr(raw)[2:-1],
        "JSON": json.dumps(text)[1:-1],
        "JSON in JSON": json.dumps(json.dumps(text))[3:-3],
        "JSON without ASCII": json.dumps(text, ensure_ascii=False)[1:-1],
        "reversed": text[::-1],
        "reversed JSON": json.dumps(text)[-2:0:-1],
        "rot13": codecs.encode(text, "rot13"),
        "hex": raw.hex(),
        "HEX": raw.hex().upper(),
        "hex with colons": raw.hex(":"),
        "quoted": quote(raw, safe=""),
        "quoted for a form": quote_plus(raw),
        "quoted by a path": quote(raw),
        "base32": base64.b32encode(raw).decode().rstrip("="),
        "a list of numbers": ", ".join(map(str, raw)),
    }
    for shift in range(3):  # as it comes out behind other text in the same base64
        inner = base64.b64encode(b"x" * shift + raw).decode()[4 if shift else 0 : -4]
        spelt[f"base64, {shift}"] = inner
        spelt[f"base64url, {shift}"] = inner.translate(str.maketrans("+/", "-_"))
    for name in _HASHES:
        digest = hashlib.new(name, raw, usedforsecurity=False).digest()
        spelt[f"{name}, hex"] = digest.hex()
        spelt[f"{name}, base64"] = base64.b64encode(digest).decode()
    return spelt


class Search:
    """Every part, of twelve characters or more, of every form of what must not be shown."""

    def __init__(self) -> None:
        self._parts: dict[int, dict[str, str]] = {}  # by their width
        self.secrets = self.tokens = 0

    def hide(self, secret: str | bytes) -> None:
        """Look for a secret from now on."""
        self.secrets += 1
        self._hide(secret, "a secret")

    def hide_token(self, token: str | None) -> None:
        """Look for a token: its payload and signature; the header is no secret and always alike."""
        if token is None:
            return
        self.tokens += 1
        for name, part in zip(("payload", "signature"), token.split(".")[1:], strict=True):
            self._hide(part, f"a token's {name}")

    def _hide(self, hidden: str | bytes, name: str) -> None:
        for form, text in forms(hidden).items():
            width = _WIDE.get(form, WINDOW)
            parts = self._parts.setdefault(width, {})
            for start in range(len(text) - width + 1):
                parts.setdefault(text[start : start + width], f"{name} ({form})")

    def found(self, shown: Shown) -> list[str]:
        """Return what was found and where, without the secret itself."""
        found = set()
        for text, where in {text: where for where, text in shown.texts}.items():
            for width, parts in self._parts.items():
                windows = (text[at : at + width] for at in range(len(text) - width + 1))
                name = next((parts[window] for window in windows if window in parts), None)
                if name is not None:
                    found.add(f"{name} in {where}")
        return sorted(found)


class Shown:
    """What could be read by others: log, warnings, events, errors, frames of ours, pickles."""

    def __init__(self) -> None:
        self.texts: list[tuple[str, str]] = []
        self.errors = self.records = self.frames = 0
        self.foreign: list[tuple[str, str]] = []  # frames of others: documented, not ours
        self._open = contextlib.ExitStack()

    def __enter__(self) -> Self:
        self._open.enter_context(_logging_all(self._log))
        self._open.enter_context(_warnings_to(self._warn))
        self._open.enter_context(_hooks_to(self.error))
        return self

    def __exit__(self, *exc: object) -> None:
        self._open.close()

    def note(self, where: str, text: object) -> None:
        """Keep a text as it stands, bytes letter by letter."""
        kept = text.decode("latin-1") if isinstance(text, bytes) else str(text)
        self.texts.append((where, kept))

    def look_at(self, where: str, thing: Any) -> None:
        """Keep all that an object says of itself."""
        self.note(f"repr of {where}", repr(thing))
        self.note(f"str of {where}", str(thing))
        self.note(f"format of {where}", format(thing))
        with contextlib.suppress(TypeError):
            self.note(f"vars of {where}", repr(vars(thing)))

    def event(self, event: Any) -> None:
        """Keep an event: what `on_event` is given."""
        self.look_at("an event", event)

    def pickled(self, where: str, thing: Any) -> None:
        """Keep the pickle, or the refusal."""
        data = self.tried(f"pickling {where}", pickle.dumps, thing)
        if data is not None:
            self.note(f"a pickle of {where}", data)

    def tried(self, where: str, call: Callable[..., Any], *args: Any) -> Any:
        """Call, keep what is raised, and return what comes."""
        try:
            return call(*args)
        except Exception as error:
            self.error(error, where)
            return None

    def error(self, error: BaseException, where: str = "an error") -> None:
        """Keep all that hangs on an error: texts, chain, notes, and the locals of our frames."""
        for one in _chain(error):
            self.errors += 1
            kind = f"{type(one).__name__} of {where}"
            self.note(f"str of {kind}", one)
            self.note(f"repr of {kind}", repr(one))
            self.note(f"args of {kind}", repr(one.args))
            self.note(f"vars of {kind}", repr(vars(one)))
            for name in ("doc", "object", "__notes__", "response", "request", "reason"):
                self.note(f"{name} of {kind}", repr(getattr(one, name, "")))
            self._frames(one, kind)
        self._pickled_error(error, where)

    def _pickled_error(self, error: BaseException, where: str) -> None:
        if isinstance(error, partner_auth.PartnerAuthError):
            self.pickled(f"{type(error).__name__} of {where}", error)

    def _frames(self, error: BaseException, kind: str) -> None:
        for frame, _ in traceback.walk_tb(error.__traceback__):
            code = frame.f_code
            ours = code.co_filename.startswith(PACKAGE)
            self.frames += ours
            held = {name: _repr(value) for name, value in frame.f_locals.items()}
            where = f"locals of {code.co_name} ({code.co_filename}), {kind}"
            (self.texts if ours else self.foreign).append((where, repr(held)))

    def _warn(self, warning: warnings.WarningMessage) -> None:
        self.note("a warning", f"{warning.message} {getattr(warning.message, 'args', ())!r}")

    def _log(self, record: logging.LogRecord) -> None:
        self.records += 1
        name = f"a line of the logger {record.name}"
        self.note(name, record.getMessage())
        self.note(f"the record of {name}", repr(vars(record)))
        for value in vars(record).values():  # what `extra` brought
            with contextlib.suppress(TypeError):
                self.note(f"an object in {name}", repr(vars(value)))
        if record.exc_info and record.exc_info[1] is not None:
            self.error(record.exc_info[1], name)


def _repr(value: object) -> str:
    """Return what a crash reporter shows of a local, half-made objects of others included."""
    try:
        return repr(value)
    except Exception as error:
        return f"<{type(error).__name__}>"


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Return an error, its causes and contexts, and the members of groups; each once."""
    seen: list[BaseException] = []
    left = [error]
    while left:
        one = left.pop()
        if any(one is other for other in seen):
            continue
        seen.append(one)
        yield one
        members = one.exceptions if isinstance(one, BaseExceptionGroup) else ()
        left += [e for e in (one.__cause__, one.__context__, *members) if e is not None]


@contextlib.contextmanager
def _logging_all(keep: Callable[[logging.LogRecord], None]) -> Iterator[None]:
    """Have every logger write all it can, as `logging.basicConfig(level=logging.DEBUG)` does."""

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            keep(record)

    root, handler = logging.getLogger(), Handler(logging.NOTSET)
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        root.removeHandler(handler)
        root.setLevel(level)


@contextlib.contextmanager
def _warnings_to(keep: Callable[[Any], None]) -> Iterator[None]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            yield
        finally:
            for warning in caught:
                keep(warning)


@contextlib.contextmanager
def _hooks_to(keep: Callable[[BaseException, str], None]) -> Iterator[None]:
    """Keep what would have been printed of a thread's or a finalizer's end."""

    def of_thread(said: Any) -> None:
        keep(said.exc_value, "a thread")

    def of_finalizer(said: Any) -> None:
        keep(said.exc_value, "a finalizer")

    before = threading.excepthook, sys.unraisablehook
    threading.excepthook, sys.unraisablehook = of_thread, of_finalizer
    try:
        yield
    finally:
        threading.excepthook, sys.unraisablehook = before


@contextlib.contextmanager
def printed(shown: Shown, where: str) -> Iterator[None]:
    """Keep what is written to stdout and stderr."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        yield
    shown.note(f"stdout of {where}", out.getvalue())
    shown.note(f"stderr of {where}", err.getvalue())
