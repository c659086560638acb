"""mbox files (RFC 4155, quoted as mboxrd), one for each mailbox; inferiors in folders `Name.sbd`, as in Thunderbird."""

from __future__ import annotations

import re
from datetime import UTC
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Self

from postroom_cli.targets.target import ExportedMessage, as_file

_FROM: Final = re.compile(rb"^(>*From )", re.MULTILINE)
_SEEN: Final = "\\seen"
_X_STATUS_OF: Final = {"\\answered": "A", "\\flagged": "F", "\\draft": "T", "\\deleted": "D"}


class MboxTarget:
    """One mbox file. A run that was interrupted leaves `.partial`, and the next one begins that file again."""

    def __init__(self, top: Path, mailbox: str) -> None:
        *superiors, name = [part.replace("\\", "_").lstrip(".") or "_" for part in mailbox.split("/")]
        folder = top.joinpath(*[f"{superior}.sbd" for superior in superiors])
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / name
        self._partial = folder / f".{name}.partial"
        self._whole = self._path.exists()
        self._file: BinaryIO | None = None

    def __enter__(self) -> Self:
        if not self._whole:
            self._file = self._partial.open("wb")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()
            if error is None:
                self._partial.rename(self._path)

    def has(self, message: ExportedMessage) -> bool:
        return self._whole

    def write(self, message: ExportedMessage, octets: bytes) -> None:
        assert self._file is not None
        received = message.received_at.astimezone(UTC).strftime("%a %b %d %H:%M:%S %Y")
        lines = _FROM.sub(rb">\1", as_file(octets))
        ending = b"\n" if lines.endswith(b"\n") else b"\n\n"
        self._file.write(f"From MAILER-DAEMON {received}\n{_status(message.flags)}".encode() + lines + ending)


def _status(flags: tuple[str, ...]) -> str:
    """The fields in which mbox readers look for flags."""
    known = {flag.lower() for flag in flags}
    letters = "".join(letter for flag, letter in _X_STATUS_OF.items() if flag in known)
    keywords = " ".join(flag for flag in flags if not flag.startswith("\\"))
    fields = ["Status: RO\n" if _SEEN in known else "Status: O\n"]
    fields += [f"X-Status: {letters}\n"] if letters else []
    fields += [f"X-Keywords: {keywords}\n"] if keywords else []
    return "".join(fields)
