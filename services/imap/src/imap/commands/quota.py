"""QUOTA (RFC 9208): one quota root for all mailboxes of an account, named "", and by its address for who sets it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from imap.session import Done, Session
from mail_proto.imap import render
from mail_proto.imap.commands import Quota
from mail_proto.imap.errors import Refused
from mail_runtime.contracts.store import QuotaUsage, SetQuota

# RFC 9208 §5.1: STORAGE counts units of 1,024 octets.
_UNIT_OCTETS: Final = 1024
# What the store keeps at most; as good as unlimited.
_MAX_LIMIT: Final = 2**53 - 1


async def quota(session: Session, command: Quota) -> Done:
    """GETQUOTA, GETQUOTAROOT, SETQUOTA."""
    match command.name:
        case "SETQUOTA":
            await _set(session, command)
        case "GETQUOTAROOT":
            mailbox = await session.find_mailbox(command.subject)
            # Another's mailbox takes room of its owner, who isn't the client.
            own = None if mailbox.owner_id is not None else await session.store.quota(session.account_id)
            resources = [] if own is None else _resources(own)
            name = render.mailbox(mailbox.name, is_utf8=session.enabled.utf8)
            # Where nothing is limited there is no quota root (RFC 9208 §3).
            roots, response = (b' ""', _response("", resources)) if resources else (b"", b"")
            await session.send(b"* QUOTAROOT " + name + roots + b"\r\n" + response)
        case _:
            await _get(session, command.subject)
    return Done("quota")


async def _get(session: Session, root: str) -> None:
    """One's own; those of others for who may set them. Raises Refused."""
    if root and not _sets_quotas(session):
        raise Refused("there is no such quota root", "NONEXISTENT")
    store, account_id = session.store, session.account_id
    found = await store.quota_of_root(account_id, root) if root else await store.quota(account_id)
    resources = _resources(found)
    if not root and not resources:
        raise Refused("there is no such quota root", "NONEXISTENT")
    await session.send(_response(root, resources))


async def _set(session: Session, command: Quota) -> None:
    """Limits that aren't named are taken away: what the domain gives counts then. Raises Refused."""
    if not _sets_quotas(session):
        raise Refused("quotas are set by administrators", "NOPERM")
    limits = dict(command.limits)
    if unknown := limits.keys() - {"STORAGE", "MESSAGE"}:
        raise Refused(f"there is no limit for {min(unknown)}", "CANNOT")
    storage = limits.get("STORAGE")
    wanted = SetQuota(
        address=command.subject,
        octets_limit=None if storage is None else min(storage * _UNIT_OCTETS, _MAX_LIMIT),
        messages_limit=None if "MESSAGE" not in limits else min(limits["MESSAGE"], _MAX_LIMIT),
    )
    found = await session.store.set_quota(session.account_id, wanted)
    await session.send(_response(command.subject, _resources(found)))


def _sets_quotas(session: Session) -> bool:
    return session.principal is not None and session.principal.sets_quotas


def _resources(found: QuotaUsage) -> list[bytes]:
    """Of what is limited."""
    resources = []
    if found.octets_limit is not None:
        used = -(-found.octets // _UNIT_OCTETS)
        resources.append(b"STORAGE %d %d" % (used, found.octets_limit // _UNIT_OCTETS))
    if found.messages_limit is not None:
        resources.append(b"MESSAGE %d %d" % (found.messages, found.messages_limit))
    return resources


def _response(root: str, resources: Sequence[bytes]) -> bytes:
    shown = render.astring(root.encode()) if root else b'""'
    return b"* QUOTA " + shown + b" (" + b" ".join(resources) + b")\r\n"
