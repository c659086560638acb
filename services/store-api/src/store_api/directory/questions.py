"""What frontends ask of the directory while a client waits: may this be written to, may that be written as."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from mail_proto.srs import Srs
from mail_runtime.contracts.errors import Refused
from mail_runtime.contracts.store import Resolution
from store_api.directory.expansion import Sender
from store_api.directory.resolve import Route, full_accounts, may_send_as, resolve, submitters


async def recipients(
    connection: AsyncConnection, srs: Srs, addresses: Sequence[str], reverse_path: str, submitted_by: UUID | None
) -> list[Resolution]:
    """What a sender is told of each recipient, in order. Raises Refused: the account may not send."""
    sender = Sender(reverse_path)
    if submitted_by is not None:
        submitter = (await submitters(connection, [submitted_by])).get(submitted_by)
        if submitter is None:
            raise Refused("5.7.1 this account may not send")
        sender = Sender(reverse_path, submitter)
    routes = (await resolve(connection, srs, [(address.replace("\0", ""), sender) for address in addresses])).routes
    full = await full_accounts(connection, routes)
    return [_resolution(address, route, full) for address, route in zip(addresses, routes, strict=True)]


def _resolution(address: str, route: Route, full: set[UUID]) -> Resolution:
    bounded = any(local.has_quota for local in route.locals)
    # Who fails alone gets a bounce: the others take the message.
    alone = [local for local in route.locals if not local.is_shared or len(route.locals) + len(route.remotes) == 1]
    if any(local.account_id in full for local in alone):
        return Resolution(address=address, status="over_quota", for_sender=True)
    return Resolution(address=address, status=route.status, for_sender=route.asks_sender or bounded)


async def check_sender(connection: AsyncConnection, account_id: UUID, address: str) -> None:
    """Raises Refused: the account may not write in the name of the address, or not at all."""
    submitter = (await submitters(connection, [account_id])).get(account_id)
    if submitter is None:
        raise Refused("5.7.1 this account may not send")
    if address and not await may_send_as(connection, submitter, address.replace("\0", "")):
        raise Refused(f"5.7.1 {address!r} is not an address of this account")
