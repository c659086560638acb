"""A Maildir++: INBOX at its top, `.Name.Inferior` for the others; what Dovecot, mutt and this command read."""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from mail_proto.imap import utf7
from postroom_cli.targets.target import ExportedMessage, as_file

_LETTER_OF: Final = {
    "\\draft": "D", "\\flagged": "F", "$forwarded": "P", "\\answered": "R", "\\seen": "S", "\\deleted": "T",
}  # fmt: skip
# Letters a to z name keywords in Dovecot's list.
MAX_KEYWORDS: Final = 26


class MaildirTarget:
    """One folder of a Maildir++."""

    def __init__(self, top: Path, mailbox: str) -> None:
        name = utf7.encode(mailbox.replace(".", "_").replace("/", ".")).decode("ascii")
        self._folder = top if mailbox == "INBOX" else top / f".{name}"
        for part in ("cur", "new", "tmp"):
            (self._folder / part).mkdir(parents=True, exist_ok=True)
        if mailbox != "INBOX":
            (self._folder / "maildirfolder").touch()
        self._written = {file.name.partition(":")[0] for file in (self._folder / "cur").iterdir()}
        self._keywords = self._read_keywords()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Each message is whole as soon as it is there."""

    def has(self, message: ExportedMessage) -> bool:
        return self._unique(message) in self._written

    def write(self, message: ExportedMessage, octets: bytes) -> None:
        """Under a temporary name first, so that what stands in `cur` is whole."""
        unique = self._unique(message)
        temporary = self._folder / "tmp" / unique
        temporary.write_bytes(as_file(octets))
        received = message.received_at.timestamp()
        os.utime(temporary, (received, received))
        temporary.rename(self._folder / "cur" / f"{unique}:2,{self._letters(message.flags)}")
        self._written.add(unique)

    @staticmethod
    def _unique(message: ExportedMessage) -> str:
        return f"{int(message.received_at.timestamp())}.U{message.uid}_{message.id}.postroom"

    def _letters(self, flags: tuple[str, ...]) -> str:
        letters = [_LETTER_OF.get(flag.lower()) or self._keyword_letter(flag) for flag in flags]
        return "".join(sorted(filter(None, letters)))

    def _keyword_letter(self, keyword: str) -> str:
        if keyword not in self._keywords:
            if len(self._keywords) == MAX_KEYWORDS:
                return ""
            self._keywords.append(keyword)
            lines = "".join(f"{number} {known}\n" for number, known in enumerate(self._keywords))
            (self._folder / "dovecot-keywords").write_text(lines)
        return chr(ord("a") + self._keywords.index(keyword))

    def _read_keywords(self) -> list[str]:
        file = self._folder / "dovecot-keywords"
        return [line.split(maxsplit=1)[1] for line in file.read_text().splitlines()] if file.exists() else []
