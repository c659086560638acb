"""SEARCH (RFC 3501 §6.4.4): what the view knows first, then headers, then texts, each only where still needed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from email.utils import parsedate
from typing import Final

from imap.session import Done, Session
from mail_proto.imap.commands import Search
from mail_proto.imap.search_keys import (
    HasFlag,
    InHeader,
    InText,
    Numbers,
    Received,
    SearchKey,
    Sent,
    Size,
    matches,
    walk,
)
from mail_proto.imap.view import Message, View
from mail_proto.message import headers
from mail_proto.message.text import searchable
from mail_runtime.contracts.errors import NotFound
from mail_runtime.contracts.store import Summary

BATCH_MESSAGES: Final = 500
BATCH_BODIES: Final = 16
YIELD_MESSAGES: Final = 5_000

Test = Callable[[SearchKey], bool | None]


async def search(session: Session, command: Search) -> Done:
    selected = session.selected
    assert selected is not None, "checked by states.check_allowed"
    view = selected.view
    members = _resolve_sets(command.key, view)
    found: set[int] = set()
    undecided: list[Message] = []
    for number, uid in enumerate(view.uids, 1):
        if number % YIELD_MESSAGES == 0:
            await asyncio.sleep(0)  # other sessions go on meanwhile
        message = view.message(uid)
        result = matches(command.key, lambda key, m=message: _known(key, m, members))  # type: ignore[misc]
        if result:
            found.add(uid)
        elif result is None:
            undecided.append(message)
    if undecided:
        found |= await _by_contents(session, command.key, undecided, members)
    numbers = sorted(found) if command.by_uid else [view.number(uid) for uid in sorted(found)]
    await session.send(b"* SEARCH" + b"".join(b" %d" % number for number in numbers) + b"\r\n")
    return Done("searched")


Members = dict[Numbers, frozenset[int]]


def _resolve_sets(key: SearchKey, view: View) -> Members:
    """Which uids each set of numbers in the search means."""
    return {
        inner: frozenset(view.select(inner.numbers, by_uid=inner.are_uids))
        for inner in walk(key)
        if isinstance(inner, Numbers)
    }


def _known(key: SearchKey, message: Message, members: Members) -> bool | None:
    """Leaves that need nothing but the view."""
    match key:
        case Numbers():
            return message.uid in members[key]
        case HasFlag(flag):
            return message.has(flag)
        case Size(limit, larger):
            return message.octets > limit if larger else message.octets < limit
        case Received(first, end):
            return _within(datetime.fromtimestamp(message.internal_date, UTC).date(), first, end)
    return None


def _within(day: date, first: date | None, end: date | None) -> bool:
    return (first is None or day >= first) and (end is None or day < end)


def _sent_day(header: bytes) -> date | None:
    """The day as the Date field says it, whatever its zone (RFC 3501 §6.4.4: disregarding time and time zone)."""
    value = headers.field(header, b"Date")
    parsed = None if value is None else parsedate(value.decode("latin-1"))
    try:
        return None if parsed is None else date(*parsed[:3])
    except (ValueError, OverflowError):
        return None


async def _by_contents(session: Session, key: SearchKey, undecided: Sequence[Message], members: Members) -> set[int]:
    found: set[int] = set()
    for start in range(0, len(undecided), BATCH_MESSAGES):
        batch = undecided[start : start + BATCH_MESSAGES]
        blob_ids = [message.blob_id for message in batch]
        summaries = await session.shared.contents.summaries(session.account_id, blob_ids)
        by_text: list[tuple[Message, Summary]] = []
        for message in batch:
            if (summary := summaries.get(message.blob_id)) is None:
                continue  # expunged meanwhile
            result = matches(key, _Contents(message, summary, members))
            if result:
                found.add(message.uid)
            elif result is None:
                by_text.append((message, summary))
        for at in range(0, len(by_text), BATCH_BODIES):
            found |= await _by_text(session, key, by_text[at : at + BATCH_BODIES], members)
    return found


async def _by_text(
    session: Session, key: SearchKey, batch: Sequence[tuple[Message, Summary]], members: Members
) -> set[int]:
    found: set[int] = set()
    for message, summary in batch:
        try:
            octets = await session.shared.contents.body(session.account_id, message.blob_id)
        except NotFound:
            continue
        # Decoding a large message takes long: other sessions go on meanwhile.
        text = await asyncio.to_thread(searchable, octets, summary.root)
        if matches(key, _Contents(message, summary, members, text.casefold())):
            found.add(message.uid)
    return found


class _Contents:
    """Decides leaves by a message's header, and by its text where that is given."""

    def __init__(self, message: Message, summary: Summary, members: Members, text: str | None = None) -> None:
        self._message, self._summary, self._members, self._text = message, summary, members, text

    def __call__(self, key: SearchKey) -> bool | None:
        match key:
            case Sent(first, end):
                day = _sent_day(self._summary.header)
                return day is not None and _within(day, first, end)
            case InHeader(name, text):
                return any(text in value for value in self._values(name))
            case InText(text, header_too):
                if header_too and text in headers.decode(self._summary.header).casefold():
                    return True
                return None if self._text is None else text in self._text
        return _known(key, self._message, self._members)

    def _values(self, name: bytes) -> list[str]:
        wanted = name.lower()
        return [
            headers.decode(value).casefold()
            for field, value in headers.fields(self._summary.header)
            if field.lower() == wanted
        ]
