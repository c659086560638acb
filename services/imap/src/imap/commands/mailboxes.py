"""Commands that change mailboxes (RFC 9051 §6.3): create, delete, rename, subscribe."""

from __future__ import annotations

from imap.session import Done, Session
from mail_proto.imap.commands import Create, OnMailbox, Rename
from mail_proto.imap.errors import Refused
from mail_proto.imap.listing import superiors
from mail_proto.imap.object_ids import mailbox_id
from mail_runtime.contracts import errors as store_errors
from mail_runtime.contracts.store import ChangeMailbox


async def create(session: Session, command: Create) -> Done:
    """CREATE, perhaps for a special use (RFC 6154 §3); the new mailbox's id comes along (RFC 8474 §4.1)."""
    # RFC 9051 §6.3.4: a trailing separator announces that there will be inferiors; the name is without it.
    name = command.mailbox.removesuffix("/")
    if len(command.uses) > 1:
        raise Refused("a mailbox has one use", "USEATTR")
    use = command.uses[0] if command.uses else None
    try:
        # Whether it is subscribed is another command's affair (RFC 9051 §6.3.7).
        mailbox = await session.store.create_mailbox(session.account_id, name, use, subscribed=False)
    except (store_errors.Conflict, store_errors.Refused) as error:
        if use is not None and not await _exists(session, name):
            raise Refused(str(error), "USEATTR") from error
        raise
    session.own(name, *superiors(name))
    return Done("created", f"MAILBOXID ({mailbox_id(mailbox.id).decode('ascii')})")


async def _exists(session: Session, name: str) -> bool:
    return any(mailbox.name == name for mailbox in await session.store.mailboxes(session.account_id))


async def on_mailbox(session: Session, command: OnMailbox) -> Done:
    """DELETE, SUBSCRIBE, UNSUBSCRIBE."""
    account_id, store = session.account_id, session.store
    if command.name in {"SUBSCRIBE", "UNSUBSCRIBE"}:
        await store.subscribe(account_id, command.mailbox, subscribed=command.name == "SUBSCRIBE")
        session.own(command.mailbox)
        return Done("subscribed" if command.name == "SUBSCRIBE" else "unsubscribed")
    mailbox = await session.find_mailbox(command.mailbox)
    await store.delete_mailbox(account_id, mailbox.id)
    if session.selected is not None and session.selected.mailbox.id == mailbox.id:
        session.unselect()
    session.own(command.mailbox, *superiors(command.mailbox))
    return Done("deleted")


async def rename(session: Session, command: Rename) -> Done:
    mailbox = await session.find_mailbox(command.mailbox)
    try:
        await session.store.change_mailbox(session.account_id, mailbox.id, ChangeMailbox(name=command.new))
    except store_errors.Conflict as error:
        raise Refused("a mailbox of that name exists", "ALREADYEXISTS") from error
    session.own(command.mailbox, command.new, *superiors(command.mailbox), *superiors(command.new))
    return Done("renamed")
