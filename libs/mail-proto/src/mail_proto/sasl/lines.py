"""SASL messages as mail protocols carry them: Base64 lines (RFC 4648 §4)."""

from __future__ import annotations

import base64
import binascii
from typing import Final

from mail_proto.sasl.errors import SaslFault

# RFC 4954 §4 asks for lines of 12,288 octets, for the tokens of some mechanisms; this is what they decode to.
MAX_MESSAGE_OCTETS: Final = 9216


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
