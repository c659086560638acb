"""What `seven_bit` and `line_based` share: a message whose parts get another transfer encoding (RFC 2045 §6)."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from typing import Final

from mail_proto.message.structure import Part

# Those that leave octets as they are (RFC 2045 §6.2).
IDENTITIES: Final = frozenset({b"7bit", b"8bit", b"binary"})
_ENCODING: Final = re.compile(rb"(?im)^content-transfer-encoding[ \t]*:([^\n]*(?:\n[ \t][^\n]*)*)\n")
_VERSION: Final = re.compile(rb"(?im)^mime-version[ \t]*:")


def encoding_of(header: bytes) -> bytes:
    """In lower case; 7bit where there is no such field (RFC 2045 §6.1)."""
    found = _ENCODING.search(header)
    return found[1].strip().lower() if found else b"7bit"


def with_encoding(header: bytes, encoding: bytes) -> bytes:
    """The header with this field in place of its own, or on top."""
    field = b"Content-Transfer-Encoding: " + encoding + b"\r\n"
    if _ENCODING.search(header):
        return _ENCODING.sub(lambda found: field, header)
    return field + header


def with_version(message: bytes, header: bytes) -> bytes:
    """The message, which says that it is MIME: in what was its header already, or on top (RFC 2045 §4)."""
    return message if _VERSION.search(header) else b"MIME-Version: 1.0\r\n" + message


def in_base64(header: bytes, body: bytes) -> bytes:
    """A part that is encoded so."""
    return with_encoding(header, b"base64") + base64.encodebytes(body).replace(b"\n", b"\r\n")


def inside(message: bytes, part: Part, convert: Callable[[bytes, Part], bytes]) -> bytes:
    """The children, each converted, and what stands between them, which stays as it is."""
    pieces, at = [], part.body_start
    for child in part.children:
        pieces += [message[at : child.header_start], convert(message, child)]
        at = child.body_end
    return b"".join([*pieces, message[at : part.body_end]])
