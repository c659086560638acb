"""METADATA (RFC 5464): annotations of mailboxes, and of the server where the name is empty."""

from __future__ import annotations

from uuid import UUID

from imap.session import Done, Session
from mail_proto.imap import render
from mail_proto.imap.commands import GetMetadata, SetMetadata
from mail_proto.imap.errors import Refused
from mail_proto.imap.metadata import is_within, metadata
from mail_runtime.contracts import errors as store_errors
from mail_runtime.contracts.store.annotations import MAX_VALUE_OCTETS, FindAnnotations, SetAnnotations
from mail_runtime.contracts.subjects import NOBODY


async def get(session: Session, command: GetMetadata) -> Done:
    """GETMETADATA: an entry that isn't there is NIL, unless it was asked for what is below it."""
    mailbox_id, name = await _mailbox(session, command.mailbox)
    wanted = FindAnnotations(entries=list(command.entries), below=command.depth != 0)
    found = await session.store.annotations(session.account_id, mailbox_id, wanted)
    values: dict[str, bytes | None] = {
        entry: value
        for entry, value in sorted(found.items())
        if any(is_within(entry, sought, command.depth) for sought in command.entries)
    }
    longest = 0
    if (limit := command.max_octets) is not None:
        sizes = {entry: len(value) for entry, value in values.items() if value is not None}
        longest = max((octets for octets in sizes.values() if octets > limit), default=0)
        values = {entry: value for entry, value in values.items() if sizes[entry] <= limit}
    if command.depth == 0:
        values = {entry: values.get(entry) for entry in command.entries if entry in values or entry not in found}
    if values:
        await session.send(metadata(name, values))
    return Done("annotations", f"METADATA LONGENTRIES {longest}" if longest else "")


async def set_values(session: Session, command: SetMetadata) -> Done:
    """SETMETADATA, all or none. Raises Refused with the codes of RFC 5464 §4.3."""
    mailbox_id, _ = await _mailbox(session, command.mailbox)
    wanted = SetAnnotations(values=dict(command.values))
    try:
        with session.watch.annotating(mailbox_id or NOBODY, command.values):
            await session.store.set_annotations(session.account_id, mailbox_id, wanted)
    except store_errors.TooLarge as error:
        raise Refused(str(error), f"METADATA MAXSIZE {MAX_VALUE_OCTETS}") from error
    except store_errors.Refused as error:
        raise Refused(str(error), "METADATA TOOMANY") from error
    return Done("annotated")


async def _mailbox(session: Session, name: str) -> tuple[UUID | None, bytes]:
    """Its id, and the name as it is told; None: the server."""
    if not name:
        return None, b'""'
    mailbox = await session.find_mailbox(name)
    return mailbox.id, render.mailbox(mailbox.name, is_utf8=session.enabled.utf8)
