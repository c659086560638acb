"""A message of BINARYMIME for what is made of lines: parts that aren't become base64 (RFC 3030 §4, RFC 2045 §6).

Behind SMTP everything is lines with CRLF: IMAP literals without NUL, POP3, servers that know 8BITMIME only.
"""

from __future__ import annotations

from mail_proto.message.recoding import IDENTITIES, encoding_of, in_base64, inside, with_encoding, with_version
from mail_proto.message.structure import Part, scan
from mail_proto.smtp.content import MAX_LINE_OCTETS, has_bare_line_ends, has_longer_line


class NotLineBased(Exception):
    """Octets that no encoding can hide: in a header, between parts, in what claims to be encoded."""


def line_based(message: bytes) -> bytes:
    """The same contents in lines; parts that have them keep their octets. Raises NotLineBased.

    Signatures over what was binary don't survive it: check them before.
    """
    root = scan(message)
    converted = _converted(message, root)
    if len(converted) != len(message):
        converted = with_version(converted, message[: root.body_start])
    if not _is_lines(converted):
        raise NotLineBased("there are octets that make no lines outside of the bodies")
    return converted


def _is_lines(octets: bytes) -> bool:
    return not (has_bare_line_ends(octets) or b"\0" in octets or has_longer_line(octets, MAX_LINE_OCTETS))


def _converted(message: bytes, part: Part) -> bytes:
    header, body = message[part.header_start : part.body_start], message[part.body_start : part.body_end]
    encoding = encoding_of(header)
    if part.children:
        return _relabelled(header, encoding) + inside(message, part, _converted)
    if _is_lines(body):
        return _relabelled(header, encoding) + body
    if encoding not in IDENTITIES:
        raise NotLineBased("a part isn't encoded as it says")
    return in_base64(header, body)


def _relabelled(header: bytes, encoding: bytes) -> bytes:
    return with_encoding(header, b"8bit") if encoding == b"binary" else header
