"""One form for all spellings that a search takes for the same: used for texts and for what is looked for in them.

In the manner of i;unicode-casemap (RFC 5051, the collation that RFC 5255 §4 asks for): case is taken off, characters
are decomposed with their compatibility forms, and octets (here: code points) are compared. Where RFC 5051 §2 maps to
title case, this folds case as Unicode does, which also makes "ß" equal to "ss".
"""

from __future__ import annotations

import unicodedata


def fold(text: str) -> str:
    """The text as it is compared. `fold(a) in fold(b)` is what "a is a substring of b" means in SEARCH.

    It holds that `fold(a + b) == fold(a) + fold(b)` unless `b` begins with a combining mark.
    """
    if text.isascii():
        return text.lower()
    return unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
