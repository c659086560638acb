"""What SEARCH looks at in a message (RFC 9051 §6.4.4): decoded from any charset and encoding, and folded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from mail_proto.fold import fold
from mail_proto.message.headers import decode, fields
from mail_proto.message.structure import Octets, Part, walk
from mail_proto.message.text import searchable

# Ours: header of the message, and those of its parts together. What comes later isn't found.
MAX_HEADER_OCTETS: Final = 262_144
# Signatures, keys and pictures in base64: TEXT passes over them, HEADER finds them (docs/divergences.md). They'd make
# most of the words of an index, and nobody types them.
OPAQUE_FIELDS: Final = frozenset(
    {
        "arc-message-signature",
        "arc-seal",
        "autocrypt",
        "dkim-signature",
        "domainkey-signature",
        "face",
        "x-face",
        "x-gm-message-state",
        "x-google-dkim-signature",
        "x-microsoft-antispam-message-info",
        "x-ms-exchange-antispam-messagedata",
        "x-ms-exchange-antispam-messagedata-0",
        "x-sg-eid",
        "x-sg-id",
    }
)


@dataclass(frozen=True, slots=True)
class SearchText:
    """Everything is folded. `header`: what TEXT looks at, a line `name: value` with LF for each field.

    `parts`: the same for the headers of all parts but the message itself. `opaque`: OPAQUE_FIELDS. `body`: the text.
    """

    header: str = ""
    parts: str = ""
    opaque: str = ""
    body: str = ""

    def values(self, name: str) -> list[str]:
        """The values of the message's header fields of that (folded) name."""
        start = f"{name}: "
        section = self.opaque if name in OPAQUE_FIELDS else self.header
        return [line[len(start) :] for line in section.split("\n") if line.startswith(start)]


def search_text(octets: Octets, root: Part) -> SearchText:
    """Never raises. Time is linear in the number of octets."""
    head = header_text(bytes(octets[: min(root.body_start, MAX_HEADER_OCTETS)]))
    return replace(head, parts="".join(_part_lines(octets, root)), body=fold(searchable(octets, root)))


def header_text(octets: bytes) -> SearchText:
    """The same of the message's header alone."""
    opaque: list[str] = []
    header: list[str] = []
    for name, line in _lines(octets[:MAX_HEADER_OCTETS]):
        (opaque if name in OPAQUE_FIELDS else header).append(line)
    return SearchText(header="".join(header), opaque="".join(opaque))


def _part_lines(octets: Octets, root: Part) -> Iterator[str]:
    left = MAX_HEADER_OCTETS
    for part in walk(root):
        if part is not root and left > 0:
            part_header = bytes(octets[part.header_start : min(part.body_start, part.header_start + left)])
            left -= len(part_header)
            yield from (line for name, line in _lines(part_header) if name not in OPAQUE_FIELDS)


def _lines(header: bytes) -> Iterator[tuple[str, str]]:
    for octets, value in fields(header):
        name = fold(octets.decode("latin-1"))
        yield name, f"{name}: {fold(one_line(decode(value)))}\n"


def one_line(text: str) -> str:
    """Without line ends: an encoded word may bring some."""
    return text.replace("\r", " ").replace("\n", " ")
