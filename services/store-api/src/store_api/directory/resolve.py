"""Where recipient addresses lead, and what a sender is told of it (RFC 5321 §3.4, §3.9)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from mail_proto.srs import Srs
from store_api.db.engine import run
from store_api.directory.expansion import (
    Expansion,
    Failure,
    Local,
    Reason,
    Remote,
    Sender,
    Submitter,
    Walk,
    own_address,
)
from store_api.directory.lookup import Entry, find
from store_api.mailboxes.quota import read_room

Status = Literal["local", "remote", "unknown", "over_quota", "disabled", "not_permitted", "loop", "too_many"]

# Enhanced status code (RFC 3463) and words for each end that takes no mail.
REASONS: Final[Mapping[Reason, tuple[str, str]]] = {
    "unknown": ("5.1.1", "no such user here"),
    "over_quota": ("5.2.2", "the mailbox is full"),
    "disabled": ("5.2.1", "this account takes no mail"),
    "not_permitted": ("5.7.1", "you are not permitted to write to this address"),
    "loop": ("5.4.6", "mail for this address goes round in circles"),
    "too_many": ("5.5.3", "this address leads to too many others"),
}


@dataclass(frozen=True, slots=True)
class Route:
    """All that one recipient leads to. `asks_sender`: for another sender it may be something else.

    Where `failure` is set, the recipient as a whole takes no mail, and the lists are empty.
    """

    address: str
    locals: tuple[Local, ...] = ()
    remotes: tuple[Remote, ...] = ()
    failures: tuple[Failure, ...] = ()
    failure: Failure | None = None
    asks_sender: bool = False

    @property
    def status(self) -> Status:
        if self.failure is not None:
            return self.failure.reason
        return "remote" if any(not remote.path and not remote.is_return for remote in self.remotes) else "local"


@dataclass(frozen=True, slots=True)
class Resolved:
    """Routes in the order asked; senders who write as somebody else; reverse paths that were found to be ours.

    `ours` is complete where mail leaves through a forwarder: only there it matters.
    """

    routes: list[Route]
    foreign: frozenset[Sender]
    ours: frozenset[str]


async def resolve(connection: AsyncConnection, srs: Srs, recipients: Sequence[tuple[str, Sender]]) -> Resolved:
    """What each recipient leads to for its sender. Quotas aren't looked at: that needs their locks."""

    async def ask(addresses: Collection[str]) -> Mapping[str, Entry]:
        return await find(connection, addresses)

    expansion = Expansion(ask, srs, datetime.now(UTC).date())
    senders = {sender for _, sender in recipients}
    submitting = {sender for sender in senders if sender.submitter is not None and sender.reverse_path}
    await expansion.learn({address for address, _ in recipients} | {sender.reverse_path for sender in submitting})
    walks = await expansion.run(recipients)
    forwarding = {
        walk.sender.reverse_path for walk in walks if any(isinstance(e, Remote) and e.path for e in walk.ends)
    }
    await expansion.learn(forwarding - {""})
    known = expansion.known
    return Resolved(
        [to_route(walk) for walk in walks],
        frozenset(
            sender
            for sender in submitting
            if sender.submitter is not None and not own_address(known[sender.reverse_path], sender.submitter)
        ),
        frozenset(address for address in forwarding if address and known[address].domain_id is not None),
    )


async def may_send_as(connection: AsyncConnection, submitter: Submitter, address: str) -> bool:
    """Whether an account may write in the name of an address."""
    return own_address((await find(connection, [address]))[address], submitter)


def to_route(walk: Walk) -> Route:
    """What a walk has come to. The same mailbox or address on two ways counts once."""
    failures = [end for end in walk.ends if isinstance(end, Failure)]
    locals_ = {(end.account_id, end.mailbox_id): end for end in reversed(walk.ends) if isinstance(end, Local)}
    remotes = {end.address.lower(): end for end in reversed(walk.ends) if isinstance(end, Remote)}
    whole = next((failure for failure in failures if not failure.is_shared), None)
    if whole is None and not locals_ and not remotes:
        # Rather a temporary refusal than one for good.
        whole = next((failure for failure in failures if failure.reason == "over_quota"), failures[0])
    if whole is not None:
        return Route(walk.address, failure=whole, asks_sender=walk.asks_sender)
    return Route(
        walk.address,
        tuple(reversed(locals_.values())),
        tuple(reversed(remotes.values())),
        tuple(failures),
        asks_sender=walk.asks_sender,
    )


async def submitters(connection: AsyncConnection, account_ids: Collection[UUID]) -> dict[UUID, Submitter]:
    """Those of the accounts that may submit."""
    if not account_ids:
        return {}
    rows = await run(
        connection,
        "SELECT id, address, domain_id FROM account WHERE id = ANY (CAST(:ids AS uuid[])) AND state = 'active'",
        ids=list(account_ids),
    )
    return {row.id: Submitter(row.id, row.address, row.domain_id) for row in rows}


async def full_accounts(connection: AsyncConnection, routes: Sequence[Route]) -> set[UUID]:
    """Those of the accounts in routes that have no room for another message, at this moment."""
    bounded = {local.account_id for route in routes for local in route.locals if local.has_quota}
    if not bounded:
        return set()
    rooms = await read_room(connection, bounded)
    return {account_id for account_id, room in rooms.items() if not room.takes(1)}
