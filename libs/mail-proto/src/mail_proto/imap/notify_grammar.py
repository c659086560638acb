"""NOTIFY (RFC 5465 §8): which events of which mailboxes a client wants to hear of, all the time.

notify      = "NOTIFY" SP ("SET" [SP "STATUS"] SP event-group *(SP event-group) / "NONE")
event-group = "(" filter-mailboxes SP events ")"        events = "(" event *(SP event) ")" / "NONE"
event       = "MessageNew" [SP "(" fetch-att *(SP fetch-att) ")"] / "MessageExpunge" / "FlagChange" /
              "MailboxName" / "SubscriptionChange" / "MailboxMetadataChange" / "ServerMetadataChange"

The examples of RFC 5465 §3.1 leave out the parentheses of events: that is taken too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from mail_proto.imap.cursor import Cursor
from mail_proto.imap.errors import Refused, SyntaxFault
from mail_proto.imap.fetch_items import FetchItem, parse_fetch_items, peeked
from mail_proto.imap.mailbox_filters import NOTIFIED, SELECTED, MailboxFilter, mailbox_filter

_MESSAGE: Final = ("MessageNew", "MessageExpunge", "FlagChange")
_MAILBOX: Final = ("MailboxName", "SubscriptionChange", "MailboxMetadataChange", "ServerMetadataChange")
MESSAGE_EVENTS: Final = frozenset(name.upper() for name in _MESSAGE)
_EVENTS: Final = MESSAGE_EVENTS | {name.upper() for name in _MAILBOX}
_BAD_EVENT: Final = f"BADEVENT ({' '.join(_MESSAGE + _MAILBOX)})"
# Ours.
MAX_GROUPS: Final = 100


@dataclass(frozen=True, slots=True)
class EventGroup:
    """`events` in upper case; `fetched`: what is told of new messages of the selected mailbox."""

    mailboxes: MailboxFilter
    events: frozenset[str]
    fetched: tuple[FetchItem, ...] = ()


@dataclass(frozen=True, slots=True)
class Notify:
    """NOTIFY SET, or NONE without groups. `status`: where things stand is told at once."""

    groups: tuple[EventGroup, ...] = ()
    status: bool = False

    @property
    def selected(self) -> EventGroup | None:
        """What is wanted of the selected mailbox; None: nothing."""
        return next((group for group in self.groups if group.mailboxes.kind in SELECTED), None)


def parse_notify(cursor: Cursor, name: str) -> Notify:
    """Raises SyntaxFault; Refused: an event that isn't known here (§3.1)."""
    if cursor.skip(b"NONE"):
        return Notify()
    cursor.expect(b"SET ")
    status = cursor.skip(b"STATUS ")
    groups = [_group(cursor)]
    while cursor.skip(b" ") and not cursor.at_end:
        groups.append(_group(cursor))
    if len(groups) > MAX_GROUPS:
        raise SyntaxFault(f"no more than {MAX_GROUPS} groups of events")
    if sum(group.mailboxes.kind in SELECTED for group in groups) > 1:
        raise SyntaxFault("the selected mailbox is named once (RFC 5465 section 6.1)")
    return Notify(tuple(groups), status)


def _group(cursor: Cursor) -> EventGroup:
    cursor.expect(b"(")
    mailboxes = mailbox_filter(cursor, NOTIFIED)
    cursor.space()
    events: set[str] = set()
    fetched: tuple[FetchItem, ...] = ()
    if not cursor.skip(b"NONE"):
        end = b")" if cursor.skip(b"(") else b""
        while True:
            event = cursor.keyword()
            if event not in _EVENTS:
                raise Refused("there is no such event here", _BAD_EVENT)
            events.add(event)
            if event == "MESSAGENEW" and cursor.looking_at(b" ("):
                cursor.space()
                fetched = peeked(parse_fetch_items(cursor))
            if not cursor.skip(b" "):
                break
        cursor.expect(end)
    cursor.expect(b")")
    _check(mailboxes, frozenset(events), fetched)
    return EventGroup(mailboxes, frozenset(events), fetched)


def _check(mailboxes: MailboxFilter, events: frozenset[str], fetched: tuple[FetchItem, ...]) -> None:
    """What goes together (§5, §6.1, §8). Raises SyntaxFault."""
    both = {"MESSAGENEW", "MESSAGEEXPUNGE"}
    if events & MESSAGE_EVENTS and not events >= both:
        raise SyntaxFault("MessageNew and MessageExpunge come together (RFC 5465 section 5)")
    if mailboxes.kind in SELECTED and events - MESSAGE_EVENTS:
        raise SyntaxFault("of the selected mailbox there are events of messages only (RFC 5465 section 6.1)")
    if fetched and mailboxes.kind not in SELECTED:
        raise SyntaxFault("messages are fetched from the selected mailbox only (RFC 5465 section 8)")
