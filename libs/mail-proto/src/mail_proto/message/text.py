"""The text of a message: all its parts of type text, decoded, without markup (RFC 2045 §6, RFC 2046 §4.1)."""

from __future__ import annotations

from typing import Final

from mail_proto.message.charsets import decode_octets
from mail_proto.message.headers import first_values
from mail_proto.message.html_text import html_text
from mail_proto.message.parameters import media_type
from mail_proto.message.structure import Octets, Part, walk
from mail_proto.message.transfer import decoded

# What is decoded of one message at most: search and display need no more.
MAX_TEXT_OCTETS: Final = 1_048_576
# Ours: header of a body part; the fields that matter come first.
MAX_PART_HEADER_OCTETS: Final = 65_536


def searchable(octets: Octets, root: Part) -> str:
    """The decoded text of all text parts in order, a line end between two; bounded by MAX_TEXT_OCTETS."""
    texts: list[str] = []
    left = MAX_TEXT_OCTETS
    for part in walk(root):
        if left <= 0:
            break
        if not part.children and part.media_type.startswith("text/"):
            texts.append(part_text(octets, part, left))
            left -= min(part.body_end - part.body_start, left)
    return "\n".join(texts)


def part_text(octets: Octets, part: Part, limit: int = MAX_TEXT_OCTETS) -> str:
    """The decoded text of one text part, of its first `limit` octets; of HTML what is displayed."""
    text = part_source(octets, part, limit)
    return html_text(text) if part.media_type == "text/html" else text


def part_source(octets: Octets, part: Part, limit: int = MAX_TEXT_OCTETS) -> str:
    """The decoded text of one text part, with its markup."""
    values = first_values(octets[part.header_start : min(part.body_start, part.header_start + MAX_PART_HEADER_OCTETS)])
    return decoded_text(octets, part, values, limit)


def decoded_text(octets: Octets, part: Part, values: dict[bytes, bytes], limit: int) -> str:
    """The same, from the values of its header."""
    body = decoded(octets[part.body_start : min(part.body_end, part.body_start + limit)], transfer_encoding(values))
    charset = media_type(values.get(b"content-type")).parameter(b"charset")
    return decode_octets(body, charset.decode("latin-1") if charset else None)


def transfer_encoding(values: dict[bytes, bytes]) -> str:
    """The name of the encoding in lower case, without comments; `7bit` where there is none (RFC 2045 §6.1)."""
    value = values.get(b"content-transfer-encoding")
    if value is None:
        return "7bit"
    return value.partition(b"(")[0].strip().lower().decode("latin-1") or "7bit"
