"""Sections without their content transfer encoding, as FETCH BINARY names them (RFC 9051 §6.4.5.1, RFC 3516)."""

from __future__ import annotations

from mail_proto.message.headers import field
from mail_proto.message.sections import find_part
from mail_proto.message.structure import Octets, Part
from mail_proto.message.transfer import decoded

_IDENTITY = frozenset({"", "7bit", "8bit", "binary"})
_KNOWN = _IDENTITY | {"base64", "quoted-printable", "x-uuencode", "uuencode", "x-uue"}


class UnknownEncoding(ValueError):
    """The part is in an encoding that nobody here can undo (RFC 3516 §4.3)."""


def binary_section(octets: Octets, root: Part, path: tuple[int, ...]) -> bytes | None:
    """The decoded octets of a part; the whole message for (), as it is. None: there is no such part.

    Raises UnknownEncoding.
    """
    if not path:
        return octets[:]
    part = find_part(root, path)
    if part is None:
        return None
    body = octets[part.body_start : part.body_end]
    # RFC 2045 §6.4: what has parts is in no encoding of its own.
    if part.is_multipart or part.is_message:
        return body
    value = field(octets[part.header_start : part.body_start], b"content-transfer-encoding") or b""
    encoding = value.partition(b";")[0].strip().lower().decode("latin-1")
    if encoding not in _KNOWN:
        raise UnknownEncoding(encoding)
    return body if encoding in _IDENTITY else decoded(body, encoding)
