"""METADATA (RFC 5464): names of annotations, the commands, and the responses."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from mail_proto.imap import commands as c
from mail_proto.imap import render
from mail_proto.imap.cursor import Cursor
from mail_proto.imap.errors import SyntaxFault

# Ours: RFC 5464 §3.2 sets no limit.
MAX_NAME_OCTETS: Final = 255
MAX_ENTRIES: Final = 100
# No entries themselves (RFC 5464 §3.2).
_ABOVE: Final = re.compile(rb"/(private|shared)(/vendor(/[^/*%\x00-\x1f\x7f-\xff]+)?)?")
_QUOTABLE: Final = re.compile(rb"[\x20-\x7e]{0,500}")


def entry_name(octets: bytes) -> str:
    """In lower case, as they are compared (RFC 5464 §3.2).

    Raises SyntaxFault: it isn't below /private or /shared, has an empty component, or what isn't allowed in it.
    """
    name = octets.lower()
    _, *components = name.split(b"/")
    if len(name) > MAX_NAME_OCTETS or any(octet < 0x20 or octet > 0x7E or octet in b"*%" for octet in name):
        raise SyntaxFault("the name of an entry is ASCII, without * and %")
    if not name.startswith((b"/private/", b"/shared/")) or not all(components):
        raise SyntaxFault("the name of an entry is /private/… or /shared/…")
    if components[1] == b"vendor" and len(components) < 4:
        raise SyntaxFault("below /vendor there are a token and a name (RFC 5464 section 3.2)")
    return name.decode("ascii")


def _get(cursor: Cursor, name: str) -> c.Command:
    """getmetadata = "GETMETADATA" [SP getmetadata-options] SP mailbox SP entries    (RFC 5464 §5)

    The examples of §4.2 have the options behind the mailbox, and entries without parentheses: so do clients.
    """
    options: dict[str, int | None] = {}
    if cursor.looking_at(b"("):
        options = _options(cursor)
        cursor.space()
    mailbox = cursor.mailbox()
    cursor.space()
    if cursor.looking_at(b"(") and not options:
        at = cursor.at
        try:
            options = _options(cursor)
            cursor.space()
        except SyntaxFault:
            cursor.at = at
            options = {}
    if cursor.looking_at(b"("):
        entries = cursor.parenthesised(lambda: _sought(cursor.astring()))
    else:
        entries = [_sought(cursor.astring())]
        while cursor.skip(b" ") and not cursor.at_end:
            entries.append(_sought(cursor.astring()))
    if not 0 < len(entries) <= MAX_ENTRIES:
        raise SyntaxFault(f"1 to {MAX_ENTRIES} entries")
    depth = options.get("DEPTH", 0)
    return c.GetMetadata(mailbox, tuple(dict.fromkeys(entries)), options.get("MAXSIZE"), depth)


def _sought(octets: bytes) -> str:
    """An entry, or what there may be entries below: /private, /shared/vendor, … Raises SyntaxFault."""
    name = octets.lower()
    return name.decode("ascii") if _ABOVE.fullmatch(name) else entry_name(octets)


def _options(cursor: Cursor) -> dict[str, int | None]:
    """MAXSIZE and DEPTH (RFC 5464 §4.2.1, §4.2.2); infinity is None."""
    options: dict[str, int | None] = {}

    def option() -> None:
        label = cursor.keyword()
        cursor.space()
        match label:
            case "MAXSIZE":
                options[label] = cursor.number()
            case "DEPTH":
                depth = cursor.keyword()
                if depth not in {"0", "1", "INFINITY"}:
                    raise SyntaxFault("DEPTH is 0, 1 or infinity")
                options[label] = None if depth == "INFINITY" else int(depth)
            case _:
                raise SyntaxFault("the options are MAXSIZE and DEPTH")

    cursor.parenthesised(option)
    if not options:
        raise SyntaxFault("the options are MAXSIZE and DEPTH")
    return options


def _set(cursor: Cursor, name: str) -> c.Command:
    """setmetadata = "SETMETADATA" SP mailbox SP "(" entry-value *(SP entry-value) ")" """
    mailbox = cursor.mailbox()
    cursor.space()
    values: dict[str, bytes | None] = {}

    def entry_value() -> None:
        entry = entry_name(cursor.astring())
        cursor.space()
        values[entry] = _value(cursor)

    cursor.parenthesised(entry_value)
    if not 0 < len(values) <= MAX_ENTRIES:
        raise SyntaxFault(f"1 to {MAX_ENTRIES} entries")
    return c.SetMetadata(mailbox, values)


def _value(cursor: Cursor) -> bytes | None:
    """value = nstring / literal8; NIL removes."""
    if cursor.skip(b"NIL"):
        return None
    cursor.skip(b"~")
    return cursor.string()


def is_within(name: str, sought: str, depth: int | None) -> bool:
    """Whether the entry is `sought`, or at most so deep below it; None: however deep (RFC 5464 §4.2.2)."""
    if name == sought:
        return True
    if not name.startswith(sought + "/"):
        return False
    return depth is None or name.count("/") - sought.count("/") <= depth


def metadata(mailbox: bytes, values: Mapping[str, bytes | None]) -> bytes:
    """`* METADATA` with values; the mailbox as it is rendered."""
    pairs = b" ".join(b"%b %b" % (render.astring(name.encode()), _shown(value)) for name, value in values.items())
    return b"* METADATA " + mailbox + b" (" + pairs + b")\r\n"


def changed(mailbox: bytes, entries: Iterable[str]) -> bytes:
    """`* METADATA` that names what was set or removed (RFC 5464 §4.4.2)."""
    return b"* METADATA %b %b\r\n" % (mailbox, b" ".join(render.astring(entry.encode()) for entry in entries))


def _shown(value: bytes | None) -> bytes:
    if value is None:
        return b"NIL"
    if b"\0" in value:
        return b"~" + render.literal(value)
    if not _QUOTABLE.fullmatch(value):
        return render.literal(value)
    return b'"' + value.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'


COMMANDS: Final[dict[str, Callable[[Cursor, str], c.Command]]] = {"GETMETADATA": _get, "SETMETADATA": _set}
