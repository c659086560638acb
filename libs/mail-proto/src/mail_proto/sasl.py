"""SASL messages: PLAIN (RFC 4616) and their Base64 lines (RFC 4648 §4).

message = [authzid] UTF8NUL authcid UTF8NUL passwd
"""

from __future__ import annotations

import base64
import binascii
from typing import Final

# RFC 4616 §2 leaves it open; longer than any name and password that we keep.
MAX_MESSAGE_OCTETS: Final = 4096


class SaslFault(Exception):
    """The client's SASL message is malformed. `str(fault)` says why and is safe to send."""


def decode_response(line: bytes) -> bytes:
    """The octets of a Base64 line; `=` alone is the empty initial response (RFC 4954 §4). Raises SaslFault."""
    if line == b"=":
        return b""
    if len(line) > MAX_MESSAGE_OCTETS * 4 // 3 + 4:
        raise SaslFault("the response is too long")
    try:
        return base64.b64decode(line, validate=True)
    except binascii.Error as error:
        raise SaslFault("the response is not Base64") from error


def parse_plain(message: bytes) -> tuple[str, str, str]:
    """(authzid, authcid, password) of a PLAIN message. Raises SaslFault."""
    parts = message.split(b"\0")
    if len(parts) != 3:
        raise SaslFault("a PLAIN message has three parts")
    try:
        authzid, authcid, password = (part.decode("utf-8") for part in parts)
    except UnicodeDecodeError as error:
        raise SaslFault("a PLAIN message is UTF-8") from error
    if not authcid or not password:
        raise SaslFault("name or password is empty")
    return authzid, authcid, password
