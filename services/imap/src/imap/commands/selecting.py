"""Opening and closing a mailbox: SELECT, EXAMINE, CLOSE, UNSELECT, and NOOP and CHECK, which ask for its news."""

from __future__ import annotations

from imap.session import Done, Selected, Session, messages_of
from mail_proto.imap.commands import Select, Simple
from mail_proto.imap.view import View
from mail_runtime.contracts.store import Expunge


async def select(session: Session, command: Select) -> Done:
    """SELECT, EXAMINE. A failure leaves no mailbox selected (RFC 3501 §6.3.1)."""
    session.unselect()
    mailbox = await session.find_mailbox(command.mailbox)
    # Watched before it is read: no change can fall between the two.
    session.watch.mailbox_id = mailbox.id
    session.watch.changed.clear()
    changes = await session.store.changes(session.account_id, mailbox.id)
    mailbox = changes.mailbox
    view = View(messages_of(changes))
    responses = [
        view.flags_response(),
        b"* %d EXISTS\r\n* 0 RECENT\r\n" % len(view),
        b"* OK [UIDVALIDITY %d] uids are valid\r\n" % mailbox.uid_validity,
        b"* OK [UIDNEXT %d] the next uid\r\n" % mailbox.uid_next,
    ]
    if (unseen := view.first_unseen()) is not None:
        responses.append(b"* OK [UNSEEN %d] the first unseen\r\n" % unseen)
    permanent = "()" if command.read_only else view.permanent_flags()
    responses.append(b"* OK [PERMANENTFLAGS %b] flags that are kept\r\n" % permanent.encode("ascii"))
    await session.send(b"".join(responses))
    session.selected = Selected(mailbox, command.read_only, view, mailbox.highest_modseq)
    if command.read_only:
        return Done("examining", "READ-ONLY")
    return Done("selected", "READ-WRITE")


async def simple(session: Session, command: Simple) -> Done:
    """CLOSE (RFC 3501 §6.4.2), UNSELECT (RFC 3691), NOOP and CHECK."""
    match command.name:
        case "CLOSE":
            return await _close(session)
        case "UNSELECT":
            session.unselect()
            return Done("unselected")
        case _:
            session.watch.changed.set()  # the client asks for news
            return Done("that is all")


async def _close(session: Session) -> Done:
    """Expunge without a word."""
    assert session.selected is not None, "checked by states.check_allowed"
    if not session.selected.read_only:
        await session.store.expunge(session.account_id, session.selected.mailbox.id, Expunge())
    session.unselect()
    return Done("closed")
