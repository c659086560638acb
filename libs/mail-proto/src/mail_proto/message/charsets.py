"""Octets to text by the name of a charset, with fall-backs (RFC 2045 §5.1, RFC 2046 §4.1.2)."""

from __future__ import annotations

import codecs
from typing import Final

# Names that Python knows as codecs but that are no charsets of mail; punycode takes quadratic time.
_NO_CHARSETS: Final = frozenset(
    {"idna", "mbcs", "oem", "punycode", "raw-unicode-escape", "undefined", "unicode-escape"}
)
# WHATWG Encoding §4.2: what senders mean when they say so.
_MEANT: Final = {"us-ascii": "utf-8", "ascii": "utf-8", "iso-8859-1": "cp1252", "gb2312": "gb18030"}


def decode_octets(octets: bytes, charset: str | None = None) -> str:
    """Decode; without a usable charset as UTF-8 or else Latin-1. No lone surrogates, no NUL in the result."""
    codec = _codec(charset)
    if codec is not None:
        try:
            text = octets.decode(codec, "replace")
        except (LookupError, ValueError):  # a codec that isn't one from octets to text
            text = _guess(octets)
    else:
        text = _guess(octets)
    text = text.replace("\x00", "")
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def _codec(charset: str | None) -> str | None:
    if not charset or len(charset) > 64 or not charset.isascii():
        return None
    name = charset.strip().lower()
    if name in ("us-ascii", "ascii", "utf-8"):
        return None
    try:
        found = codecs.lookup(_MEANT.get(name, name))
    except (LookupError, ValueError):
        return None
    return None if found.name.replace("_", "-") in _NO_CHARSETS else found.name


def _guess(octets: bytes) -> str:
    try:
        return octets.decode("utf-8")
    except UnicodeDecodeError:
        return octets.decode("latin-1")
