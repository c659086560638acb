"""ESEARCH in many mailboxes (RFC 7377), and CANCELUPDATE (RFC 5267 §4.3.5)."""

from __future__ import annotations

from typing import Final

from imap.commands.search import search, to_wire
from imap.session import Done, Session
from mail_proto.imap import render
from mail_proto.imap import search_keys as k
from mail_proto.imap.commands import CancelUpdate, Search, SearchMailboxes
from mail_proto.imap.errors import Refused, SyntaxFault
from mail_proto.imap.search_results import correlator, extended
from mail_runtime.contracts.errors import NotFound, NotPermitted
from mail_runtime.contracts.store import Mailbox
from mail_runtime.contracts.store import search as wire

# Ours (§2.4): each costs a search.
MAX_MAILBOXES: Final = 1_000


async def search_mailboxes(session: Session, command: SearchMailboxes) -> Done:
    """One ESEARCH for each mailbox in which something was found; what may not be read is passed over (§2.1, §2.2)."""
    if command.of_selected:
        if session.selected is None:
            raise SyntaxFault("no mailbox is selected")
        one = Search(command.key, True, command.results, command.fault, command.partial, command.fetched)
        await search(session, one, session.selected.mailbox)
    elif command.fault is not None:
        raise command.fault
    mailboxes = await _others(session, command)
    if len(mailboxes) > MAX_MAILBOXES:
        raise Refused(f"no more than {MAX_MAILBOXES} mailboxes are searched at once", "LIMIT")
    for number, mailbox in enumerate(mailboxes):
        session.progress = number, len(mailboxes)
        try:
            await session.send(await _in(session, mailbox, command))
        except (NotFound, NotPermitted):
            continue
    return Done("searched")


async def _others(session: Session, command: SearchMailboxes) -> list[Mailbox]:
    """Those that are searched, without the selected one if that has been."""
    sources = [source for source in command.sources if source.kind != "SELECTED"]
    if not sources:
        return []
    searched = session.selected.mailbox.id if command.of_selected and session.selected is not None else None
    return [
        mailbox
        for mailbox in await session.store.mailboxes(session.account_id, elsewhere=True)
        if mailbox.id != searched
        and "r" in mailbox.rights
        and any(
            source.matches(mailbox.name, subscribed=mailbox.subscribed, personal=mailbox.owner_id is None)
            and ("l" in mailbox.rights or source.kind == "MAILBOXES")
            for source in sources
        )
    ]


async def _in(session: Session, mailbox: Mailbox, command: SearchMailboxes) -> bytes:
    """The response for one mailbox, empty if nothing was found. Raises StoreError."""
    if k.contains(command.key, k.Numbers):
        shared, view = await session.shared.views.open(session.account_id, mailbox.id, session.is_proven)
        try:
            key = to_wire(command.key, view, lasting=True)
        finally:
            session.shared.views.close(shared, view)
    else:
        key = to_wire(command.key, None)
    found = await session.store.search(session.account_id, mailbox.id, wire.Search(key=key))
    uids = wire.unpack_numbers(found.uids)
    if not uids:
        return b""
    name = render.mailbox(mailbox.name, is_utf8=session.enabled.utf8)
    beginning = correlator(session.tag, by_uid=True, mailbox=name, uid_validity=mailbox.uid_validity)
    modseq = found.modseq if k.contains(command.key, k.Changed) else 0
    return extended(beginning, command.results, uids, modseq=modseq, partial=command.partial)


async def cancel_update(session: Session, command: CancelUpdate) -> Done:
    """What isn't kept up to date, perhaps no longer, is no error."""
    assert session.selected is not None, "checked by states.check_allowed"
    for tag in command.tags:
        session.selected.contexts.pop(tag, None)
    return Done("no further updates")
