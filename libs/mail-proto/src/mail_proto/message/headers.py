"""Header fields: cutting, unfolding, decoding, MIME parameters (RFC 5322 §2.2, RFC 2047, RFC 2045 §5.1).

field = field-name ":" unstructured CRLF        field-name = 1*ftext
A line that begins with SP or TAB continues the field before it.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from mail_proto.message.charsets import decode_octets

# A display limit of ours: longer values are cut before decoding.
MAX_DECODED_OCTETS: Final = 65_536
# Ours: enough for any real Content-Type, small enough to parse in no time.
MAX_PARAMETERS_OCTETS: Final = 65_536

_FIELD_END: Final = re.compile(rb"\n(?![ \t])")
# ftext is %d33-57 / %d59-126; 8-bit names occur in spam and must not swallow their neighbours.
_NAME: Final = re.compile(rb"([^\x00-\x20:\x7f]++)[ \t]*+:")
_ENCODED_WORD: Final = re.compile(rb"=\?([^?\s*]{1,64}+)(?:\*[^?\s]{0,64}+)?\?([bBqQ])\?([^?\s]*+)\?=")
_TOKEN: Final = rb"[!#$%&'*+.0-9A-Z^_`a-z{|}~-]"
_MEDIA_TYPE: Final = re.compile(rb"\s*+(%s++)\s*+(?:/\s*+(%s++))?+" % (_TOKEN, _TOKEN))
_VALUE_TOKEN: Final = re.compile(rb"\s*+(%s++)" % _TOKEN)
_PARAMETER: Final = re.compile(
    rb";\s*+([^\x00-\x20=;\"\x7f]++)\s*+=\s*+(?:\"((?:[^\"\\]++|\\.)*+)\"?+|([^;]*+))", re.DOTALL
)
_QUOTED_PAIR: Final = re.compile(rb"\\(.)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class FieldLine:
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
    start = 0
    while start < len(header) and not header.startswith((b"\n", b"\r\n"), start):
        found = _FIELD_END.search(header, start)
        end = found.end() if found else len(header)
        value_end = end
        if found:
            value_end -= 2 if header.endswith(b"\r\n", start, end) else 1
        name = _NAME.match(header, start, value_end)
        if name:
            yield FieldLine(name[1], start, name.end(), value_end, end)
        else:
            yield FieldLine(b"", start, start, value_end, end)
        start = end


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
    """Unfolded value of the first field of each name, by lower-case name."""
    values: dict[bytes, bytes] = {}
    for line in lines(header):
        if line.name and (name := line.name.lower()) not in values:
            values[name] = unfold(header[line.value_start : line.value_end])
    return values


def unfold(value: bytes) -> bytes:
    """Without line ends (RFC 5322 §2.2.3) and surrounding white space."""
    return value.replace(b"\r\n", b"").replace(b"\n", b"").strip(b" \t\r")


def decode(value: bytes) -> str:
    """The text of a value: encoded words decoded (RFC 2047), other octets as UTF-8 or else Latin-1.

    Neighbouring words in the same charset are joined before decoding: many senders cut inside a character.
    Longer values are cut at MAX_DECODED_OCTETS.
    """
    value = unfold(value[:MAX_DECODED_OCTETS])
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
        run += _word_octets(word[2], word[3])
        run_charset, position = charset, word.end()
    texts.append(_decoded(run, run_charset))
    texts.append(decode_octets(value[position:]))
    return "".join(texts)


def _decoded(run: bytearray, charset: bytes) -> str:
    return decode_octets(bytes(run), charset.decode("ascii", "replace")) if run else ""


def _word_octets(encoding: bytes, text: bytes) -> bytes:
    if encoding in b"qQ":
        return binascii.a2b_qp(text, header=True)
    return base64_octets(text)


def base64_octets(text: bytes) -> bytes:
    """Base64 decoded as far as it goes: padding supplied, foreign octets passed over (RFC 2045 §6.8)."""
    letters = text.translate(None, _NOT_BASE64)
    # One letter alone past the groups of four carries no octet.
    letters = letters[: len(letters) - 1] if len(letters) % 4 == 1 else letters
    try:
        return binascii.a2b_base64(letters + b"=" * (-len(letters) % 4))
    except binascii.Error:
        return b""


_BASE64: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_NOT_BASE64: Final = bytes(octet for octet in range(256) if octet not in _BASE64)


@dataclass(frozen=True, slots=True)
class MediaType:
    """A Content-Type: lower-case `type/subtype`, and parameters with the names as written, unquoted values."""

    name: str
    parameters: tuple[tuple[bytes, bytes], ...] = ()

    def parameter(self, name: bytes) -> bytes | None:
        """The value of the first parameter of that (lower-case) name."""
        return next((value for key, value in self.parameters if key.lower() == name), None)


PLAIN_TEXT: Final = MediaType("text/plain")


def media_type(value: bytes | None, default: MediaType = PLAIN_TEXT) -> MediaType:
    """Parse the unfolded Content-Type. Nonsense counts as text/plain (RFC 2045 §5.2).

    A lone `text` or `multipart` gets the usual subtype: old Eudora and many scripts write these.
    """
    if value is None:
        return default
    found = _MEDIA_TYPE.match(value)
    if found is None:
        return PLAIN_TEXT
    main, sub = found[1].lower().decode("ascii"), found[2]
    if sub is not None:
        return MediaType(f"{main}/{sub.lower().decode('ascii')}", parameters(value[found.end() :]))
    if main in ("text", "multipart"):
        name = "text/plain" if main == "text" else "multipart/mixed"
        return MediaType(name, parameters(value[found.end() :]))
    return PLAIN_TEXT


def disposition(value: bytes) -> tuple[bytes, tuple[tuple[bytes, bytes], ...]] | None:
    """Type and parameters of an unfolded Content-Disposition; None where it says nothing.

    A missing type with parameters counts as `attachment` (RFC 2183 §2.8 for types unknown).
    """
    found = _VALUE_TOKEN.match(value)
    values = parameters(value[found.end() if found else 0 :])
    if found is not None:
        return found[1], values
    return (b"attachment", values) if values else None


def parameters(value: bytes) -> tuple[tuple[bytes, bytes], ...]:
    """The `; name=value` pairs of a MIME field, quoting and comments removed. Values may contain anything."""
    pairs = []
    for found in _PARAMETER.finditer(value[:MAX_PARAMETERS_OCTETS]):
        if found[2] is not None:
            pairs.append((found[1], _QUOTED_PAIR.sub(rb"\1", found[2])))
        else:
            pairs.append((found[1], found[3].partition(b" (")[0].strip()))
    return tuple(pairs)
