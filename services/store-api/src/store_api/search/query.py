"""What people type into a search box, as search keys: words, "phrases", -not, field:word."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from mail_proto.fold import fold
from mail_runtime.contracts.errors import Refused
from mail_runtime.contracts.store import search as wire

# Ours: more than anybody types.
MAX_TERMS: Final = 20

# term = ["-"] [field ":"] (<"> *any <"> / 1*nonspace)
_TERM: Final = re.compile(r'(-?)(?:(from|to|cc|bcc|subject):)?(?:"([^"]*)"?|(\S+))', re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Query:
    """`key` finds; `terms` are the folded texts that a message must have, for its rank and its snippet."""

    key: wire.SearchKey
    terms: tuple[str, ...]


def parse_query(text: str) -> Query:
    """All terms must occur, those behind `-` must not. Raises Refused: nothing to look for, or too many terms."""
    keys: list[wire.SearchKey] = []
    terms: list[str] = []
    for minus, name, phrase, word in _TERM.findall(text):
        wanted = (phrase or word).strip()
        if not wanted:
            continue
        key = wire.InHeader(name.lower(), wanted) if name else wire.InText(wanted, header_too=True)
        keys.append(wire.Not(key) if minus else key)
        if not minus:
            terms.append(fold(wanted))
    if not keys:
        raise Refused("say what to look for")
    if len(keys) > MAX_TERMS:
        raise Refused(f"at most {MAX_TERMS} terms")
    return Query(wire.AllOf(keys), tuple(dict.fromkeys(terms)))
