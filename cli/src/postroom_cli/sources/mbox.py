"""mbox files, one or a folder of them (RFC 4155), quoted as mboxrd; flags as Dovecot, mutt, Thunderbird keep them."""

from __future__ import annotations

import mailbox
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from postroom_cli.sources.source import SourceFault, SourceMessage, with_crlf

_QUOTED_FROM: Final = re.compile(rb"^>(>*From )", re.MULTILINE)
_HEADER_END: Final = re.compile(rb"\r?\n\r?\n")
_STATUS: Final = re.compile(rb"^(X-Status|Status|X-Mozilla-Status|X-Keywords):[ \t]*([^\r\n]*)\r?\n", re.I | re.M)
_FLAG_OF: Final = {"R": "\\Seen", "A": "\\Answered", "F": "\\Flagged", "T": "\\Draft", "D": "\\Deleted"}
# nsMsgMessageFlags of Thunderbird.
_MOZILLA: Final = ((0x1, "\\Seen"), (0x2, "\\Answered"), (0x4, "\\Flagged"))
_MOZILLA_EXPUNGED: Final = 0x8
_STARTS: Final = b"From "


def find_mboxes(path: Path, into: str) -> dict[str, Path]:
    """Mailbox name → file. A folder is read as Thunderbird lays it out: `Name`, with inferiors in `Name.sbd`.

    Raises SourceFault: nothing there is an mbox.
    """
    if path.is_file():
        found = {into: path} if is_mbox(path) else {}
    else:
        found = {
            "/".join(part.removesuffix(".sbd").removesuffix(".mbox") for part in file.relative_to(path).parts): file
            for file in sorted(path.rglob("*"))
            if file.is_file() and is_mbox(file)
        }
    if not found:
        raise SourceFault(f"{path}: no mbox: its first line would begin with 'From '")
    return found


def is_mbox(file: Path) -> bool:
    """Whether a file begins as an mbox does. An empty one holds no mail."""
    with file.open("rb") as opened:
        return opened.read(len(_STARTS)) == _STARTS


class MboxSource:
    """Messages of mbox files, which aren't changed. Use as `with MboxSource(files) as source`."""

    def __init__(self, files: dict[str, Path]) -> None:
        self._files = files

    def __enter__(self) -> MboxSource:
        self._boxes = {name: mailbox.mbox(path, create=False) for name, path in self._files.items()}
        return self

    def __exit__(self, *_: object) -> None:
        for box in self._boxes.values():
            box.close()

    def count(self) -> int:
        return sum(len(box) for box in self._boxes.values())

    def messages(self) -> Iterator[SourceMessage]:
        for name, box in self._boxes.items():
            for number, key in enumerate(box.iterkeys()):
                message = _message(name, number, box.get_bytes(key, from_=True))
                if message is not None:
                    yield message


def _message(name: str, number: int, octets: bytes) -> SourceMessage | None:
    """None: Thunderbird deleted it, and hasn't compacted the file."""
    from_line, _, octets = octets.partition(b"\n")
    end = _HEADER_END.search(octets)
    header = octets[: end.end()] if end else octets
    status = {field.lower(): value.decode("ascii", "replace").strip() for field, value in _STATUS.findall(header)}
    mozilla = int(status.get(b"x-mozilla-status", "0"), 16) if _is_hex(status.get(b"x-mozilla-status", "0")) else 0
    if mozilla & _MOZILLA_EXPUNGED:
        return None
    flags = [
        flag for letter, flag in _FLAG_OF.items() if letter in status.get(b"status", "") + status.get(b"x-status", "")
    ]
    flags += [flag for bit, flag in _MOZILLA if mozilla & bit]
    flags += status.get(b"x-keywords", "").split()
    body = _QUOTED_FROM.sub(rb"\1", _STATUS.sub(b"", header) + octets[len(header) :])
    return SourceMessage(
        name, f"mbox:{name}:{number}", tuple(dict.fromkeys(flags)), _from_line_date(from_line), lambda: with_crlf(body)
    )


def _is_hex(text: str) -> bool:
    return re.fullmatch(r"[0-9a-fA-F]+", text) is not None


def _from_line_date(line: bytes) -> datetime | None:
    """The asctime at the end of a `From ` line, in UTC (RFC 4155, Appendix A)."""
    words = line.decode("latin-1").split()[-5:]
    try:
        return datetime.strptime(" ".join(words), "%a %b %d %H:%M:%S %Y").replace(tzinfo=UTC)
    except ValueError:
        return None
