"""QUOTA (RFC 9208): one quota root for all mailboxes of an account, named ""."""

from __future__ import annotations

from imap.session import Done, Session
from mail_proto.imap import render
from mail_proto.imap.commands import Quota
from mail_proto.imap.errors import Refused

# RFC 9208 §5.1: STORAGE counts units of 1,024 octets.
_UNIT_OCTETS = 1024


async def quota(session: Session, command: Quota) -> Done:
    """GETQUOTA, GETQUOTAROOT; SETQUOTA is for operators, by the REST API."""
    match command.name:
        case "SETQUOTA":
            raise Refused("quotas are set by the operator", "NOPERM")
        case "GETQUOTAROOT":
            mailbox = await session.find_mailbox(command.subject)
            # Another's mailbox takes room of its owner, who isn't the client.
            response = b"" if mailbox.owner_id is not None else await _response(session)
            name = render.mailbox(mailbox.name, is_utf8=session.enabled.utf8)
            roots = b' ""' if response else b""
            await session.send(b"* QUOTAROOT " + name + roots + b"\r\n" + response)
        case _:
            response = await _response(session) if command.subject == "" else b""
            if not response:
                raise Refused("there is no such quota root", "NONEXISTENT")
            await session.send(response)
    return Done("quota")


async def _response(session: Session) -> bytes:
    """`* QUOTA` of what is limited; empty where nothing is: there is no quota root then (RFC 9208 §3)."""
    found = await session.store.quota(session.account_id)
    resources = []
    if found.octets_limit is not None:
        used = -(-found.octets // _UNIT_OCTETS)
        resources.append(b"STORAGE %d %d" % (used, found.octets_limit // _UNIT_OCTETS))
    if found.messages_limit is not None:
        resources.append(b"MESSAGE %d %d" % (found.messages, found.messages_limit))
    return b'* QUOTA "" (' + b" ".join(resources) + b")\r\n" if resources else b""
