"""One form for all spellings that a search takes for the same: used for texts and for what is looked for in them.

In the manner of i;unicode-casemap (RFC 5051, the collation that RFC 5255 §4 asks for): case is taken off, characters
are decomposed with their compatibility forms, and octets (here: code points) are compared. Where RFC 5051 §2 maps to
title case, this folds case as Unicode does, which also makes "ß" equal to "ss": what that collation takes for the same
is the same here, and a little more.
"""

from __future__ import annotations

import unicodedata


def fold(text: str) -> str:
    """The text as it is compared. `fold(a) in fold(b)` is what "a is a substring of b" means in SEARCH.

    It holds that `fold(a + b) == fold(a) + fold(b)` unless `b` begins with a combining mark.
    """
    if text.isascii():
        return text.lower()
    # Without dot: RFC 5051 takes its title case, I, for that of i.
    return unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold()).replace("ı", "i")


def collated(folded: str) -> str:
    """By what folded texts are sorted: the order of i;unicode-casemap is that of title case (RFC 5051 §2)."""
    if folded.isascii():
        return folded.upper()
    return unicodedata.normalize("NFKD", "".join(map(_title, folded)))


def _title(character: str) -> str:
    """Its simple title case: one character."""
    title = character.title()
    return title if len(title) == 1 else character
