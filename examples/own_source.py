"""A source of your own: here a table in SQLite that knows the current and the pending secret."""

import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

import requests

from partner_auth import Credential, PartnerAuth, SourceRejected, SourceUnavailable
from partner_auth.testing import PartnerServer


class TableSource:
    """Read one partner's row; a read runs in a thread of its own, so it may block."""

    def __init__(self, path: Path, partner: str) -> None:
        self.path, self.partner = path, partner

    def __repr__(self) -> str:
        return f"TableSource({self.partner!r})"  # shown in errors, log lines and status()

    def fetch(self) -> Credential:
        client_id, current, _ = self._row()
        return Credential(client_id, current)

    def alternates(self) -> list[Credential]:
        client_id, _, pending = self._row()
        return [Credential(client_id, pending, version="pending")] if pending else []

    def _row(self) -> tuple[str, str, str | None]:
        try:
            with closing(sqlite3.connect(self.path)) as table:
                query = "SELECT client_id, current, pending FROM secrets WHERE partner = ?"
                row = table.execute(query, (self.partner,)).fetchone()
        except sqlite3.OperationalError as error:  # not now: what is held goes on serving
            raise SourceUnavailable(f"{self!r}: {error}") from error
        if row is None:  # no: the secret was revoked
            raise SourceRejected(f"{self!r}: there is no such row", reason="not_found")
        return row


with (
    tempfile.TemporaryDirectory() as folder,
    closing(sqlite3.connect(Path(folder, "secrets.db"), isolation_level=None)) as table,
    PartnerServer() as partner,
    requests.Session() as session,
):
    table.execute("CREATE TABLE secrets (partner, client_id, current, pending)")
    table.execute("INSERT INTO secrets VALUES ('acme', 'acme', ?, NULL)", (partner.secret,))
    source = TableSource(Path(folder, "secrets.db"), "acme")
    session.auth = PartnerAuth(source, origins=partner.url)
    print("current:", session.get(f"{partner.url}/portfolio").status_code)

    new = "the-next-secret-of-at-least-32-bytes"
    table.execute("UPDATE secrets SET pending = ?", (new,))
    partner.rotate(new)
    print("pending:", session.get(f"{partner.url}/portfolio").status_code)
