"""Content-Transfer-Encodings (RFC 2045 §6): decoded as far as they go, whatever the octets."""

from __future__ import annotations

import binascii
import re
from typing import Final

_MAX_LINE_OCTETS: Final = 1_048_576
_PIECE_OCTETS: Final = 1_048_576
_NOT_BASE64: Final = bytes(
    octet for octet in range(256) if octet not in b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
)
# White space at the end of a line was added on the way, also behind the `=` of a soft break (RFC 2045 §6.7, rule 3).
_PADDING_OF_LINES: Final = re.compile(rb"(?<![ \t])[ \t]++(?=\r?\n)")
_PADDING: Final = re.compile(rb"(?<![ \t])[ \t]++(?=\r?\n|\Z)")


def base64_octets(text: bytes) -> bytes:
    """Base64 decoded: padding supplied, foreign octets passed over (RFC 2045 §6.8)."""
    letters = text.translate(None, _NOT_BASE64)
    # One letter alone past the groups of four carries no octet.
    letters = letters[: len(letters) - 1] if len(letters) % 4 == 1 else letters
    try:
        return binascii.a2b_base64(letters + b"=" * (-len(letters) % 4))
    except binascii.Error:
        return b""


def decoded(octets: bytes, encoding: str) -> bytes:
    """By the name of an encoding in lower case; octets in one that isn't known stay as they are (RFC 2045 §6.2)."""
    if encoding == "base64":
        return base64_octets(octets)
    if encoding == "quoted-printable":
        return binascii.a2b_qp(_PADDING.sub(b"", octets))
    if encoding in ("x-uuencode", "uuencode", "x-uue"):
        return _uuencoded(octets)
    return octets


class Decoder:
    """Decodes a body that comes in pieces, with little in memory. Encodings other than these pass unchanged."""

    def __init__(self, encoding: str) -> None:
        self._encoding = encoding if encoding in ("base64", "quoted-printable") else ""
        self._rest = b""

    def add(self, octets: bytes) -> bytes:
        """What is certain after one more piece."""
        if not self._encoding:
            return octets
        if self._encoding == "base64":
            letters = self._rest + octets.translate(None, _NOT_BASE64)
            whole = len(letters) - len(letters) % 4
            self._rest = letters[whole:]
            return base64_octets(letters[:whole])
        # A line belongs together; one that is too long for memory is cut where nothing is escaped.
        octets = self._rest + octets
        whole = octets.rfind(b"\n") + 1
        if not whole and len(octets) > _MAX_LINE_OCTETS:
            whole = len(octets) - 3 if b"=" in octets[-3:] else len(octets)
        self._rest = octets[whole:]
        return binascii.a2b_qp(_PADDING_OF_LINES.sub(b"", octets[:whole]))

    def end(self) -> bytes:
        """The rest, when there are no more pieces."""
        rest, self._rest = self._rest, b""
        return decoded(rest, self._encoding)


def decoded_length(octets: bytes, start: int, end: int, encoding: str) -> int:
    """How many octets [start, end) has when it is decoded; with little in memory."""
    if encoding not in ("base64", "quoted-printable"):
        return end - start
    decoder = Decoder(encoding)
    pieces = (octets[at : min(at + _PIECE_OCTETS, end)] for at in range(start, end, _PIECE_OCTETS))
    return sum(len(decoder.add(piece)) for piece in pieces) + len(decoder.end())


def _uuencoded(octets: bytes) -> bytes:
    """The lines between `begin` and `end`; those that can't be read are left out."""
    _, begin, rest = octets.partition(b"begin ")
    if not begin:
        return octets
    pieces: list[bytes] = []
    for line in rest.split(b"\n")[1:]:
        line = line.rstrip(b"\r")
        if line == b"end":
            break
        try:
            pieces.append(binascii.a2b_uu(line))
        except binascii.Error:
            continue
    return b"".join(pieces)
