"""The parts of a message that have contents of their own: texts to read, attachments, images in the text.

What counts as what follows RFC 8621 §4.1.4: a body is a text that isn't declared an attachment and comes where a
reader expects it; an inline part belongs to a multipart/related and is named by a Content-ID; all else is attached.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from mail_proto.message.body_structure import DescribedPart
from mail_proto.message.parameters import text_of
from mail_proto.message.structure import Part

Role = Literal["text", "html", "inline", "attachment"]

# Ours: file systems allow 255 octets.
MAX_NAME_LENGTH: Final = 200
_UNSAFE: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]+")


@dataclass(frozen=True, slots=True)
class Leaf:
    """`path` is its section (`1.2`). `name`: a bare file name, empty where there is none. `content_id`: no brackets."""

    path: str
    described: DescribedPart
    role: Role
    name: str
    content_id: str

    @property
    def part(self) -> Part:
        return self.described.part


def leaves(described: Sequence[DescribedPart]) -> list[Leaf]:
    """Leaves in the order of the message; an embedded message is one, what is inside of it isn't looked at."""
    found: list[Leaf] = []
    following = iter(described)
    # The path of each part to come, and the type of the multipart that it is in.
    pending: list[tuple[str, str]] = [("", "")]
    hidden = 0  # parts that are inside of embedded messages
    for one in following:
        if hidden:
            hidden += len(one.part.children) - 1
            continue
        path, container = pending.pop()
        if one.part.is_multipart:
            prefix = path + "." if path else ""
            count = len(one.part.children)
            pending.extend((f"{prefix}{n}", one.part.media_type) for n in range(count, 0, -1))
            continue
        hidden = len(one.part.children)
        found.append(_leaf(path or "1", one, container))
    return found


def _leaf(path: str, one: DescribedPart, container: str) -> Leaf:
    name = file_name(one)
    content_id = one.values.get(b"content-id", b"").strip(b"<> \t").decode("utf-8", "replace")
    shown = one.disposition[0].lower() if one.disposition else b""
    role: Role = "attachment"
    if shown != b"attachment":
        if one.part.media_type in ("text/plain", "text/html") and not name:
            role = "html" if one.part.media_type == "text/html" else "text"
        elif content_id and (container == "multipart/related" or shown == b"inline"):
            role = "inline"
    return Leaf(path, one, role, name, content_id)


def file_name(one: DescribedPart) -> str:
    """The name that a part's sender gave it (RFC 2183 §2.3): without directories and characters that deceive."""
    name = text_of(one.disposition[1], b"filename") if one.disposition else None
    if name is None:
        name = text_of(one.media_type.parameters, b"name") or ""
    name = _UNSAFE.sub("", name.replace("\\", "/").rpartition("/")[2]).strip(" .")
    if len(name) <= MAX_NAME_LENGTH:
        return name
    stem, dot, extension = name.rpartition(".")
    return f"{stem[: MAX_NAME_LENGTH - 20]}{dot}{extension}" if dot and len(extension) < 20 else name[:MAX_NAME_LENGTH]
