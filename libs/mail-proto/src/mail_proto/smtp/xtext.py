"""xtext: values of parameters that may hold any printable character (RFC 3461 §4).

xtext   = *( xchar / hexchar )
xchar   = any ASCII CHAR between "!" (33) and "~" (126) inclusive, except for "+" and "="
hexchar = ASCII "+" immediately followed by two upper case hexadecimal digits
"""

from __future__ import annotations

import re
from typing import Final

_XTEXT: Final = re.compile(r"(?:[!-*,-<>-~]|\+[0-9A-F]{2})*+")
_HEXCHAR: Final = re.compile(r"\+([0-9A-F]{2})")
_NOT_XCHAR: Final = re.compile(r"[^!-*,-<>-~]")


class NotXtext(ValueError):
    """The text isn't xtext, or hides control characters or what isn't ASCII."""


def decode_xtext(text: str) -> str:
    """The printable ASCII that it stands for. Raises NotXtext."""
    if _XTEXT.fullmatch(text) is None:
        raise NotXtext(text)
    decoded = _HEXCHAR.sub(lambda found: chr(int(found[1], 16)), text)
    if not (decoded.isascii() and decoded.isprintable()):
        raise NotXtext(text)
    return decoded


def encode_xtext(text: str) -> str:
    """Printable ASCII as xtext."""
    return _NOT_XCHAR.sub(lambda found: f"+{ord(found[0]):02X}", text)
