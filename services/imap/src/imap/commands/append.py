"""APPEND (RFC 9051 §6.3.12) of one message or several, all or none (RFC 3502), and REPLACE (RFC 8508)."""

from __future__ import annotations

import asyncio

from imap.commands.catenate import catenate
from imap.session import Done, Session
from mail_proto.imap import sequence
from mail_proto.imap.commands import Append, NewMessage, Replace
from mail_proto.imap.errors import Refused
from mail_proto.message.line_based import NotLineBased, line_based
from mail_runtime.contracts.errors import Conflict, NotFound
from mail_runtime.contracts.store import AppendHeader


async def append(session: Session, command: Append) -> Done:
    try:
        mailbox = await session.find_mailbox(command.mailbox)
    except Refused as error:
        raise Refused(str(error), "TRYCREATE") from error
    octets = []
    room = session.shared.settings.max_message_octets
    for message in command.messages:
        found = await catenate(session, message.parts, room) if message.parts else message.octets
        octets.append(await _storable(message, found))
        # Several together are no larger than one may be, as the framing has it for literals.
        room -= len(found) if message.parts else 0
    try:
        headers = [AppendHeader(flags=list(one.flags), internal_date=one.date) for one in command.messages]
        store, account_id, elsewhere = session.store, session.account_id, mailbox.owner_id is not None
        if len(octets) == 1:
            appended = [await store.append(account_id, mailbox.id, headers[0], octets[0], elsewhere=elsewhere)]
        else:
            appended = await store.append_all(account_id, mailbox.id, headers, octets, elsewhere=elsewhere)
    except NotFound as error:
        raise Refused("there is no such mailbox", "TRYCREATE") from error
    if session.selected is not None and session.selected.mailbox.id == mailbox.id:
        session.watch.changed.set()
        session.selected.own_uids.update(one.uid for one in appended)
    uids = sequence.render(one.uid for one in appended).decode("ascii")
    return Done("appended", f"APPENDUID {appended[0].uid_validity} {uids}")


async def replace(session: Session, command: Replace) -> Done:
    """REPLACE (RFC 8508): APPENDUID comes before EXPUNGE, so that the client can connect the two (§4.3)."""
    selected = session.writable()
    uids = selected.view.select(command.message, by_uid=command.by_uid)
    if not uids or selected.view.is_gone(uids[0]):
        raise Refused("the message is gone", "EXPUNGEISSUED")
    try:
        mailbox = await session.find_mailbox(command.mailbox)
    except Refused as error:
        raise Refused(str(error), "TRYCREATE") from error
    new, limit = command.new, session.shared.settings.max_message_octets
    octets = await _storable(new, await catenate(session, new.parts, limit) if new.parts else new.octets)
    header = AppendHeader(flags=list(new.flags), internal_date=new.date)
    place = (selected.mailbox.id, uids[0])
    try:
        replaced = await session.store.replace(session.account_id, *place, mailbox.id, header, octets)
    except NotFound as error:
        raise Refused("there is no such mailbox", "TRYCREATE") from error
    except Conflict as error:
        session.watch.changed.set()
        raise Refused("the message is gone", "EXPUNGEISSUED") from error
    session.watch.changed.set()
    if mailbox.id == selected.mailbox.id:
        selected.own_uids.add(replaced.uid)
    code = f"APPENDUID {replaced.uid_validity} {replaced.uid}"
    await session.send(f"* OK [{code}] the replacement is there\r\n".encode("ascii"))
    # RFC 8508 §4.5, RFC 7162 §3.2.7
    return Done("replaced", f"HIGHESTMODSEQ {replaced.modseq}" if session.enabled.qresync else "")


async def _storable(message: NewMessage, octets: bytes) -> bytes:
    """As it is, or with its binary parts in base64: FETCH BODY[] couldn't send NUL (RFC 3516 §4.4; RFC 9051 §9, CHAR8).

    Raises Refused.
    """
    if not octets:
        # RFC 3502 §6.3.11: a message of no octets abandons the whole command.
        raise Refused("an empty message: nothing was appended")
    if b"\0" not in octets:
        return octets
    if not message.is_binary:
        raise Refused("NUL comes in a literal8 (RFC 3516 section 4.4)")
    try:
        return await asyncio.to_thread(line_based, octets)
    except NotLineBased as error:
        raise Refused("there is NUL outside of binary parts", "UNKNOWN-CTE") from error
