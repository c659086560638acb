"""What the items of a FETCH need to be answered, known before any message is looked at."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from mail_proto.imap.fetch_items import Attribute, Binary, FetchItem, Section

# What the columns of a mailbox have, and how it looks.
COLUMNS: Final = {
    "FLAGS": b"FLAGS %b",
    "INTERNALDATE": b"INTERNALDATE %b",
    "MODSEQ": b"MODSEQ (%d)",
    "RFC822.SIZE": b"RFC822.SIZE %d",
    "UID": b"UID %d",
}
# Plans of so few and short items are made once.
KEPT_ITEMS: Final = 12
KEPT_OCTETS: Final = 200
_SUMMARISED: Final = frozenset({"ENVELOPE", "BODY", "BODYSTRUCTURE", "PREVIEW"})
_OF_OBJECTS: Final = frozenset({"EMAILID", "THREADID", "SAVEDATE"})


@dataclass(frozen=True, slots=True)
class FetchPlan:
    """`items` in the order of the answer.

    `columns`: their names, where nothing is asked for but what the columns have. `names`: of all attributes.
    `bodies`, `summaries`, `objects`, `previews`: that they are needed of each message; `headers`: that a summary's is
    enough, unless it is cut short. `sets_seen`: an item sets \\Seen.
    """

    items: tuple[FetchItem, ...]
    columns: tuple[str, ...]
    names: frozenset[str]
    bodies: bool
    headers: bool
    summaries: bool
    objects: bool
    previews: bool
    sets_seen: bool


def plan(items: tuple[FetchItem, ...], *, by_uid: bool = False, with_modseq: bool = False) -> FetchPlan:
    """UID FETCH tells uids (RFC 9051 §6.4.9), CHANGEDSINCE modseqs (RFC 7162 §3.1.4.1)."""
    labels = [item.label for item in items if not isinstance(item, Attribute)]
    if len(items) > KEPT_ITEMS or any(len(label) > KEPT_OCTETS for label in labels):
        return _made(items, by_uid, with_modseq)
    return _kept(items, by_uid, with_modseq)


@lru_cache(maxsize=500)
def _kept(items: tuple[FetchItem, ...], by_uid: bool, with_modseq: bool) -> FetchPlan:
    return _made(items, by_uid, with_modseq)


def _made(items: tuple[FetchItem, ...], by_uid: bool, with_modseq: bool) -> FetchPlan:
    if by_uid and Attribute("UID") not in items:
        items = (Attribute("UID"), *items)
    if with_modseq and Attribute("MODSEQ") not in items:
        items = (*items, Attribute("MODSEQ"))
    sections = [item for item in items if not isinstance(item, Attribute)]
    names = frozenset([item.name for item in items if isinstance(item, Attribute)])
    columns = tuple([item.name for item in items if isinstance(item, Attribute) and item.name in COLUMNS])
    # A message as a whole is sent as it is.
    in_parts = [item for item in sections if isinstance(item, Binary) or item.path or item.text is not None]
    return FetchPlan(
        items,
        columns if len(columns) == len(items) else (),
        names,
        bodies=any(isinstance(item, Binary) or not item.is_header for item in sections),
        headers=any(isinstance(item, Section) and item.is_header for item in sections),
        summaries=bool(in_parts) or not _SUMMARISED.isdisjoint(names),
        objects=not _OF_OBJECTS.isdisjoint(names),
        previews="PREVIEW" in names,
        sets_seen=any(item.sets_seen for item in sections),
    )
