"""LIST and LSUB (RFC 9051 §6.3.9, RFC 3501 §6.3.9), with a STATUS for each mailbox where that is wanted (RFC 5819)."""

from __future__ import annotations

from imap.commands.status import status_responses
from imap.session import Done, Session
from mail_proto.imap.commands import ListMailboxes
from mail_proto.imap.listing import Listed, Listing, separator
from mail_runtime.contracts.store import Mailbox


async def list_mailboxes(session: Session, command: ListMailboxes) -> Done:
    if (answer := separator(command)) is not None:
        await session.send(answer)
        return Done("listed")
    responses = await responses_to(session, command)
    if not command.status:
        await session.send(b"".join(response for _, response in responses))
        return Done("listed")
    states = await status_responses(session, [mailbox for mailbox, _ in responses if mailbox], command.status)
    for mailbox, response in responses:
        await session.send(response + (states[mailbox.id] if mailbox else b""))
    return Done("listed")


async def responses_to(session: Session, command: ListMailboxes) -> list[tuple[Mailbox | None, bytes]]:
    """The untagged responses, each with its mailbox if there is one. Raises Unavailable."""
    mailboxes = {mailbox.name: mailbox for mailbox in await session.store.mailboxes(session.account_id)}
    names = [Listed(mailbox.name, mailbox.subscribed, mailbox.special_use) for mailbox in mailboxes.values()]
    if command.is_lsub or "SUBSCRIBED" in command.select:
        former = await session.store.former_subscriptions(session.account_id)
        names += [Listed(name, True, None, exists=False) for name in former]
    listing = Listing(command, names, is_utf8=session.enabled.utf8)
    return [(mailboxes.get(listed.name), response) for listed, response in listing.responses()]
