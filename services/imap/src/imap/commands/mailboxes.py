"""Commands on mailboxes (RFC 3501 §6.3): select, list, status, create, delete, rename, subscribe."""

from __future__ import annotations

from typing import Final

from imap.session import Done, Selected, Session, messages_of
from mail_proto.imap import listing, render
from mail_proto.imap.commands import ListMailboxes, OnMailbox, Rename, Select, Status
from mail_proto.imap.errors import Refused
from mail_proto.imap.view import View
from mail_runtime.contracts.errors import Conflict
from mail_runtime.contracts.store import ChangeMailbox, Mailbox

NAMESPACE: Final = b'* NAMESPACE (("" "/")) NIL NIL\r\n'


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


async def list_mailboxes(session: Session, command: ListMailboxes) -> Done:
    mailboxes = [
        listing.Listed(mailbox.name, mailbox.subscribed, mailbox.special_use)
        for mailbox in await session.store.mailboxes(session.account_id)
    ]
    if command.is_lsub or "SUBSCRIBED" in command.select:
        former = await session.store.former_subscriptions(session.account_id)
        mailboxes += [listing.Listed(name, True, None, exists=False) for name in former]
    await session.send(b"".join(listing.respond(command, mailboxes)))
    return Done("listed")


async def status(session: Session, command: Status) -> Done:
    mailbox = await session.find_mailbox(command.mailbox)
    items = b" ".join(b"%b %d" % (item.encode("ascii"), _status_item(session, mailbox, item)) for item in command.items)
    await session.send(b"* STATUS %b (%b)\r\n" % (render.mailbox(mailbox.name), items))
    return Done("status")


def _status_item(session: Session, mailbox: Mailbox, item: str) -> int:
    match item:
        case "APPENDLIMIT":
            return session.shared.settings.max_message_octets
        case "MESSAGES":
            return mailbox.messages
        case "UIDNEXT":
            return mailbox.uid_next
        case "UIDVALIDITY":
            return mailbox.uid_validity
        case "UNSEEN":
            return mailbox.unseen
    return 0  # RECENT: no message is


async def on_mailbox(session: Session, command: OnMailbox) -> Done:
    """CREATE, DELETE, SUBSCRIBE, UNSUBSCRIBE."""
    account_id, store = session.account_id, session.store
    if command.name == "CREATE":
        await store.create_mailbox(account_id, command.mailbox)
        return Done("created")
    if command.name in {"SUBSCRIBE", "UNSUBSCRIBE"}:
        await store.subscribe(account_id, command.mailbox, subscribed=command.name == "SUBSCRIBE")
        return Done("subscribed" if command.name == "SUBSCRIBE" else "unsubscribed")
    mailbox = await session.find_mailbox(command.mailbox)
    await store.delete_mailbox(account_id, mailbox.id)
    if session.selected is not None and session.selected.mailbox.id == mailbox.id:
        session.unselect()
    return Done("deleted")


async def rename(session: Session, command: Rename) -> Done:
    mailbox = await session.find_mailbox(command.mailbox)
    try:
        await session.store.change_mailbox(session.account_id, mailbox.id, ChangeMailbox(name=command.new))
    except Conflict as error:
        raise Refused("a mailbox of that name exists", "ALREADYEXISTS") from error
    return Done("renamed")
