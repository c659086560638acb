"""Opening and closing a mailbox: SELECT, EXAMINE, CLOSE, UNSELECT, and NOOP and CHECK, which ask for its news."""

from __future__ import annotations

from typing import Final

from imap.commands.listing import responses_to
from imap.commands.vanished import resync
from imap.recent import has_recent
from imap.session import Done, Selected, Session
from mail_proto.imap.commands import ListMailboxes, Select, Simple
from mail_proto.imap.object_ids import mailbox_id
from mail_runtime.contracts.errors import StoreError
from mail_runtime.contracts.store import Expunge

_NO_MORE: Final = Done("that is all")


async def select(session: Session, command: Select) -> Done:
    """SELECT, EXAMINE. A failure leaves no mailbox selected (RFC 9051 §6.3.2)."""
    if session.selected is not None:
        session.unselect()
        await session.send(b"* OK [CLOSED] the mailbox before is closed\r\n")
    mailbox = await session.find_mailbox(command.mailbox)
    # Watched before it is read: no change can fall between the two.
    session.watch.mailbox_id = mailbox.id
    session.watch.changed.clear()
    if mailbox.owner_id is not None:
        await session.shared.watches.follow(session.watch, mailbox.owner_id)
    try:
        shared, view = await session.shared.views.open(session.account_id, mailbox.id, session.is_proven)
    except StoreError:
        session.unselect()
        raise
    rights = shared.mailbox.rights
    session.selected = Selected(shared, command.read_only, view, session.enabled.condstore, rights)
    try:
        await session.send(b"".join(await _opening(session, session.selected)))
        if command.resync is not None:
            await session.send(await resync(session, session.selected, command.resync))
    except StoreError:
        session.unselect()
        raise
    text = "examining" if command.read_only else "selected"
    return Done(text, "READ-ONLY" if session.selected.read_only else "READ-WRITE")


async def _opening(session: Session, selected: Selected) -> list[bytes]:
    """What a client is told of the mailbox that it opens (RFC 9051 §6.3.2)."""
    rev2 = session.enabled.rev2
    mailbox, view = selected.mailbox, selected.view
    responses = [
        view.flags_response(),
        b"* %d EXISTS\r\n" % len(view),
        b"* OK [UIDVALIDITY %d] uids are valid\r\n" % mailbox.uid_validity,
        b"* OK [UIDNEXT %d] the next uid\r\n" % mailbox.uid_next,
        selected.permanent_flags(),
        b"* OK [HIGHESTMODSEQ %d] up to here\r\n" % max(1, view.told_modseq),
        b"* OK [MAILBOXID (%b)] for ever\r\n" % mailbox_id(mailbox.id),
    ]
    if not rev2:
        responses.insert(2, b"* %d RECENT\r\n" % await _recent(session, selected))
        if (unseen := view.first_unseen()) is not None:
            responses.append(b"* OK [UNSEEN %d] the first unseen\r\n" % unseen)
    else:
        listed = ListMailboxes("", (mailbox.name,), wanted=frozenset({"SUBSCRIBED"}))
        responses += [response for _, response in await responses_to(session, listed)]
    return responses


async def _recent(session: Session, selected: Selected) -> int:
    """How many are \\Recent; EXAMINE leaves them so for the next one (RFC 3501 §6.3.2)."""
    mailbox, view, recents = selected.mailbox, selected.view, session.shared.recents
    if has_recent(mailbox):
        last = view.last_uid
        told = recents.told(mailbox) if selected.examined else await recents.open(session.account_id, mailbox, last)
        view.add_recent(told, last)
    return view.count_recent()


async def simple(session: Session, command: Simple) -> Done:
    """CLOSE (RFC 3501 §6.4.2), UNSELECT (RFC 3691), NOOP and CHECK."""
    match command.name:
        case "CLOSE":
            return await _close(session)
        case "UNSELECT":
            session.unselect()
            return Done("unselected")
        case _:
            # The client asks for news: looked up, unless it is proven that there are none.
            if session.selected is not None and not await session.is_current():
                session.watch.changed.set()
            return _NO_MORE


async def _close(session: Session) -> Done:
    """Expunge without a word; not at all without the right (RFC 4314 §4)."""
    assert session.selected is not None, "checked by states.check_allowed"
    if not session.selected.examined and "e" in session.selected.rights:
        await session.store.expunge(session.account_id, session.selected.mailbox.id, Expunge())
    session.unselect()
    return Done("closed")
