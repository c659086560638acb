"""A message of BINARYMIME for what is made of lines: parts that aren't become base64 (RFC 3030 §4, RFC 2045 §6).

Behind SMTP everything is lines with CRLF: IMAP literals without NUL, POP3, servers that know 8BITMIME only.
"""

from __future__ import annotations

import base64
import re
from typing import Final

from mail_proto.message.structure import Part, scan
from mail_proto.smtp.content import MAX_LINE_OCTETS, has_bare_line_ends, has_longer_line

_ENCODING: Final = re.compile(rb"(?im)^content-transfer-encoding[ \t]*:([^\n]*(?:\n[ \t][^\n]*)*)\n")
_VERSION: Final = re.compile(rb"(?im)^mime-version[ \t]*:")
_IDENTITIES: Final = frozenset({b"7bit", b"8bit", b"binary"})


class NotLineBased(Exception):
    """Octets that no encoding can hide: in a header, between parts, in what claims to be encoded."""


def line_based(message: bytes) -> bytes:
    """The same contents in lines; parts that have them keep their octets. Raises NotLineBased.

    Signatures over what was binary don't survive it: check them before.
    """
    root = scan(message)
    converted = _converted(message, root)
    if len(converted) != len(message) and not _VERSION.search(message[: root.body_start]):
        converted = b"MIME-Version: 1.0\r\n" + converted
    if not _is_lines(converted):
        raise NotLineBased("there are octets that make no lines outside of the bodies")
    return converted


def _is_lines(octets: bytes) -> bool:
    return not (has_bare_line_ends(octets) or b"\0" in octets or has_longer_line(octets, MAX_LINE_OCTETS))


def _converted(message: bytes, part: Part) -> bytes:
    header, body = message[part.header_start : part.body_start], message[part.body_start : part.body_end]
    found = _ENCODING.search(header)
    encoding = found[1].strip().lower() if found else b"7bit"
    if part.children:
        return _relabelled(header, encoding, b"8bit") + _inside(message, part)
    if _is_lines(body):
        return _relabelled(header, encoding, b"8bit") + body
    if encoding not in _IDENTITIES:
        raise NotLineBased("a part isn't encoded as it says")
    return _with_encoding(header, b"base64") + base64.encodebytes(body).replace(b"\n", b"\r\n")


def _inside(message: bytes, part: Part) -> bytes:
    """The children, and what stands between them, which stays as it is."""
    pieces, at = [], part.body_start
    for child in part.children:
        pieces += [message[at : child.header_start], _converted(message, child)]
        at = child.body_end
    return b"".join([*pieces, message[at : part.body_end]])


def _relabelled(header: bytes, encoding: bytes, lowered: bytes) -> bytes:
    return _with_encoding(header, lowered) if encoding == b"binary" else header


def _with_encoding(header: bytes, encoding: bytes) -> bytes:
    field = b"Content-Transfer-Encoding: " + encoding + b"\r\n"
    if _ENCODING.search(header):
        return _ENCODING.sub(lambda found: field, header)
    return field + header
