"""Header fields written: text encoded and folded, so that nothing given can end a field (RFC 5322 §2.2, RFC 2047).

Lines have 78 characters at most where they can be broken, and never more than 998 octets (RFC 5322 §2.1.1).
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterable, Iterator
from typing import Final
from urllib.parse import quote

MAX_LINE: Final = 78
# A word that can't be broken; below the 998 octets of a line, with its name.
MAX_WORD: Final = 900
# RFC 2047 §2: an encoded word has 75 characters; these are what 45 octets of UTF-8 need less than.
_WORD_OCTETS: Final = 45
# RFC 2231 §3: a parameter in pieces; each fits on its line.
_PIECE: Final = 60

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_ATOMS: Final = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?: [A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_TOKEN: Final = re.compile(r"[A-Za-z0-9!#$&+.^_`|~-]+")
_QUOTED_SPECIAL: Final = re.compile(r'(["\\])')


class HeaderFault(Exception):
    """A value can't stand in a header. `str(fault)` says why and is safe to send."""


def check(text: str, what: str) -> str:
    """The text itself. Raises HeaderFault: it has control characters (a line end is one), or lone surrogates."""
    if _CONTROL.search(text):
        raise HeaderFault(f"{what} has control characters")
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        raise HeaderFault(f"{what} is no valid Unicode")
    return text


def field(name: str, words: Iterable[str]) -> bytes:
    """A complete field, folded between its words, with CRLF. Raises HeaderFault: a word is too long for a line."""
    lines, line = [], f"{name}:"
    for word in words:
        if len(word.encode()) > MAX_WORD:
            raise HeaderFault(f"{name} is too long for one line")
        # A line of white space alone would end the header for some readers (RFC 5322 §3.2.2).
        if word and len(line) + 1 + len(word) > MAX_LINE and not line.isspace() and not line.endswith(":"):
            lines.append(line)
            line = ""
        line = f"{line} {word}"
    return "\r\n".join([*lines, line]).encode() + b"\r\n"


def unstructured(text: str) -> Iterator[str]:
    """The words of a text field: as they are where they are ASCII, else encoded (RFC 2047 §5 (1))."""
    if text.isascii() and "=?" not in text and all(len(word) <= MAX_WORD for word in text.split(" ")):
        yield from text.split(" ")  # a run of spaces gives empty words: they keep it, folded or not
        return
    yield from encoded_words(text)


def encoded_words(text: str) -> Iterator[str]:
    """Each of whole characters, in Base64."""
    octets = b""
    for character in text:
        encoded = character.encode()
        if len(octets) + len(encoded) > _WORD_OCTETS:
            yield _word(octets)
            octets = b""
        octets += encoded
    if octets:
        yield _word(octets)


def _word(octets: bytes) -> str:
    return f"=?utf-8?B?{binascii.b2a_base64(octets, newline=False).decode()}?="


def mailboxes(listed: Iterable[tuple[str, str]]) -> list[str]:
    """The words of an address list, from (display name, address); the address must be a valid one."""
    words: list[str] = []
    for name, address in listed:
        if words:
            words[-1] += ","
        words += [*_phrase(name), f"<{address}>"] if name else [address]
    return words


def _phrase(name: str) -> Iterator[str]:
    if name.isascii() and "=?" not in name and len(name) <= MAX_WORD // 2:
        quoted = '"' + _QUOTED_SPECIAL.sub(r"\\\1", name) + '"'
        yield name if _ATOMS.fullmatch(name) else quoted
        return
    yield from encoded_words(name)


def parameter(name: str, value: str) -> list[str]:
    """The words `; name=value` of a MIME field; in UTF-8 and pieces where it must be (RFC 2231)."""
    if value.isascii() and len(value) <= _PIECE:
        quoted = '"' + _QUOTED_SPECIAL.sub(r"\\\1", value) + '"'
        return [f"{name}={value if _TOKEN.fullmatch(value) else quoted}"]
    escaped = quote(value, safe="")
    if len(escaped) <= _PIECE:
        return [f"{name}*=utf-8''{escaped}"]
    pieces = [escaped[at : at + _PIECE] for at in range(0, len(escaped), _PIECE)]
    words = [f"{name}*{n}*={piece}" for n, piece in enumerate(pieces)]
    words[0] = f"{name}*0*=utf-8''{pieces[0]}"
    return words
