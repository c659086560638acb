"""STATUS (RFC 9051 §6.3.11): counters that the store keeps, so that no message is looked at but for DELETED."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from imap.session import Done, Session
from mail_proto.imap import render
from mail_proto.imap.commands import Status
from mail_proto.imap.errors import Refused
from mail_proto.imap.object_ids import mailbox_id
from mail_runtime.contracts.store import Deleted, Mailbox

_OF_DELETED: Final = frozenset({"DELETED", "DELETED-STORAGE"})
_NONE_DELETED: Final = Deleted(messages=0, octets=0)


async def status(session: Session, command: Status) -> Done:
    mailbox = await session.find_mailbox(command.mailbox)
    if "r" not in mailbox.rights:  # RFC 4314 §4; who may not see it either is told nothing (§6)
        is_seen = "l" in mailbox.rights
        raise Refused(
            "this takes the right r" if is_seen else "there is no such mailbox", "NOPERM" if is_seen else "NONEXISTENT"
        )
    response = (await status_responses(session, [mailbox], command.items)).get(mailbox.id)
    if response is None:
        raise Refused("there is no such mailbox", "NONEXISTENT")
    await session.send(response)
    return Done("status")


async def status_responses(session: Session, mailboxes: Sequence[Mailbox], items: Sequence[str]) -> dict[UUID, bytes]:
    """`* STATUS` of each mailbox, by id; without those that are gone by now. Raises Unavailable."""
    mailboxes = await session.counted(mailboxes)
    deleted: dict[UUID, Deleted] = {}
    if not _OF_DELETED.isdisjoint(items):
        deleted = await session.store.deleted(session.account_id, [mailbox.id for mailbox in mailboxes])
    recent = await session.shared.recents.count(session.account_id, mailboxes) if "RECENT" in items else {}
    found = {}
    for mailbox in mailboxes:
        marked = deleted.get(mailbox.id, _NONE_DELETED)
        values = b" ".join(
            b"%b %b" % (item.encode("ascii"), _value(session, mailbox, marked, recent.get(mailbox.id, 0), item))
            for item in items
        )
        name = render.mailbox(mailbox.name, is_utf8=session.enabled.utf8)
        found[mailbox.id] = b"* STATUS %b (%b)\r\n" % (name, values)
    return found


def _value(session: Session, mailbox: Mailbox, deleted: Deleted, recent: int, item: str) -> bytes:
    match item:
        case "APPENDLIMIT":
            return b"%d" % session.shared.settings.max_message_octets
        case "DELETED":
            return b"%d" % deleted.messages
        case "DELETED-STORAGE":  # RFC 9208 §4.1.4: octets, though STORAGE counts 1,024 of them
            return b"%d" % deleted.octets
        case "HIGHESTMODSEQ":
            return b"%d" % max(1, mailbox.highest_modseq)
        case "MAILBOXID":
            return b"(" + mailbox_id(mailbox.id) + b")"
        case "MESSAGES":
            return b"%d" % mailbox.messages
        case "SIZE":
            return b"%d" % mailbox.octets
        case "UIDNEXT":
            return b"%d" % mailbox.uid_next
        case "UIDVALIDITY":
            return b"%d" % mailbox.uid_validity
        case "UNSEEN":
            return b"%d" % mailbox.unseen
    return b"%d" % recent
