"""Sections of a message, as FETCH BODY[…] names them (RFC 3501 §6.4.5)."""

from __future__ import annotations

import re
from collections.abc import Collection
from functools import lru_cache
from typing import Final

from mail_proto.message.headers import lines
from mail_proto.message.structure import Octets, Part

# Of one command: more names are compared with each line, so that no client fills the cache of patterns with long ones.
MAX_SEARCHED: Final = 50
MAX_SEARCHED_OCTETS: Final = 1_000
_NAME: Final = re.compile(rb"[^\x00-\x20:\x7f]+")
HEADER_TEXTS: Final = ("HEADER", "HEADER.FIELDS", "HEADER.FIELDS.NOT")


def section(
    octets: Octets, root: Part, path: tuple[int, ...], text: str | None, fields: tuple[bytes, ...] = ()
) -> bytes | None:
    """The octets of a section; None where the message has none of that name.

    `path` counts from 1, () is the message itself. `text`: None for the body of the part, or HEADER,
    HEADER.FIELDS, HEADER.FIELDS.NOT (of `fields`), TEXT, MIME.
    """
    if not path:
        return octets[:] if text is None else _of_message(octets, root, text, fields)
    part = find_part(root, path)
    if part is None:
        return None
    if text is None:
        return octets[part.body_start : part.body_end]
    if text == "MIME":
        return octets[part.header_start : part.body_start]
    if not part.is_message or not part.children:
        return None
    return _of_message(octets, part.children[0], text, fields)


def find_part(root: Part, path: tuple[int, ...]) -> Part | None:
    """The part numbered `path`. A message that is no multipart has one part, its body."""
    container: Part | None = root
    part = root
    for number in path:
        if container is None:
            return None
        parts = _parts(container)
        if number > len(parts):
            return None
        part = parts[number - 1]
        if part.is_multipart:
            container = part
        else:
            container = part.children[0] if part.is_message and part.children else None
    return part


def _parts(container: Part) -> tuple[Part, ...]:
    if not container.is_multipart:
        return (container,)
    # A multipart without parts is listed as one of no octets (summary): that one can be fetched.
    end = container.body_end
    return container.children or (Part(end, end, end, "text/plain"),)


def _of_message(octets: Octets, message: Part, text: str, fields: tuple[bytes, ...]) -> bytes | None:
    if text == "TEXT":
        return octets[message.body_start : message.body_end]
    header = octets[message.header_start : message.body_start]
    if text == "HEADER":
        return header
    if text in HEADER_TEXTS:
        return header_fields(header, fields, inverted=text == "HEADER.FIELDS.NOT")
    return None


def header_fields(header: bytes, names: Collection[bytes], *, inverted: bool = False) -> bytes:
    """The fields named (in any case), or all others, as they stand, and an empty line."""
    if not header.endswith(b"\n"):
        header += b"\r\n"
    if not inverted and len(names) <= MAX_SEARCHED and sum(map(len, names)) <= MAX_SEARCHED_OCTETS:
        found = _searching(frozenset(names)).findall(b"\n" + header)
        return b"\n".join([*found, b"\r\n"])
    wanted = {name.lower() for name in names}
    kept = [
        header[line.start : line.end]
        for line in lines(header)
        if line.name and (line.name.lower() in wanted) is not inverted
    ]
    return b"".join(kept) + b"\r\n"


@lru_cache(maxsize=64)
def _searching(names: frozenset[bytes]) -> re.Pattern[bytes]:
    """Finds the fields with these names, without their last line end: six times as fast as looking at each line."""
    # What is no field's name (`headers.lines`) is none here.
    wanted = sorted(re.escape(name) for name in names if _NAME.fullmatch(name)) or [rb"(?!)"]
    return re.compile(rb"\n((?:" + b"|".join(wanted) + rb")[ \t]*+:[^\n]*+(?:\n[ \t][^\n]*+)*+)", re.IGNORECASE)
