"""A backup on disk: rows as NDJSON, one file for each account, and one file for the octets of each message.

manifest.json                    written last: without it the backup isn't whole
directory.ndjson  queue.ndjson
accounts/alice@example.test.ndjson
blobs/7f/01a211db-…-7f           by the end of the id: it is random, the beginning is the time
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, unquote

from postroom_cli.command import CommandError

FORMAT: Final = 1
_UNFINISHED: Final = ".unfinished"


class BackupFolder:
    """The files of one backup. What is written becomes visible whole or not at all."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._manifest = path / "manifest.json"

    def begin(self) -> None:
        """Make the folders; until `finish`, the backup isn't whole."""
        for folder in ("accounts", "blobs"):
            (self.path / folder).mkdir(parents=True, exist_ok=True)
        self._manifest.unlink(missing_ok=True)

    def finish(self, **content: Any) -> None:
        """Say that all is there."""
        self._write(self._manifest, json.dumps({"format": FORMAT, **content}, indent=2).encode() + b"\n")

    def manifest(self) -> dict[str, Any]:
        """Raises CommandError: the backup isn't whole, or of another version."""
        try:
            content: dict[str, Any] = json.loads(self._manifest.read_bytes())
        except (OSError, ValueError) as error:
            raise CommandError(f"{self.path}: no whole backup: {self._manifest.name} is missing") from error
        if content.get("format") != FORMAT:
            raise CommandError(f"{self.path}: a backup of format {content.get('format')}: use a newer postroom")
        return content

    def rows_file(self, name: str) -> Path:
        """Of the directory or the queue."""
        return self.path / f"{name}.ndjson"

    def account_file(self, address: str) -> Path:
        """Of one account."""
        return self.path / "accounts" / f"{quote(address, safe='@')}.ndjson"

    def accounts(self) -> list[str]:
        """Addresses of those that are here."""
        files = sorted((self.path / "accounts").glob("*.ndjson"))
        return [unquote(file.name.removesuffix(".ndjson")) for file in files]

    def write_rows(self, file: Path, octets: bytes) -> None:
        """Raises CommandError: the export was cut off."""
        end = json.loads(octets.rstrip().rpartition(b"\n")[2])
        if not end.get("end") or end["rows"] != octets.count(b"\n") - 2:
            raise CommandError(f"{file.name}: the export was cut off: run the command again")
        self._write(file, octets)

    def forget_accounts(self, but: Iterable[str]) -> None:
        """Remove the rows of accounts that are no more."""
        kept = {self.account_file(address) for address in but}
        for file in (self.path / "accounts").glob("*.ndjson"):
            if file not in kept:
                file.unlink()

    def blob_file(self, blob_id: str) -> Path:
        """The octets of one message."""
        return self.path / "blobs" / blob_id[-2:] / blob_id

    def write_blob(self, blob_id: str, octets: bytes) -> None:
        file = self.blob_file(blob_id)
        file.parent.mkdir(exist_ok=True)
        self._write(file, octets)

    def prune(self, kept: set[str]) -> int:
        """Remove the octets of messages that are in no account any more; returns how many."""
        removed = 0
        for file in (self.path / "blobs").glob("*/*"):
            if file.name not in kept:
                file.unlink()
                removed += 1
        return removed

    @staticmethod
    def _write(file: Path, octets: bytes) -> None:
        temporary = file.with_name(file.name + _UNFINISHED)
        with temporary.open("wb") as opened:
            opened.write(octets)
            opened.flush()
            os.fsync(opened.fileno())
        temporary.rename(file)


def blob_ids(rows: bytes) -> Iterator[str]:
    """Ids of the octets that rows refer to."""
    for line in rows.splitlines():
        row = json.loads(line).get("row", {})
        if row.get("blob_id") is not None:
            yield row["blob_id"]
