"""A scheme of your own: `PartnerAuth("sqlite:///var/lib/partner.db?client=acme")`."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from partner_auth import ConfigurationError, Credential, SourceRejected, SourceUnavailable


class SqliteSource:
    """The newest row of table `secrets (client_id, secret_key, version)` for one client."""

    def __init__(self, path: str, client: str) -> None:
        """Open nothing yet: a source is made in passing, and asked in a thread of its own."""
        self._path, self._client = Path(path), client

    def __repr__(self) -> str:
        return f"SqliteSource({str(self._path)!r}, {self._client!r})"

    def fetch(self) -> Credential:
        """Return the newest credential."""
        return self._credentials(1)[0]

    def alternates(self) -> list[Credential]:
        """Return the one before: it may still be valid around a rotation."""
        return self._credentials(2)[1:]

    def fingerprint(self) -> object:
        """Return what a change of the file changes: it is used within about a second."""
        stat = self._path.stat()
        return stat.st_ino, stat.st_size, stat.st_mtime_ns

    def _credentials(self, most: int) -> list[Credential]:
        query = "SELECT client_id, secret_key, version FROM secrets WHERE client_id = ? ORDER BY version DESC LIMIT ?"
        try:
            with closing(
                sqlite3.connect(f"{self._path.absolute().as_uri()}?mode=ro", uri=True)
            ) as db:
                found = [
                    Credential(i, k, version=str(v))
                    for i, k, v in db.execute(query, (self._client, most))
                ]
        except sqlite3.Error as error:
            raise SourceUnavailable(f"{self!r}: {type(error).__name__}") from None
        if not found:
            raise SourceRejected(f"{self!r}: no row for that client", reason="not_found")
        return found


def from_url(url: str) -> SqliteSource:
    """Make a source of its URL; a `SourceURL` is a str with the parts taken out."""
    client = url.keywords("client").get("client")
    if client is None:
        raise ConfigurationError("sqlite:// wants a client: sqlite:///path/to.db?client=acme")
    return SqliteSource(url.location, client)
