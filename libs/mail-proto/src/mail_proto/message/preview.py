"""The preview of a message: the beginning of what it says (RFC 8970 §3.3)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from mail_proto.message.html_text import html_text
from mail_proto.message.leaves import Leaf
from mail_proto.message.structure import Octets
from mail_proto.message.text import decoded_text

# RFC 8970 §3.3: SHOULD be 200 characters at most, MUST NOT be more than 256.
MAX_PREVIEW_LENGTH: Final = 200
# Ours: what is looked at of a text, and of HTML, which has its styles in front.
_TEXT_OCTETS: Final = 1_024
_HTML_OCTETS: Final = (4_096, 65_536)

_QUOTED_LINE: Final = re.compile(r"^>.*+\n?", re.MULTILINE)
_BODY: Final = re.compile(r"<body\b", re.IGNORECASE)
# Newsletters fill up their previews with characters that don't show.
_BLANKS: Final = re.compile(r"[\s\u00ad\u034f\u200b\u2007\u2060\ufeff]+|[\u200c\u200d](?=[\s\u200c\u200d\u034f]|\Z)")
_RULES: Final = re.compile(r"([-=_*~#])\1{3,}+")
# Of most texts the beginning is enough. What is cut at its end: three characters of a rule at most, or a blank.
_ENOUGH_LENGTH: Final = 400
_CUT_LENGTH: Final = 8


def preview(octets: Octets, found: Sequence[Leaf]) -> str:
    """From the first text of a message, plain if there is one that says something; empty where none does."""
    for role in ("text", "html"):
        for leaf in found:
            if leaf.role == role and (text := _of_plain(octets, leaf) if role == "text" else _of_html(octets, leaf)):
                return text
    return ""


def _of_plain(octets: Octets, leaf: Leaf) -> str:
    text = decoded_text(octets, leaf.part, leaf.described.values, _TEXT_OCTETS)
    return _cut(_QUOTED_LINE.sub("", text) if ">" in text else text) or _cut(text)


def _of_html(octets: Octets, leaf: Leaf) -> str:
    shown = ""
    for limit in _HTML_OCTETS:
        text = decoded_text(octets, leaf.part, leaf.described.values, limit)
        body = _BODY.search(text)
        shown = _cut(html_text(text[body.start() if body else 0 :]))
        if len(shown) > MAX_PREVIEW_LENGTH // 2 or leaf.part.body_end - leaf.part.body_start <= limit:
            break
    return shown


def _cut(text: str) -> str:
    # The last characters may be other ones in the whole text, or none.
    shown = _shown(text[:_ENOUGH_LENGTH])[:-_CUT_LENGTH].rstrip() if len(text) > _ENOUGH_LENGTH else ""
    if len(shown) <= MAX_PREVIEW_LENGTH:
        shown = _shown(text)
    return shown if len(shown) <= MAX_PREVIEW_LENGTH else shown[: MAX_PREVIEW_LENGTH - 1].rstrip() + "…"


def _shown(text: str) -> str:
    text = _RULES.sub(" ", text)
    return " ".join(text.split()) if text.isascii() else _BLANKS.sub(" ", text).strip()
