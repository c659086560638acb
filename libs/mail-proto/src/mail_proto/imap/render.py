"""Values on the wire (RFC 3501 §9)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from mail_proto.imap import utf7

_ATOM: Final = re.compile(rb'[^\x00-\x20\x7f-\xff(){%*"\\\]]+')


def astring(octets: bytes) -> bytes:
    """As an atom where that is possible, else quoted, else as a literal."""
    if _ATOM.fullmatch(octets) and octets.upper() != b"NIL":
        return octets
    if octets.isascii() and octets.decode("ascii").isprintable():
        return b'"' + octets.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'
    return literal(octets)


def literal(octets: bytes) -> bytes:
    return b"{%d}\r\n%b" % (len(octets), octets)


def mailbox(name: str, *, is_utf8: bool = False) -> bytes:
    """A mailbox name, quoted as most servers do; in UTF-8 for clients that have enabled that."""
    octets = name.encode() if is_utf8 else utf7.encode(name)
    return b'"' + octets.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'


def nstring_text(text: str, *, is_utf8: bool = False) -> bytes:
    """Text of ours: quoted where that is possible, else as a literal."""
    octets = text.encode()
    if (is_utf8 or octets.isascii()) and text.isprintable():
        return b'"' + octets.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'
    return literal(octets)


def flags(names: Iterable[str]) -> bytes:
    """A parenthesised list of flags."""
    return b"(" + " ".join(names).encode("ascii") + b")"


def with_recent(rendered: bytes) -> bytes:
    """A parenthesised list of flags, with \\Recent (RFC 3501 §2.3.2)."""
    return rendered[:-1] + (b"\\Recent)" if rendered == b"()" else b" \\Recent)")
