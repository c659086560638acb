"""Content-Type, Content-Disposition and their parameters (RFC 2045 §5.1, RFC 2183, RFC 2231).

parameter  = attribute "=" value            value = token / quoted-string
attribute* = attribute ["*" section] ["*"]  a value in pieces, and with charset and percent-encoding  RFC 2231 §7
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final
from urllib.parse import unquote_to_bytes

from mail_proto.message.charsets import decode_octets
from mail_proto.message.headers import decode

# Ours: enough for any real Content-Type, small enough to parse in no time.
MAX_PARAMETERS_OCTETS: Final = 65_536
# Of a Content-Type that is remembered.
KEPT_OCTETS: Final = 256

_TOKEN: Final = rb"[!#$%&'*+.0-9A-Z^_`a-z{|}~-]"
_MEDIA_TYPE: Final = re.compile(rb"\s*+(%s++)\s*+(?:/\s*+(%s++))?+" % (_TOKEN, _TOKEN))
_VALUE_TOKEN: Final = re.compile(rb"\s*+(%s++)" % _TOKEN)
_PARAMETER: Final = re.compile(
    rb";\s*+([^\x00-\x20=;\"\x7f]++)\s*+=\s*+(?:\"((?:[^\"\\]++|\\.)*+)\"?+|([^;]*+))", re.DOTALL
)
_QUOTED_PAIR: Final = re.compile(rb"\\(.)", re.DOTALL)
_SECTION: Final = re.compile(rb"([^*]++)\*(0|[1-9][0-9]{0,3})(\*?+)")

Parameters = tuple[tuple[bytes, bytes], ...]


@dataclass(frozen=True, slots=True)
class MediaType:
    """A Content-Type: lower-case `type/subtype`, and parameters with the names as written, unquoted values."""

    name: str
    parameters: Parameters = ()

    def parameter(self, name: bytes) -> bytes | None:
        """The value of the first parameter of that (lower-case) name."""
        return next((value for key, value in self.parameters if key.lower() == name), None)


PLAIN_TEXT: Final = MediaType("text/plain")


def media_type(value: bytes | None, default: MediaType = PLAIN_TEXT) -> MediaType:
    """Parse the unfolded Content-Type. Nonsense counts as text/plain (RFC 2045 §5.2), with its parameters.

    A lone `text` or `multipart` gets the usual subtype: old Eudora and many scripts write these.
    """
    if value is None:
        return default
    return _kept_media_type(value) if len(value) <= KEPT_OCTETS else _media_type(value)


def _media_type(value: bytes) -> MediaType:
    found = _MEDIA_TYPE.match(value)
    if found is None:
        return MediaType("text/plain", parameters(value))
    main, sub = found[1].lower().decode("ascii"), found[2]
    if sub is not None:
        return MediaType(f"{main}/{sub.lower().decode('ascii')}", parameters(value[found.end() :]))
    if main in ("text", "multipart"):
        name = "text/plain" if main == "text" else "multipart/mixed"
        return MediaType(name, parameters(value[found.end() :]))
    return MediaType("text/plain", parameters(value[found.end() :]))


# Each is read twice, for the structure and for what is rendered of it; and a few of them are in most messages.
_kept_media_type: Final = lru_cache(maxsize=64)(_media_type)


def disposition(value: bytes) -> tuple[bytes, Parameters] | None:
    """Type and parameters of an unfolded Content-Disposition; None where it says nothing.

    A missing type with parameters counts as `attachment` (RFC 2183 §2.8 for types unknown).
    """
    found = _VALUE_TOKEN.match(value)
    values = parameters(value[found.end() if found else 0 :])
    if found is not None:
        return found[1], values
    return (b"attachment", values) if values else None


def parameters(value: bytes) -> Parameters:
    """The `; name=value` pairs of a MIME field: quoting and comments removed, pieces joined (RFC 2231 §3, §6).

    Values may contain anything. A joined value with charset keeps its form, under its name with a `*` (§4).
    """
    pairs = []
    continued = False
    for found in _PARAMETER.finditer(value[:MAX_PARAMETERS_OCTETS]):
        name, quoted = found[1], found[2]
        continued = continued or b"*" in name
        if quoted is None:
            pairs.append((name, found[3].partition(b" (")[0].strip()))
        elif b"\\" in quoted:
            pairs.append((name, _QUOTED_PAIR.sub(rb"\1", quoted)))
        else:
            pairs.append((name, quoted))
    return _joined(pairs) if continued else tuple(pairs)


def _joined(pairs: list[tuple[bytes, bytes]]) -> Parameters:
    """Pieces `name*0`, `name*1*`, … joined in the order of their numbers, up to the first that is missing."""
    whole: list[tuple[bytes, bytes]] = []
    pieces: dict[bytes, dict[int, tuple[bytes, bool]]] = {}
    for name, value in pairs:
        section = _SECTION.fullmatch(name)
        if section is None:
            whole.append((name, value))
        else:
            pieces.setdefault(section[1], {}).setdefault(int(section[2]), (value, bool(section[3])))
    for name, numbered in pieces.items():
        values: list[tuple[bytes, bool]] = []
        while (piece := numbered.get(len(values))) is not None:
            values.append(piece)
        if not values:
            continue
        if any(is_extended for _, is_extended in values):
            whole.append((name + b"*", _extended(values)))
        else:
            whole.append((name, b"".join(value for value, _ in values)))
    return tuple(whole)


def _extended(values: list[tuple[bytes, bool]]) -> bytes:
    """`charset'language'%XX…`: pieces without percent-encoding get one, so that all can be decoded together."""
    first, is_extended = values[0]
    start = b"" if is_extended else b"''"
    rest = [first if is_extended else _escaped(first)]
    rest += [value if extended else _escaped(value) for value, extended in values[1:]]
    return start + b"".join(rest)


def _escaped(value: bytes) -> bytes:
    return value.replace(b"%", b"%25")


def text_of(pairs: Parameters, name: bytes) -> str | None:
    """The decoded value of the parameter of that (lower-case) name; the extended form goes first (RFC 2231 §4).

    Encoded words, which RFC 2047 §5 forbids here, are decoded too: Outlook and many others write them.
    """
    plain: bytes | None = None
    for key, value in pairs:
        key = key.lower()
        if key == name + b"*":
            charset, mark, rest = value.partition(b"'")
            _, second, text = rest.partition(b"'")
            if not mark or not second:
                return decode_octets(unquote_to_bytes(value))
            return decode_octets(unquote_to_bytes(text), charset.decode("latin-1"))
        if key == name and plain is None:
            plain = value
    return None if plain is None else decode(plain)
