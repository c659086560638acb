"""Header fields: cutting, unfolding, decoding (RFC 5322 §2.2, RFC 2047).

field = field-name ":" unstructured CRLF        field-name = 1*ftext
A line that begins with SP or TAB continues the field before it.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from mail_proto.message.charsets import decode_octets
from mail_proto.message.transfer import base64_octets

# A display limit of ours: longer values are cut before decoding.
MAX_DECODED_OCTETS: Final = 65_536

# The fields that summaries are made of.
LISTED: Final = frozenset(
    b"bcc cc content-description content-disposition content-id content-language content-location content-md5"
    b" content-transfer-encoding content-type date from in-reply-to message-id references reply-to sender subject"
    b" to".split()
)
# A field whose name begins with a letter that one of those begins with. The line end in front makes it an anchor that
# the search can jump to: twice as fast as the names themselves behind a `^`.
_CANDIDATE: Final = re.compile(rb"\n([BCDFIMRSTbcdfimrst][A-Za-z0-9-]++)[ \t]*+:([^\n]*+(?:\n[ \t][^\n]*+)*+)")
# ftext is %d33-57 / %d59-126; 8-bit names occur in spam and must not swallow their neighbours.
_LINE: Final = re.compile(rb"(?:([^\x00-\x20:\x7f]++)[ \t]*+:)?+([^\n]*+(?:\n[ \t][^\n]*+)*+)(?:\n|\Z)")
_CR: Final = ord("\r")
# Some senders leave spaces and question marks in a Q word; its length is limited so that the search stays linear.
_ENCODED_WORD: Final = re.compile(
    rb"=\?([^?\s*]{1,64}+)(?:\*[^?\s]{0,64}+)?\?(?:[bB]\?([^?]*+)|[qQ]\?([^?\n]{0,1000}+(?:\?(?!=)[^?\n]{0,100}+){0,8}))\?="
)


class FieldLine(NamedTuple):
    """One logical line of a header with its offsets in it; `name` is empty where the line is no field.

    The line is [start, end) with its line end, the raw value [value_start, value_end) is without it.
    """

    name: bytes
    start: int
    value_start: int
    value_end: int
    end: int


def lines(header: bytes) -> Iterator[FieldLine]:
    """The logical lines of a header up to the empty line, in order."""
    for found in _LINE.finditer(header):
        start, end = found.span()
        if start == end or header.startswith((b"\n", b"\r\n"), start):
            return
        value_end = found.end(2)
        if end > value_end and header[value_end - 1] == _CR:
            value_end -= 1
        yield FieldLine(found[1] or b"", start, found.start(2), value_end, end)


def fields(header: bytes) -> list[tuple[bytes, bytes]]:
    """Name (as written) and raw value (folding kept, without the last line end) of each field, in order."""
    return [(line.name, header[line.value_start : line.value_end]) for line in lines(header) if line.name]


def field(header: bytes, name: bytes) -> bytes | None:
    """The unfolded value of the first field of that name (in any case), without surrounding white space."""
    wanted = name.lower()
    for line in lines(header):
        if line.name.lower() == wanted:
            return unfold(header[line.value_start : line.value_end])
    return None


def first_values(header: bytes) -> dict[bytes, bytes]:
    """Unfolded value of the first field of each of the names in `LISTED`, by lower-case name."""
    values: dict[bytes, bytes] = {}
    for name, value in _CANDIDATE.findall(b"\n" + header):
        name = name.lower()
        if name in LISTED and name not in values:
            values[name] = unfold(value)
    return values


def unfold(value: bytes) -> bytes:
    """Without line ends (RFC 5322 §2.2.3) and surrounding white space."""
    if b"\n" in value:
        value = value.replace(b"\r\n", b"").replace(b"\n", b"")
    return value.strip(b" \t\r")


def decode(value: bytes) -> str:
    """The text of a value: encoded words decoded (RFC 2047), other octets as UTF-8 or else Windows-1252.

    Neighbouring words in the same charset are joined before decoding: many senders cut inside a character.
    Longer values are cut at MAX_DECODED_OCTETS.
    """
    value = unfold(value[:MAX_DECODED_OCTETS])
    if b"=?" not in value:
        return decode_octets(value)
    texts: list[str] = []
    run, run_charset, position = bytearray(), b"", 0
    for word in _ENCODED_WORD.finditer(value):
        between = value[position : word.start()]
        charset = word[1].lower()
        # RFC 2047 §6.2: white space between two encoded words is not displayed.
        if run_charset and (charset != run_charset or between.strip()):
            texts.append(_decoded(run, run_charset))
            run_charset = b""
            run.clear()
            between = between if between.strip() else b""
        elif run_charset:
            between = b""
        texts.append(decode_octets(between))
        run += _word_octets(word)
        run_charset, position = charset, word.end()
    texts.append(_decoded(run, run_charset))
    texts.append(decode_octets(value[position:]))
    return "".join(texts)


def _decoded(run: bytearray, charset: bytes) -> str:
    return decode_octets(bytes(run), charset.decode("ascii", "replace")) if run else ""


def _word_octets(word: re.Match[bytes]) -> bytes:
    if word[2] is not None:
        return base64_octets(word[2])
    return binascii.a2b_qp(word[3], header=True)
