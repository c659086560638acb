"""Maildirs, with Maildir++ folders, flags in the file names, and Dovecot's keywords."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

from mail_proto.imap import utf7
from postroom_cli.sources.source import SourceFault, SourceMessage, with_crlf

_FLAG_OF: Final = {
    "S": "\\Seen",
    "R": "\\Answered",
    "F": "\\Flagged",
    "D": "\\Draft",
    "T": "\\Deleted",
    "P": "$Forwarded",
}


def is_maildir(path: Path) -> bool:
    """Whether it has the folders of a Maildir."""
    return (path / "cur").is_dir() and (path / "new").is_dir()


class MaildirSource:
    """Messages of a Maildir and its folders; files aren't changed."""

    def __init__(self, path: Path, into: str) -> None:
        """Raises SourceFault: there is no Maildir."""
        if not is_maildir(path):
            raise SourceFault(f"{path}: no Maildir: it would hold the folders cur and new")
        self._folders = {into: path}
        for folder in sorted(path.iterdir()):
            if folder.name.startswith(".") and is_maildir(folder):
                self._folders[_name(folder.name[1:])] = folder

    def count(self) -> int:
        return sum(1 for _, folder in self._folders.items() for _ in _files(folder))

    def messages(self) -> Iterator[SourceMessage]:
        for name, folder in self._folders.items():
            keywords = _keywords(folder)
            for file in sorted(_files(folder), key=lambda file: file.name):
                unique, _, info = file.name.partition(":2,")
                yield SourceMessage(
                    name,
                    f"maildir:{name}:{unique}",
                    tuple(flag for letter in info if (flag := _FLAG_OF.get(letter) or keywords.get(letter))),
                    datetime.fromtimestamp(int(file.stat().st_mtime), UTC),
                    partial(_read, file),
                )


def _files(folder: Path) -> Iterator[Path]:
    for part in ("cur", "new"):
        yield from (file for file in (folder / part).iterdir() if file.is_file() and not file.name.startswith("."))


def _read(file: Path) -> bytes:
    return with_crlf(file.read_bytes())


def _name(text: str) -> str:
    """Maildir++ has `.` between the levels, and modified UTF-7 unless Dovecot was told otherwise."""
    try:
        return utf7.decode(text.encode()).replace(".", "/")
    except ValueError:
        return text.replace(".", "/")


def _keywords(folder: Path) -> dict[str, str]:
    """Letter → keyword: lines `0 $Junk`, the number counting from `a` (Dovecot's dovecot-keywords)."""
    try:
        lines = (folder / "dovecot-keywords").read_text().splitlines()
    except OSError:
        return {}
    pairs = (line.split(maxsplit=1) for line in lines)
    return {chr(ord("a") + int(pair[0])): pair[1] for pair in pairs if len(pair) == 2 and pair[0].isdigit()}
