"""A message on its way out: what it needs of the server, and its form inside DATA (RFC 5321 §4.5.2, §2.3.8)."""

from __future__ import annotations

import re
from typing import Final

_HEADER_END: Final = re.compile(rb"\r?\n\r?\n")
# A CR without LF, or an LF without CR: never sent, or a lax server could see the end of data in the
# middle of a message ("SMTP smuggling"); RFC 5321 §2.3.8.
_BARE: Final = re.compile(rb"\r(?!\n)|(?<!\r)\n")


def is_eight_bit(message: bytes) -> bool:
    """There are octets over 127 somewhere: BODY=8BITMIME (RFC 6152) describes it."""
    return not message.isascii()


def has_eight_bit_header(message: bytes) -> bool:
    """There are octets over 127 in the header: with SMTPUTF8 submission, an internationalized message (RFC 6532)."""
    end = _HEADER_END.search(message)
    return not message[: end.start() if end else len(message)].isascii()


def crlf_ended(octets: bytes) -> bytes:
    """With each bare CR and each bare LF as CRLF. A piece of a message must end with LF, or be the last one."""
    return _BARE.sub(b"\r\n", octets) if _BARE.search(octets) else octets


def stuffed(message: bytes) -> bytes:
    """The message as sent after 354: lines end in CRLF, leading dots doubled, terminated by CRLF "." CRLF."""
    message = crlf_ended(message)
    if not message.endswith(b"\r\n"):
        message += b"\r\n"
    if message.startswith(b"."):
        message = b"." + message
    return message.replace(b"\r\n.", b"\r\n..") + b".\r\n"
