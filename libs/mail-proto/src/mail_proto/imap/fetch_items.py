"""What FETCH asks for (RFC 9051 §6.4.5).

fetch-att = "ENVELOPE" / "FLAGS" / "INTERNALDATE" / "RFC822" [".HEADER" / ".SIZE" / ".TEXT"] / "BODY" ["STRUCTURE"] /
            "UID" / "BODY" section ["<" number "." nz-number ">"] / "BODY.PEEK" section ["<" number "." nz-number ">"] /
            "BINARY" [".PEEK"] section-binary ["<" number "." nz-number ">"] / "BINARY.SIZE" section-binary
section   = "[" [section-part ["." section-text] / section-msgtext] "]"       section-binary = "[" [section-part] "]"
fetch-att =/ "MODSEQ" (RFC 7162 §7) / "EMAILID" / "THREADID" (RFC 8474 §5) / "SAVEDATE" (RFC 8514 §4.2) /
             "PREVIEW" [SP "(" "LAZY" ")"] (RFC 8970 §6)
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Final

from mail_proto.imap.cursor import Cursor
from mail_proto.imap.errors import SyntaxFault

MAX_DEPTH: Final = 100
_NAMED: Final = frozenset(
    {
        *("ENVELOPE", "FLAGS", "INTERNALDATE", "RFC822.SIZE", "BODY", "BODYSTRUCTURE", "UID"),
        *("EMAILID", "THREADID", "SAVEDATE", "PREVIEW", "MODSEQ"),
    }
)
_MACROS: Final = {
    "FAST": ("FLAGS", "INTERNALDATE", "RFC822.SIZE"),
    "ALL": ("FLAGS", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE"),
    "FULL": ("FLAGS", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE", "BODY"),
}
_WORD: Final = re.compile(rb"[A-Za-z0-9.]+")
_PATH: Final = re.compile(rb"[1-9][0-9]{0,5}(?:\.[1-9][0-9]{0,5})*")
_PARTIAL: Final = re.compile(rb"<([0-9]{1,10})\.([1-9][0-9]{0,9})>")
_TEXTS: Final = ("HEADER.FIELDS.NOT", "HEADER.FIELDS", "HEADER", "TEXT", "MIME")


@dataclass(frozen=True, slots=True)
class Attribute:
    """An item that is known without the message's octets; `name` in upper case."""

    name: str


@dataclass(frozen=True, slots=True)
class Section:
    """Octets of a message. `label` is how the item is named in the reply, without the origin octet.

    `text` None: the body of the part; path () is the whole message. `partial`: (first octet, how many).
    """

    label: bytes
    path: tuple[int, ...] = ()
    text: str | None = None
    fields: tuple[bytes, ...] = ()
    partial: tuple[int, int] | None = None
    sets_seen: bool = True

    @property
    def is_header(self) -> bool:
        """Whether the summary's header is enough to answer it."""
        return self.path == () and self.text in ("HEADER", "HEADER.FIELDS", "HEADER.FIELDS.NOT")


@dataclass(frozen=True, slots=True)
class Binary:
    """A part without its content transfer encoding (RFC 9051 §6.4.5.1), or with `is_size` how many octets that has."""

    label: bytes
    path: tuple[int, ...] = ()
    partial: tuple[int, int] | None = None
    sets_seen: bool = True
    is_size: bool = False


FetchItem = Attribute | Section | Binary


def parse_fetch_items(cursor: Cursor) -> tuple[FetchItem, ...]:
    """A macro, one item, or a list of items. Raises SyntaxFault."""
    if cursor.looking_at(b"("):
        items = cursor.parenthesised(lambda: _item(cursor))
        if not items:
            raise SyntaxFault("no items to fetch")
        return tuple(dict.fromkeys(items))
    for macro, names in _MACROS.items():
        octets = macro.encode("ascii")
        following = cursor.octets[cursor.at + len(octets) :].strip(b" ")
        if cursor.looking_at(octets) and (following == b"" or following.startswith(b"(")):
            cursor.skip(octets)
            return tuple(Attribute(name) for name in names)
    return (_item(cursor),)


def peeked(items: tuple[FetchItem, ...]) -> tuple[FetchItem, ...]:
    """The same without setting \\Seen: for what is told without being asked for (RFC 5465 §5.2)."""
    return tuple(item if isinstance(item, Attribute) else replace(item, sets_seen=False) for item in items)


def parse_section(octets: bytes) -> Section:
    """What stands between the brackets of BODY[…]. Raises SyntaxFault."""
    cursor = Cursor(b"[" + octets + b"]")
    found = _section(cursor, sets_seen=False)
    cursor.end()
    return found


def _item(cursor: Cursor) -> FetchItem:
    found = _WORD.match(cursor.octets, cursor.at)
    word = found[0].decode("ascii").upper() if found else ""
    cursor.at += len(word)
    if word in ("BODY", "BODY.PEEK") and cursor.looking_at(b"["):
        return _section(cursor, sets_seen=word == "BODY")
    if word in ("BINARY", "BINARY.PEEK", "BINARY.SIZE") and cursor.looking_at(b"["):
        return _binary(cursor, word)
    if word == "PREVIEW" and cursor.skip(b" (LAZY)"):
        return Attribute(word)  # all are made beforehand: nothing is gained by leaving them out
    if word in _NAMED:
        return Attribute(word)
    match word:
        case "RFC822":
            return Section(b"RFC822")
        case "RFC822.HEADER":
            return Section(b"RFC822.HEADER", text="HEADER", sets_seen=False)
        case "RFC822.TEXT":
            return Section(b"RFC822.TEXT", text="TEXT")
    raise SyntaxFault(f"{word or 'this'} is nothing to fetch")


def _section(cursor: Cursor, *, sets_seen: bool) -> Section:
    cursor.expect(b"[")
    path = _path(cursor)
    if path and not cursor.looking_at(b"]"):
        cursor.expect(b".")
    text: str | None = None
    fields: tuple[bytes, ...] = ()
    if not cursor.looking_at(b"]"):
        text = next((text for text in _TEXTS if cursor.skip(text.encode("ascii"))), None)
        if text is None or (text == "MIME" and not path):
            raise SyntaxFault("there is no such section")
        if text.startswith("HEADER.FIELDS"):
            cursor.space()
            fields = tuple(cursor.parenthesised(cursor.astring))
            if not fields:
                raise SyntaxFault("no header fields are named")
    cursor.expect(b"]")
    label = b"BODY" + _label(path, text, fields)
    return Section(label, path, text, fields, _partial(cursor), sets_seen)


def _binary(cursor: Cursor, word: str) -> Binary:
    cursor.expect(b"[")
    path = _path(cursor)
    cursor.expect(b"]")
    is_size = word == "BINARY.SIZE"
    label = (b"BINARY.SIZE" if is_size else b"BINARY") + _label(path, None, ())
    return Binary(label, path, None if is_size else _partial(cursor), sets_seen=word == "BINARY", is_size=is_size)


def _path(cursor: Cursor) -> tuple[int, ...]:
    found = _PATH.match(cursor.octets, cursor.at)
    if found is None:
        return ()
    cursor.at = found.end()
    path = tuple(int(number) for number in found[0].split(b"."))
    if len(path) > MAX_DEPTH:
        raise SyntaxFault("the section is too deep")
    return path


def _partial(cursor: Cursor) -> tuple[int, int] | None:
    found = _PARTIAL.match(cursor.octets, cursor.at)
    if found is not None:
        cursor.at = found.end()
        return int(found[1]), int(found[2])
    if cursor.looking_at(b"<"):
        raise SyntaxFault(f"a partial is <first.count>, at octet {cursor.at}")
    return None


def _label(path: tuple[int, ...], text: str | None, fields: tuple[bytes, ...]) -> bytes:
    parts = [b"%d" % number for number in path]
    if text:
        parts.append(text.encode("ascii"))
    names = b" (" + b" ".join(_astring(name) for name in fields) + b")" if fields else b""
    return b"[" + b".".join(parts) + names + b"]"


def _astring(octets: bytes) -> bytes:
    if _WORD.fullmatch(octets.replace(b"-", b"").replace(b"_", b"")):
        return octets
    if octets.isascii() and octets.decode("ascii").isprintable():
        return b'"' + octets.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'
    return b"{%d}\r\n%b" % (len(octets), octets)
