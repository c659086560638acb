"""Strings, lists and addresses in IMAP's wire form (RFC 9051 §4.3, §7.5.2).

nstring = string / nil          string = quoted / literal          literal = "{" number "}" CRLF *CHAR8
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

from mail_proto.message.address_list import ListedAddress

NIL: Final = b"NIL"
# Ours: longer quoted strings would make lines that some clients refuse.
MAX_QUOTED_OCTETS: Final = 1_000

_PLAIN: Final = re.compile(rb"[\x01-\x09\x0b\x0c\x0e-\x21\x23-\x5b\x5d-\x7f]*+")
_QUOTABLE: Final = re.compile(rb"[\x01-\x09\x0b\x0c\x0e-\x7f]*+")
_QUOTED_SPECIAL: Final = re.compile(rb'(["\\])')


def string(value: bytes) -> bytes:
    """Quoted where that is allowed, else a literal. NUL is left out: no form of string may have it."""
    if len(value) <= MAX_QUOTED_OCTETS and _PLAIN.fullmatch(value):
        return b'"%b"' % value
    value = value.replace(b"\x00", b"") if b"\x00" in value else value
    if len(value) <= MAX_QUOTED_OCTETS and _QUOTABLE.fullmatch(value):
        return b'"' + _QUOTED_SPECIAL.sub(rb"\\\1", value) + b'"'
    return b"{%d}\r\n%b" % (len(value), value)


def nstring(value: bytes | None) -> bytes:
    return NIL if value is None else string(value)


def pairs(parameters: Iterable[tuple[bytes, bytes]]) -> bytes:
    """body-fld-param: `("name" "value" …)` or NIL."""
    items = [string(item) for pair in parameters for item in pair]
    return b"(" + b" ".join(items) + b")" if items else NIL


def rendered_addresses(listed: Sequence[ListedAddress]) -> bytes:
    """An address list of ENVELOPE: `((name adl mailbox host)(…))` without spaces between, or NIL if it is empty."""
    if not listed:
        return NIL
    return b"(%b)" % b"".join([_rendered(*address) for address in listed])


def _rendered(name: bytes | None, route: bytes | None, mailbox: bytes | None, host: bytes | None) -> bytes:
    """One address; nearly all of them have nothing that needs a look of its own."""
    if route is None and mailbox is not None and host is not None:
        together = mailbox + host if name is None else b"%b%b%b" % (name, mailbox, host)
        if len(together) <= MAX_QUOTED_OCTETS and _PLAIN.fullmatch(together):
            if name is None:
                return b'(NIL NIL "%b" "%b")' % (mailbox, host)
            return b'("%b" NIL "%b" "%b")' % (name, mailbox, host)
    return b"(%b %b %b %b)" % (nstring(name), nstring(route), nstring(mailbox), nstring(host))
