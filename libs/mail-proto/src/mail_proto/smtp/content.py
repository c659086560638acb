"""What mail data may hold besides lines of text, by the rules of the site.

Line ends: RFC 5321 §2.3.8 forbids CR and LF alone. A server that passes them on lets the next one see an end of data,
and a second message, where this one saw none (CVE-2023-51764 and its family), so they are refused unless the site wants
otherwise. NUL and 8-bit octets without 8BITMIME must not be sent (RFC 5322 §2.2, RFC 6152 §3), but a receiver must read
them (RFC 5322 §4.1). Lines have 998 octets at most (RFC 5321 §4.5.3.1.6); many senders of HTML don't keep to it.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from typing import Final

from mail_proto.smtp.errors import BadContent, EightBitContent

_BARE: Final = re.compile(rb"(?<!\r)\n|\r(?!\n)")
# RFC 5321 §4.5.3.1.6: 1000 octets with CRLF.
MAX_LINE_OCTETS: Final = 998


class BareLineEnds(enum.Enum):
    """What becomes of CR and LF that are alone."""

    REFUSE = "refuse"
    NORMALISE = "normalise"
    KEEP = "keep"


@dataclass(frozen=True, slots=True)
class ContentRules:
    """What is accepted. `max_line_octets` is without the line end; 0: any length."""

    bare_line_ends: BareLineEnds = BareLineEnds.REFUSE
    allows_nul: bool = True
    allows_8bit_undeclared: bool = True
    max_line_octets: int = 0


def checked(message: bytes, rules: ContentRules, *, declares_8bit: bool) -> bytes:
    """The message as it is taken in. Raises BadContent, EightBitContent."""
    if has_bare_line_ends(message):
        match rules.bare_line_ends:
            case BareLineEnds.REFUSE:
                raise BadContent("CR or LF alone: lines end with CRLF")
            case BareLineEnds.NORMALISE:
                message = _BARE.sub(b"\r\n", message)
            case BareLineEnds.KEEP:
                pass
    if not rules.allows_nul and b"\0" in message:
        raise BadContent("the message has NUL characters")
    if not (rules.allows_8bit_undeclared or declares_8bit or message.isascii()):
        raise EightBitContent("8-bit octets need BODY=8BITMIME")
    if rules.max_line_octets and has_longer_line(message, rules.max_line_octets):
        raise BadContent(f"lines have {rules.max_line_octets} octets at most")
    return message


def has_bare_line_ends(message: bytes) -> bool:
    """Is there a CR or LF that is no half of a CRLF?"""
    pairs = message.count(b"\r\n")
    return message.count(b"\n") != pairs or message.count(b"\r") != pairs


def has_longer_line(message: bytes, max_octets: int) -> bool:
    """Is there a line, ended by LF, with more octets than that before its line end?"""
    at = 0
    while len(message) - at > max_octets:
        # The last line end that isn't too far away: as few steps as can be.
        end = message.rfind(b"\n", at, at + max_octets + 1)
        if end < 0:
            if message[at + max_octets : at + max_octets + 2] != b"\r\n":
                return True
            end = at + max_octets + 1
        at = end + 1
    return False
