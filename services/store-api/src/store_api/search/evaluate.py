"""Search keys decided in Python, for messages that aren't indexed yet; SQL decides the same in `compile`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import assert_never
from uuid import UUID

from mail_proto.fold import fold
from mail_proto.message.search_text import SearchText
from mail_runtime.contracts.store import search as wire
from store_api.search.fields import NAMED, Fields


@dataclass(frozen=True, slots=True)
class Message:
    """A row of `message`, and what was read from its octets."""

    mailbox_id: UUID
    uid: int
    modseq: int
    flags: Sequence[str]
    internal_date: int
    saved_date: int
    email_id: UUID
    thread_id: UUID | None
    octets: int
    text: SearchText
    fields: Fields


def matches(key: wire.SearchKey, message: Message, now: int) -> bool:
    """Whether the message is meant. `now`: seconds since the epoch."""
    match key:
        case wire.Everything():
            return True
        case wire.Uids(ranges):
            return any(first <= message.uid <= last for first, last in ranges)
        case wire.HasFlag(flag):
            return any(own.lower() == flag.lower() for own in message.flags)
        case wire.Size(larger, smaller):
            return (larger is None or message.octets > larger) and (smaller is None or message.octets < smaller)
        case wire.Day(of, first, end):
            return _within(_day(message, of), first, end)
        case wire.Arrived(first_s, end_s):
            return (first_s is None or message.internal_date >= first_s) and (
                end_s is None or message.internal_date < end_s
            )
        case wire.Age(seconds, older):
            return message.internal_date <= now - seconds if older else message.internal_date >= now - seconds
        case wire.Changed(since):
            return message.modseq >= since
        case wire.InHeader(name, text):
            return any(fold(text) in value for value in _values(message, fold(name)))
        case wire.InText(text, header_too):
            return _contains(message.text, fold(text), header_too=header_too)
        case wire.HasId(of, wanted):
            return wanted == (message.email_id if of == "email" else message.thread_id)
        case wire.InMailboxes(ids):
            return message.mailbox_id in ids
        case wire.Not(inner):
            return not matches(inner, message, now)
        case wire.AnyOf(keys):
            return any(matches(inner, message, now) for inner in keys)
        case wire.AllOf(keys):
            return all(matches(inner, message, now) for inner in keys)
    assert_never(key)


def _values(message: Message, name: str) -> list[str]:
    """Of the header fields of a folded name. What has a column is looked for in that."""
    if name not in NAMED:
        return message.text.values(name)
    column: str | None = getattr(message.fields, "from_" if name == "from" else name)
    return [] if column is None else column.split("\n")


def _contains(text: SearchText, needle: str, *, header_too: bool) -> bool:
    return needle in text.body or (header_too and (needle in text.header or needle in text.parts))


def _day(message: Message, of: str) -> date | None:
    if of == "sent":
        return message.fields.sent_day
    return datetime.fromtimestamp(message.internal_date if of == "internal" else message.saved_date, UTC).date()


def _within(day: date | None, first: date | None, end: date | None) -> bool:
    return day is not None and (first is None or day >= first) and (end is None or day < end)
