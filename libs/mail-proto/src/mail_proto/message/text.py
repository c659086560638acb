"""The text of a message: all its parts of type text, decoded, without markup (RFC 2045 §6, RFC 2046 §4.1)."""

from __future__ import annotations

import binascii
import html
import re
from typing import Final

from mail_proto.message.charsets import decode_octets
from mail_proto.message.headers import base64_octets, field, media_type
from mail_proto.message.structure import Part

# What is decoded of one message at most: search and display need no more.
MAX_TEXT_OCTETS: Final = 1_048_576

_HIDDEN: Final = ("script", "style", "head")
_TAG_NAME: Final = re.compile(r"/?[a-z0-9]*+")


def searchable(octets: bytes, root: Part) -> str:
    """The decoded text of all text parts in order, a line end between two; bounded by MAX_TEXT_OCTETS."""
    texts: list[str] = []
    left = MAX_TEXT_OCTETS
    pending = [root]
    while pending and left > 0:
        part = pending.pop()
        pending.extend(reversed(part.children))
        if not part.children and part.media_type.startswith("text/"):
            texts.append(part_text(octets, part, left))
            left -= min(part.body_end - part.body_start, left)
    return "\n".join(texts)


def part_text(octets: bytes, part: Part, limit: int = MAX_TEXT_OCTETS) -> str:
    """The decoded text of one text part, of its first `limit` octets."""
    header = octets[part.header_start : part.body_start]
    body = octets[part.body_start : min(part.body_end, part.body_start + limit)]
    encoding = (field(header, b"content-transfer-encoding") or b"").lower()
    if encoding == b"base64":
        body = base64_octets(body)
    elif encoding == b"quoted-printable":
        body = binascii.a2b_qp(body)
    charset = media_type(field(header, b"content-type")).parameter(b"charset")
    text = decode_octets(body, charset.decode("latin-1") if charset else None)
    return _without_markup(text) if part.media_type == "text/html" else text


def _without_markup(text: str) -> str:
    try:
        return html.unescape(_without_tags(text))
    except ValueError:  # a character reference with more digits than int() takes
        return _without_tags(text)


def _without_tags(text: str) -> str:
    """One pass: each search begins where the last one ended, and one that finds nothing ends it."""
    kept: list[str] = []
    position, hidden = 0, ""
    while (start := text.find("<", position)) >= 0:
        if not hidden:
            kept += (text[position:start], " ")
        closer = "-->" if text.startswith("<!--", start) else ">"
        end = text.find(closer, start)
        if end < 0:
            return "".join(kept)
        found = _TAG_NAME.match(text[start + 1 : start + 16].lower())
        name = found[0] if found else ""
        if hidden:
            hidden = "" if name == "/" + hidden else hidden
        elif name in _HIDDEN:
            hidden = name
        position = end + len(closer)
    if not hidden:
        kept.append(text[position:])
    return "".join(kept)
