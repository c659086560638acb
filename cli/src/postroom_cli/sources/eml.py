"""Folders of message files (`.eml`), a mailbox for each folder: what hMailServer, Windows clients and exports leave."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from postroom_cli.sources.source import SourceFault, SourceMessage, date_of, with_crlf


class EmlSource:
    """Messages of `.eml` files below a folder, or of one file. They are seen, and dated by their own header."""

    def __init__(self, path: Path, into: str) -> None:
        """Raises SourceFault: there are none."""
        self._into = into
        self._top = path if path.is_dir() else path.parent
        self._files = [path] if path.is_file() else sorted(path.rglob("*.[eE][mM][lL]"))
        if not self._files:
            raise SourceFault(f"{path}: no .eml files below")

    def count(self) -> int:
        return len(self._files)

    def messages(self) -> Iterator[SourceMessage]:
        for file in self._files:
            within = file.relative_to(self._top)
            octets = with_crlf(file.read_bytes())
            yield SourceMessage(
                "/".join(within.parts[:-1]) or self._into,
                f"eml:{within}",
                ("\\Seen",),
                date_of(octets),
                lambda octets=octets: octets,  # type: ignore[misc]
            )
