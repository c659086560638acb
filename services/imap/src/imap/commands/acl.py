"""ACL (RFC 4314): who may do what in a mailbox; the store says whether the client may know and change it."""

from __future__ import annotations

from typing import Final

from imap.session import Done, Session
from mail_proto.imap import render
from mail_proto.imap.commands import Acl
from mail_proto.imap.rights import RIGHTS, acl, list_rights, my_rights
from mail_runtime.contracts.store import Mailbox, SetRights

_DONE: Final = {"SETACL": "rights set", "DELETEACL": "rights taken"}


async def on_rights(session: Session, command: Acl) -> Done:
    """GETACL, SETACL, DELETEACL, LISTRIGHTS, MYRIGHTS."""
    mailbox = await session.find_mailbox(command.mailbox)
    name = render.mailbox(mailbox.name, is_utf8=session.enabled.utf8)
    match command.name:
        case "MYRIGHTS":
            await session.send(my_rights(name, mailbox.rights))
        case "GETACL":
            entries = await session.store.rights(session.account_id, mailbox.id)
            await session.send(acl(name, [(one.identifier, one.rights) for one in entries]))
        case "LISTRIGHTS":
            required, optional = await _grantable(session, mailbox, command.identifier)
            await session.send(list_rights(name, command.identifier, required, optional))
        case _:
            change = SetRights(identifier=command.identifier, rights=command.rights, how=command.how)
            await session.store.set_rights(session.account_id, mailbox.id, change)
            session.watch.changed.set()
    return Done(_DONE.get(command.name, "rights"))


async def _grantable(session: Session, mailbox: Mailbox, identifier: str) -> tuple[str, str]:
    """What an identifier has always, and what it can be given: the owner has everything, and nothing less."""
    owner = (await session.store.rights(session.account_id, mailbox.id))[0].identifier
    domain = owner.rpartition("@")[2]
    who = identifier.lower().removeprefix("-")
    if owner not in {who, f"{who}@{domain}"}:
        return "", RIGHTS
    return ("" if identifier.startswith("-") else RIGHTS), ""
