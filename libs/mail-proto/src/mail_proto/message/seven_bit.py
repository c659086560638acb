"""A message for servers without 8BITMIME: parts with octets over 127 are encoded (RFC 6152 §3, RFC 2045 §6)."""

from __future__ import annotations

import binascii

from mail_proto.message.recoding import IDENTITIES, encoding_of, in_base64, inside, with_encoding, with_version
from mail_proto.message.structure import Part, scan


class NotConvertible(Exception):
    """Octets over 127 where no encoding can hide them: in a header, between parts, in what claims to be encoded."""


def seven_bit(message: bytes) -> bytes:
    """The same contents in octets up to 127: text as quoted-printable, else base64. Raises NotConvertible.

    Signatures over the encoded form (DKIM, multipart/signed) don't survive it, which RFC 6376 §5.3 warns of.
    """
    root = scan(message)
    converted = _converted(message, root)
    converted = with_version(converted, message[: root.body_start])
    if not converted.isascii():
        raise NotConvertible("there are octets over 127 outside of the bodies")
    return converted


def _converted(message: bytes, part: Part) -> bytes:
    header = message[part.header_start : part.body_start]
    if message[part.header_start : part.body_end].isascii():
        return message[part.header_start : part.body_end]
    if encoding_of(header) not in IDENTITIES:
        raise NotConvertible("a part isn't encoded as it says")
    if part.children:
        return with_encoding(header, b"7bit") + inside(message, part, _converted)
    body = message[part.body_start : part.body_end]
    if part.media_type.startswith("text/"):
        return with_encoding(header, b"quoted-printable") + binascii.b2a_qp(body)
    return in_base64(header, body)
