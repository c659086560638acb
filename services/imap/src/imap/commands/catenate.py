"""CATENATE (RFC 4469): a message made of octets that were sent and of parts of messages that are here already."""

from __future__ import annotations

from collections.abc import Sequence

from imap.session import Session
from mail_proto.imap.errors import Refused
from mail_proto.imap.mailbox_columns import Message
from mail_proto.imap.urls import MessageUrl, parse_url, shown
from mail_proto.message.sections import section
from mail_runtime.contracts.errors import StoreError, Unavailable


async def catenate(session: Session, parts: Sequence[bytes | str], max_octets: int) -> bytes:
    """What the parts are together. No more is in memory than the result and one source.

    Raises Refused: TOOBIG, or BADURL with the first URL that is of no message or part; Unavailable.
    """
    together = bytearray()
    for part in parts:
        octets = part if isinstance(part, bytes) else await _named(session, part, max_octets)
        if len(together) + len(octets) > max_octets:
            raise Refused("the message is too large", "TOOBIG")
        together += octets
    return bytes(together)


async def _named(session: Session, text: str, max_octets: int) -> bytes:
    try:
        url = parse_url(text)
        message = await _message(session, url)
        if url.section is None and url.count is None and message.octets - url.first > max_octets:
            raise Refused("the message is too large", "TOOBIG")
        octets = await _octets(session, url, message)
    except Unavailable:
        raise
    except Refused as error:
        if error.code == "TOOBIG":
            raise
        raise Refused(str(error), f"BADURL {shown(text)}") from error
    except (ValueError, LookupError, StoreError) as error:
        raise Refused("there is no such message or part", f"BADURL {shown(text)}") from error
    return octets[url.first :] if url.count is None else octets[url.first : url.first + url.count]


async def _message(session: Session, url: MessageUrl) -> Message:
    """Raises LookupError, Refused: there is none; StoreError."""
    selected = session.selected
    if url.mailbox is None:
        if selected is None:
            raise LookupError("no mailbox is selected")
        mailbox_id = selected.mailbox.id
    else:
        mailbox_id = (await session.find_mailbox(url.mailbox)).id
    shared, view = await session.shared.views.open(session.account_id, mailbox_id, session.is_proven)
    try:
        message = shared.columns.message(url.uid)
        if message is None or url.uid_validity not in (None, shared.mailbox.uid_validity):
            raise LookupError(url.uid)
        return message
    finally:
        session.shared.views.close(shared, view)


async def _octets(session: Session, url: MessageUrl, message: Message) -> bytes:
    """Raises LookupError: the message has no such part; StoreError: it is gone."""
    contents, account_id = session.shared.contents, session.account_id
    body = await contents.body(account_id, message.blob)
    if url.section is None:
        return body
    summary = (await contents.summaries(account_id, [message.blob]))[message.blob]
    octets = section(body, summary.root, url.section.path, url.section.text, url.section.fields)
    if octets is None:
        raise LookupError("no such part")
    return octets
