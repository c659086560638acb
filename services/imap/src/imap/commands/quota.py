"""QUOTA (RFC 9208): one quota root for all mailboxes of an account, named "", and by its address for who sets it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from imap.session import Done, Session
from mail_proto.imap import render
from mail_proto.imap.commands import Quota
from mail_proto.imap.errors import Refused
from mail_runtime.contracts.errors import NotFound
from mail_runtime.contracts.store import QuotaUsage, SetQuota
from mail_runtime.contracts.store.sharing import SHARED, is_elsewhere

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
            root, resources = await _root(session, command.subject)
            name = render.mailbox(command.subject, is_utf8=session.enabled.utf8)
            # Where nothing is limited there is no quota root (RFC 9208 §3).
            roots, response = (b" " + _shown(root), _response(root, resources)) if resources else (b"", b"")
            await session.send(b"* QUOTAROOT " + name + roots + b"\r\n" + response)
        case _:
            await _get(session, command.subject)
    return Done("quota")


async def _root(session: Session, name: str) -> tuple[str, list[bytes]]:
    """The root of a mailbox, which needn't exist if it would be one's own (RFC 9208 §4.1.2), and what it limits.

    Another's takes room of its owner, which is told to who may set it. Raises Refused: there is no such mailbox.
    """
    store, account_id = session.store, session.account_id
    if not is_elsewhere(name):
        return "", _resources(await store.quota(account_id))
    mailbox = await session.find_mailbox(name)
    place, _, rest = mailbox.name.partition("/")
    owner = rest.partition("/")[0] if place == SHARED else ""
    if not owner or not _sets_quotas(session):
        return "", []
    try:
        return owner, _resources(await store.quota_of_root(account_id, owner))
    except NotFound:
        return "", []


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


def _shown(root: str) -> bytes:
    return render.astring(root.encode()) if root else b'""'


def _response(root: str, resources: Sequence[bytes]) -> bytes:
    return b"* QUOTA " + _shown(root) + b" (" + b" ".join(resources) + b")\r\n"
