"""What frontends ask of the directory while a client waits: may this be written to, may that be written as."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from mail_proto.srs import Srs
from mail_runtime.contracts.errors import Refused, StoreError
from mail_runtime.contracts.store import Resolution
from store_api.db.engine import Database
from store_api.directory.expansion import Sender, Submitter
from store_api.directory.resolve import Route, full_accounts, may_send_as, resolve, submitters


@dataclass(frozen=True, slots=True)
class Question:
    """What a sender asks: may it write to these. `submitted_by`: the account that submits."""

    addresses: Sequence[str]
    reverse_path: str
    submitted_by: UUID | None


async def recipients(
    database: Database, srs: Srs, questions: Sequence[Question]
) -> list[list[Resolution] | StoreError]:
    """What each sender is told of each of its recipients, in order; Refused: its account may not send.

    In one transaction, whose statements answer all of them. Raises Unavailable.
    """
    async with database.transaction() as connection:
        known = await submitters(connection, {one.submitted_by for one in questions if one.submitted_by is not None})
        senders = [_sender(one, known) for one in questions]
        pairs = [
            (address.replace("\0", ""), sender)
            for one, sender in zip(questions, senders, strict=True)
            if sender is not None
            for address in one.addresses
        ]
        routes = (await resolve(connection, srs, pairs)).routes
        full = await full_accounts(connection, routes)
    found = iter(routes)
    return [
        Refused("5.7.1 this account may not send")
        if sender is None
        else [_resolution(address, next(found), full) for address in one.addresses]
        for one, sender in zip(questions, senders, strict=True)
    ]


def _sender(question: Question, known: Mapping[UUID, Submitter]) -> Sender | None:
    if question.submitted_by is None:
        return Sender(question.reverse_path)
    submitter = known.get(question.submitted_by)
    return None if submitter is None else Sender(question.reverse_path, submitter)


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
