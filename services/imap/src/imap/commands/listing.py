"""LIST and LSUB (RFC 9051 §6.3.9, RFC 3501 §6.3.9), with a STATUS for each mailbox where that is wanted (RFC 5819)."""

from __future__ import annotations

from typing import Final
from uuid import UUID

from imap.commands.status import status_responses
from imap.session import Done, Session
from mail_proto.imap import render
from mail_proto.imap.commands import ListMailboxes
from mail_proto.imap.listing import Listed, Listing, separator
from mail_proto.imap.patterns import may_match
from mail_proto.imap.rights import my_rights
from mail_runtime.contracts.store import Mailbox
from mail_runtime.contracts.store.sharing import PUBLIC, SHARED

_ELSEWHERE: Final = (f"{SHARED}/", f"{PUBLIC}/")


async def list_mailboxes(session: Session, command: ListMailboxes) -> Done:
    if (answer := separator(command)) is not None:
        await session.send(answer)
        return Done("listed")
    responses = await responses_to(session, command)
    states: dict[UUID, bytes] = {}
    if command.status:
        readable = [mailbox for mailbox, _ in responses if mailbox and "r" in mailbox.rights]
        states = await status_responses(session, readable, command.status)
    for mailbox, response in responses:
        if mailbox and "MYRIGHTS" in command.wanted:  # RFC 8440 §3
            name = render.mailbox(mailbox.name, is_utf8=session.enabled.utf8)
            response += my_rights(name, mailbox.rights)
        await session.send(response + (states.get(mailbox.id, b"") if mailbox else b""))
    return Done("listed")


async def responses_to(session: Session, command: ListMailboxes) -> list[tuple[Mailbox | None, bytes]]:
    """The untagged responses, each with the mailbox that was asked for: none where only its inferiors were (RFC 5819
    §2). Raises Unavailable.
    """
    elsewhere = any(may_match(command.reference + pattern, _ELSEWHERE) for pattern in command.patterns)
    found = await session.mailboxes(elsewhere=elsewhere)
    mailboxes = {mailbox.name: mailbox for mailbox in found if "l" in mailbox.rights}
    names = [Listed(mailbox.name, mailbox.subscribed, mailbox.special_use) for mailbox in mailboxes.values()]
    if command.is_lsub or "SUBSCRIBED" in command.select:
        former = await session.store.former_subscriptions(session.account_id)
        names += [Listed(name, True, None, exists=False) for name in former]
    listing = Listing(command, names, is_utf8=session.enabled.utf8)
    return [
        (mailboxes.get(listed.name) if listing.is_selected(listed) else None, response)
        for listed, response in listing.responses()
    ]
