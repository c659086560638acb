"""HTML to plain text: for search, previews and the text of messages. Display is the business of a sanitiser.

Every alternative of `_MARKUP` matches up to the end of the text where its closer is missing, so that nothing is
looked at twice, however hostile it is.
"""

from __future__ import annotations

import html
import re
from typing import Final

_MARKUP: Final = re.compile(
    r"<!--.*?(?:-->|\Z)"
    r"|<(script|style|title|template|noembed)\b.*?(?:</\1\b[^>]*+>?+|\Z)"
    r"|<(/?+[a-z][a-z0-9]*+)(?:[^>\"']++|\"[^\"]*+(?:\"|\Z)|'[^']*+(?:'|\Z))*+(?:>|\Z)"
    r"|<[!?/][^>]*+(?:>|\Z)",
    re.IGNORECASE | re.DOTALL,
)
# Elements that stand in a line (HTML §4.5 and its like): their tags leave nothing behind.
_INLINE: Final = frozenset({
    "a", "abbr", "acronym", "b", "bdi", "bdo", "big", "cite", "code", "data", "del", "dfn", "em", "font", "i", "ins",
    "kbd", "label", "mark", "o", "q", "ruby", "s", "samp", "small", "span", "strike", "strong", "sub", "sup", "time",
    "tt", "u", "var", "wbr",
})  # fmt: skip
_ALONE: Final = {"br": "\n", "td": " ", "th": " ", "li": "\n- ", "img": " ", "input": " "}
# int() refuses numbers of more than 4,300 digits; characters have seven.
_LONG_REFERENCE: Final = re.compile(r"&#[0-9]{8,}+;?|&#[xX][0-9a-fA-F]{7,}+;?")
_BLANKS: Final = re.compile(r"[ \t\r\f\v\u00a0]+")
_BREAKS: Final = re.compile(r" ?\n[ \n]*")


def html_text(markup: str) -> str:
    """The text that is displayed, a line end for each block; white space as a browser shows it. Never raises."""
    text = _MARKUP.sub(_replaced, markup.replace("\n", " "))
    text = html.unescape(_LONG_REFERENCE.sub("\ufffd", text)).replace("\x00", "")
    return _BREAKS.sub("\n", _BLANKS.sub(" ", text)).strip()


def _replaced(found: re.Match[str]) -> str:
    name = found[2]
    if name is None:
        return ""
    name = name.lower()
    if name in _ALONE:
        return _ALONE[name]
    return "" if name.removeprefix("/") in _INLINE else "\n"
