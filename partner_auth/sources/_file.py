"""A credential in a file, or in a directory of one file a field (Kubernetes, Docker, systemd)."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import unquote_to_bytes

from partner_auth._credentials import Credential, Secret
from partner_auth.exceptions import (
    ConfigurationError,
    CredentialInvalid,
    Failure,
    SourceRejected,
)
from partner_auth.sources._document import names_for_message
from partner_auth.sources._fields import (
    ALTERNATES,
    FIELD_PARAMS,
    Fields,
    read_timeout,
)
from partner_auth.sources._regular import read_regular, settled, stamp
from partner_auth.sources._url import SourceURL, path_segments

_LAST_SECOND = 253_402_300_799  # that a datetime can hold; some file systems hold more


@dataclass(frozen=True)
class _Content:
    """What was read at one time: a document, or the values by file name."""

    document: Secret | None
    files: dict[str, Secret]
    version: str | None


class FileSource:
    """Read the credential from a file or a directory at each refresh.

    A file holds JSON or the key alone. A directory holds one file a field: `client_id`,
    `secret_key`, and where wanted `secret_key_next`, `secret_key_previous`, `key_id`, `version`,
    `refresh_at`, `expires_at`; names that begin with `..` are Kubernetes' own. A change is seen
    within about a second. Replace a file by rename: of one that is rewritten in place half may be
    read.

    Args:
        path: of the file or directory; a relative one counts from the working directory of now.
        client_id: the client id, where the file holds the key alone.
        client_id_field: the field (a dotted path) or, in a directory, the file of the client id.
        secret_key_field: likewise of the key.
        secret_key_encoding: `base64`, `base64url` or `hex`, if the key is stored so.
        timeout: taken for the sake of the other sources; a local file answers at once.

    Raises:
        ConfigurationError: an argument is wrong.
    """

    absence_is_transient = True  # a file that goes away says nothing about the partner's secret
    _path, _fields = Path(), Fields()  # what repr shows of one that was refused

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        client_id: str | None = None,
        client_id_field: str | None = None,
        secret_key_field: str | None = None,
        secret_key_encoding: str | None = None,
        timeout: float | str | timedelta | None = None,
    ) -> None:
        self._path = _absolute(path)
        self._fields = Fields(client_id, client_id_field, secret_key_field, secret_key_encoding)
        read_timeout(timeout)

    def __repr__(self) -> str:
        return f"FileSource({', '.join([repr(str(self._path)), *self._fields.options()])})"

    def fetch(self) -> Credential:
        """Read the credential.

        Raises:
            SourceRejected: there is no such file, or it may not be read.
            SourceUnavailable: the file system fails.
            CredentialInvalid: what stands there is no credential.
            ConfigurationError: the path is neither a regular file nor a directory.
        """
        content = settled(self.fingerprint, self._current)
        if isinstance(content, Failure):
            raise content.error()
        credential = self._fields.credential(
            content.document, source=repr(self), beside=content.files
        )
        if credential.version is not None:
            return credential
        return replace(credential, version=content.version)

    def alternates(self) -> Sequence[Credential]:
        """Read the keys `secret_key_next` and `secret_key_previous`; what can't be read is none.

        Raises:
            CredentialError: the file can't be read, or all that it holds of them.
            ConfigurationError: the path is neither a regular file nor a directory.
        """
        content = settled(self.fingerprint, self._around)
        if isinstance(content, Failure):
            raise content.error()
        return self._fields.alternates(content.document, source=repr(self), beside=content.files)

    def fingerprint(self) -> object:
        """Return what `stat` says of the files that would be read."""
        if not _is_directory(self._path):
            return os.path.realpath(self._path), stamp(self._path)
        base = self._generation()
        names = dict.fromkeys((*self._names(), *self._names(*ALTERNATES)))
        return base, *(stamp(base / name) for name in names)

    def _current(self) -> _Content | Failure:
        if not _is_directory(self._path):
            return self._document()
        base = self._generation()
        fields = self._fields
        files = self._files(base, self._names())
        failed = next((found for found in files.values() if isinstance(found, Failure)), None)
        if failed is not None:
            return failed
        if fields.key_path not in files:
            return self._incomplete(base, fields.key_path, "secret_key_field=")
        if fields.client_id is None and fields.id_path not in files:
            return self._incomplete(base, fields.id_path, "client_id_field= or client_id=")
        generation = base.name.lstrip(".") if base != self._path else None
        return _Content(None, _read(files), generation or _modified(base / fields.key_path))

    def _around(self) -> _Content | Failure:
        if not _is_directory(self._path):
            return self._document()
        files = self._files(self._generation(), self._names(*ALTERNATES))
        return _Content(None, _read(files), None)

    def _document(self) -> _Content | Failure:
        document = read_regular(self._path, repr(self))
        if isinstance(document, Failure):
            return document
        return _Content(document, {}, _modified(self._path))

    def _files(self, base: Path, names: Iterable[str]) -> dict[str, Secret | Failure]:
        """Read those that are there."""
        found = {name: self._file(base, name) for name in names}
        return {
            name: content
            for name, content in found.items()
            if isinstance(content, Secret) or content.reason != "not_found"
        }

    def _file(self, base: Path, name: str) -> Secret | Failure:
        if Path(name).name == name:
            return read_regular(base / name, repr(self))
        text = f"{self!r}: a field of a directory is the name of a file, not a path"
        return Failure.of(ConfigurationError, text)

    def _incomplete(self, base: Path, name: str, option: str) -> Failure:
        try:
            there = {entry.name for entry in base.iterdir() if not entry.name.startswith("..")}
        except OSError:
            text = f"{self!r}: the directory has no file {name!r} and may not be listed"
            return Failure.of(SourceRejected, text, reason="not_found")
        if not there:
            text = f"{self!r}: the directory is empty: write the files {self._wanted()} into it"
            return Failure.of(SourceRejected, text, reason="not_found")
        shown = names_for_message(there)
        text = f"{self!r}: the directory has no file {name!r}, only {shown}: give {option}"
        return Failure.of(CredentialInvalid, text)

    def _wanted(self) -> str:
        key = self._fields.key_path
        return key if self._fields.client_id is not None else f"{self._fields.id_path} and {key}"

    def _generation(self) -> Path:
        """Resolve Kubernetes' link `..data` once: all files below it are of one generation."""
        try:
            return self._path / (self._path / "..data").readlink()
        except OSError:
            return self._path

    def _names(self, *labels: str) -> list[str]:
        """Return the files of the credential in use, or of the alternates with these labels."""
        fields = self._fields
        names = ["key_id"] if fields.client_id is not None else ["key_id", fields.id_path]
        if not labels:
            return [*names, fields.key_path, "version", "refresh_at", "expires_at"]
        stems = (fields.key_path, "secret_key", "key_id")
        return [*names, *dict.fromkeys(f"{stem}_{label}" for label in labels for stem in stems)]


def from_url(url: SourceURL) -> FileSource:
    """Return the source of `file:///path`; a slash at the end is of no meaning.

    Raises:
        ConfigurationError: another host is named, the path is none, or a parameter is wrong.
    """
    host, slash, path = url.location.partition("/")
    if host.lower() not in ("", "localhost") or not slash:
        raise ConfigurationError("file:// is followed by an absolute path: file:///run/secrets/x")
    decoded = os.fsdecode(unquote_to_bytes(path.removesuffix("/")))
    path_segments(decoded, "file://")
    return FileSource("/" + decoded, **url.keywords(*FIELD_PARAMS))


def _absolute(path: object) -> Path:
    if not isinstance(path, (str, os.PathLike)):
        raise ConfigurationError(f"FileSource takes a path, not {type(path).__name__}")
    text = os.fsdecode(path)
    if not text or "\0" in text:
        raise ConfigurationError("FileSource takes a path, not an empty text or one with a NUL")
    try:
        return Path(text).absolute()
    except OSError:
        pass
    raise ConfigurationError("FileSource: there is no working directory, so give a whole path")


def _is_directory(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # a directory above it may not be entered: the read will say so
        return False


def _read(files: dict[str, Secret | Failure]) -> dict[str, Secret]:
    return {name: content for name, content in files.items() if isinstance(content, Secret)}


def _modified(path: Path) -> str | None:
    """Name a plain file's version by its time, in UTC."""
    found = stamp(path)
    if found is None:
        return None
    seconds = min(max(0, found[-1] // 10**9), _LAST_SECOND)
    return datetime.fromtimestamp(seconds, UTC).isoformat()
