"""Commands on mailboxes (RFC 3501 §6.3): list, status, create, delete, rename, subscribe."""

from __future__ import annotations

from imap.session import Done, Session
from mail_proto.imap import listing, render
from mail_proto.imap.commands import ListMailboxes, OnMailbox, Rename, Status
from mail_proto.imap.errors import Refused
from mail_runtime.contracts.errors import Conflict
from mail_runtime.contracts.store import ChangeMailbox, Mailbox


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
