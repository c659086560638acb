"""SORT (RFC 5256 §3, RFC 5957): uids in the order of criteria; ties by the order in the mailbox."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
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
    "subject": "base_subject",
    "to": "to_mailbox",
}


def columns(criteria: Iterable[SortBy]) -> list[str]:
    """What `sorted_uids` needs of each message."""
    return sorted({_COLUMN[criterion.by] for criterion in criteria if criterion.by in _COLUMN})


def sorted_uids(messages: Iterable[Keys], criteria: Sequence[SortBy]) -> list[int]:
    """Texts are compared in the order of i;unicode-casemap, as RFC 5256 §4 wants."""
    named = columns(criteria)
    ordered = sorted(messages, key=lambda keys: keys.uid)
    # Sorting is stable: the last criterion first. REVERSE leaves ties as they are (RFC 5256 §3).
    for criterion in reversed(criteria):
        ordered.sort(key=_value(criterion, named), reverse=criterion.reverse)
    return [keys.uid for keys in ordered]


def _value(criterion: SortBy, named: Sequence[str]) -> Callable[[Keys], Any]:
    if criterion.by == "arrival":
        return lambda keys: keys.internal_date
    if criterion.by == "size":
        return lambda keys: keys.octets
    at = named.index(_COLUMN[criterion.by])
    if criterion.by == "date":  # RFC 5256 §2.2: without a date that can be read, that of arrival
        return lambda keys: keys.internal_date if keys.values[at] is None else keys.values[at]
    return lambda keys: collated(keys.values[at])
