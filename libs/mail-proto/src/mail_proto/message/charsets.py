"""Octets to text by the name of a charset, with fall-backs (RFC 2045 §5.1, RFC 2046 §4.1.2)."""

from __future__ import annotations

import codecs
import re
from encodings.aliases import aliases
from functools import lru_cache
from typing import Final

# Codecs of Python that are no charsets of mail; punycode takes quadratic time.
_NO_CHARSETS: Final = frozenset({
    "base64_codec", "bz2_codec", "hex_codec", "idna", "mbcs", "oem", "punycode", "quopri_codec", "raw_unicode_escape",
    "rot_13", "tactis", "undefined", "unicode_escape", "uu_codec", "zlib_codec",
})  # fmt: skip
# Charsets that Python has under one name only.
_WITHOUT_ALIAS: Final = frozenset({
    "cp720", "cp737", "cp856", "cp874", "cp875", "cp1006", "koi8_t", "koi8_u", "mac_arabic", "mac_croatian",
    "mac_farsi", "mac_romanian", "utf_8_sig",
})  # fmt: skip
# WHATWG Encoding §4.2: what senders mean when they say so.
_MEANT: Final = {
    "ascii": "",
    "big5": "big5hkscs",
    "csgb2312": "gb18030",
    "euc_kr": "cp949",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "iso8859_9": "cp1254",
    "iso8859_11": "cp874",
    "latin_1": "cp1252",
    "shift_jis": "cp932",
    "tis_620": "cp874",
    "utf_8": "",
    "utf_8_sig": "",
}
# Names that occur in mail and that Python doesn't know.
_OTHER_NAMES: Final = {
    "cp_850": "cp850",
    "cp_1252": "cp1252",
    "default": "ascii",
    "iso_8859_8_i": "iso8859_8",
    "iso_8859_8_e": "iso8859_8",
    "iso_8859_6_i": "iso8859_6",
    "iso_2022_jp_ms": "iso2022_jp_ext",
    "cp50220": "iso2022_jp_ext",
    "cp51932": "euc_jp",
    "koi8": "koi8_r",
    "ks_c_5601_1987": "cp949",
    "macintosh": "mac_roman",
    "unicode_1_1_utf_7": "utf_7",
    "unicode_1_1_utf_8": "utf_8",
    "unknown_8bit": "ascii",
    "utf8mb4": "utf_8",
    "windows_31j": "cp932",
    "windows_874": "cp874",
    "windows_949": "cp949",
    "x_euc": "euc_jp",
    "x_euc_jp": "euc_jp",
    "x_gbk": "gbk",
    "x_mac_cyrillic": "mac_cyrillic",
    "x_mac_roman": "mac_roman",
    "x_sjis": "cp932",
    "x_unknown": "ascii",
    "x_windows_949": "cp949",
    "x_x_big5": "big5",
}
_CODECS: Final = (frozenset(aliases.values()) | _WITHOUT_ALIAS) - _NO_CHARSETS
_SEPARATOR: Final = re.compile(r"[^0-9a-z]+")


def decode_octets(octets: bytes, charset: str | None = None) -> str:
    """Decode; without a usable charset as UTF-8 or else Windows-1252. No lone surrogates, no NUL in the result."""
    if octets.isascii() and (charset is None or charset.lower() in ("utf-8", "us-ascii")):
        text = octets.decode("ascii")
        return text.replace("\x00", "") if "\x00" in text else text
    codec = _codec(charset) if charset and len(charset) <= 64 else None
    text = _guess(octets) if codec is None else octets.decode(codec, "replace")
    text = text.replace("\x00", "")
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


@lru_cache(256)
def _codec(charset: str) -> str | None:
    """The codec; None: unknown, or ASCII or UTF-8, which are guessed.

    Only names in the tables are looked up: Python keeps every other one that it was ever asked for.
    """
    name = _SEPARATOR.sub("_", charset.strip().lower()).strip("_")
    name = _OTHER_NAMES.get(name, name)
    module = aliases.get(name, name)
    module = _MEANT.get(module, module)
    if module not in _CODECS:
        return None
    try:
        return codecs.lookup(module).name
    except LookupError:
        return None


def _guess(octets: bytes) -> str:
    try:
        return octets.decode("utf-8")
    except UnicodeDecodeError:
        return octets.decode("cp1252", "replace")
