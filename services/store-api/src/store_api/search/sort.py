"""SORT (RFC 5256 §3, RFC 5957): uids in the order of criteria; ties by the order in the mailbox."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from mail_proto.fold import collated
from mail_runtime.contracts.store.search import SortBy
from store_api.search.keys import Keys

# The column that a criterion compares; the others are in every `Keys`.
_COLUMN: Final = {
    "cc": "cc_mailbox",
    "date": "sent_date",
    "displayfrom": "from_display",
    "displayto": "to_display",
    "from": "from_mailbox",
    "size": "octets",
    "subject": "base_subject",
    "to": "to_mailbox",
}


def columns(criteria: Iterable[SortBy]) -> list[str]:
    """What `sorted_uids` needs of each message."""
    return sorted({_COLUMN[criterion.by] for criterion in criteria if criterion.by in _COLUMN})


def sorted_uids(messages: Keys, criteria: Sequence[SortBy]) -> list[int]:
    """Texts are compared in the order of i;unicode-casemap, as RFC 5256 §4 wants."""
    named = columns(criteria)
    places = list(range(len(messages.uids)))  # in the order of uids
    # Sorting is stable: the last criterion first. REVERSE leaves ties as they are (RFC 5256 §3).
    for criterion in reversed(criteria):
        places.sort(key=_compared(messages, criterion, named).__getitem__, reverse=criterion.reverse)
    return [messages.uids[place] for place in places]


def _compared(messages: Keys, criterion: SortBy, named: Sequence[str]) -> Sequence[Any]:
    """What each message is compared by."""
    if criterion.by == "arrival":
        return messages.internal_dates
    column = messages.values[named.index(_COLUMN[criterion.by])]
    if criterion.by == "size":
        return column
    if criterion.by == "date":  # RFC 5256 §2.2: without a date that can be read, that of arrival
        return [
            arrived if sent is None else sent for sent, arrived in zip(column, messages.internal_dates, strict=True)
        ]
    order = {value: collated(value) for value in set(column)}
    return [order[value] for value in column]
