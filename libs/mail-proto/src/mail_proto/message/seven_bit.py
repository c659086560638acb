"""A message for servers without 8BITMIME: parts with octets over 127 are encoded (RFC 6152 §3, RFC 2045 §6)."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Final

from mail_proto.message.structure import Part, scan

_ENCODING: Final = re.compile(rb"(?im)^content-transfer-encoding[ \t]*:([^\n]*(?:\n[ \t][^\n]*)*)\n")
_VERSION: Final = re.compile(rb"(?im)^mime-version[ \t]*:")
# Those that leave octets as they are (RFC 2045 §6.2).
_IDENTITIES: Final = frozenset({b"7bit", b"8bit", b"binary"})


class NotConvertible(Exception):
    """Octets over 127 where no encoding can hide them: in a header, between parts, in what claims to be encoded."""


def seven_bit(message: bytes) -> bytes:
    """The same contents in octets up to 127: text as quoted-printable, else base64. Raises NotConvertible.

    Signatures over the encoded form (DKIM, multipart/signed) don't survive it, which RFC 6376 §5.3 warns of.
    """
    root = scan(message)
    converted = _converted(message, root)
    if not _VERSION.search(converted[: root.body_start + 200]):
        converted = b"MIME-Version: 1.0\r\n" + converted
    if not converted.isascii():
        raise NotConvertible("there are octets over 127 outside of the bodies")
    return converted


def _converted(message: bytes, part: Part) -> bytes:
    header = message[part.header_start : part.body_start]
    if message[part.header_start : part.body_end].isascii():
        return message[part.header_start : part.body_end]
    found = _ENCODING.search(header)
    encoding = found[1].strip().lower() if found else b"7bit"
    if encoding not in _IDENTITIES:
        raise NotConvertible("a part isn't encoded as it says")
    if part.children:
        return _with_encoding(header, b"7bit") + _inside(message, part)
    body = message[part.body_start : part.body_end]
    if part.media_type.startswith("text/"):
        return _with_encoding(header, b"quoted-printable") + binascii.b2a_qp(body)
    return _with_encoding(header, b"base64") + base64.encodebytes(body).replace(b"\n", b"\r\n")


def _inside(message: bytes, part: Part) -> bytes:
    """The children, and what stands between them, which stays as it is."""
    pieces, at = [], part.body_start
    for child in part.children:
        pieces += [message[at : child.header_start], _converted(message, child)]
        at = child.body_end
    return b"".join([*pieces, message[at : part.body_end]])


def _with_encoding(header: bytes, encoding: bytes) -> bytes:
    field = b"Content-Transfer-Encoding: " + encoding + b"\r\n"
    if _ENCODING.search(header):
        return _ENCODING.sub(lambda found: field, header)
    return field + header
