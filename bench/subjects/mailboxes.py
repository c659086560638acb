"""A large mailbox: read as columns, changed, copied, through HTTP by one caller."""

from __future__ import annotations

import statistics
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final
from uuid import UUID

import asyncpg
from bench.subjects.stack import Account, Figure, Stack

from mail_runtime.contracts.store import CopyMessages, Expunge, StoreFlags
from mail_runtime.contracts.store.columns import Table

MESSAGES: Final = 100_000
OCTETS: Final = 8_000
FLAGGED: Final = 1_000
COPIED: Final = 10_000
TIMES: Final = 7
_PROCESSES: Final = ("store-api", "postgres")

# As mail comes in: blobs in the order of uids, with ids that begin with the time, a third of it unread, some answered.
_FILL: Final = (
    """CREATE TEMPORARY TABLE filled AS
        SELECT n, CAST(lpad(to_hex(1700000000000 + n * 1000), 12, '0') || '7' || substr(md5(CAST(n AS text)), 1, 3)
                       || 'b' || substr(md5(CAST(n AS text)), 4, 15) AS uuid) AS id
        FROM generate_series(1, $1::bigint) AS n""",
    """INSERT INTO blob (id, object_key, object_offset, length, sha256, summary)
        SELECT id, 'bench', 0, 8000, decode(md5(CAST(n AS text)), 'hex'), convert_to(repeat('x', 600), 'utf8')
        FROM filled""",
    """INSERT INTO message (account_id, mailbox_id, uid, blob_id, modseq, flags, internal_date, email_id, thread_id,
                            octets)
        SELECT $1::uuid, $2::uuid, n, id, n + 1,
               CASE n % 3 WHEN 0 THEN '{}' WHEN 1 THEN '{"\\\\Seen"}'
                          ELSE '{"\\\\Seen","\\\\Answered","$Forwarded"}' END::text[],
               1700000000 + n, id, id, 8000 FROM filled""",
    """UPDATE mailbox SET messages = $3::bigint, octets = $3::bigint * 8000, uid_next = $3::bigint + 1,
                          highest_modseq = $3::bigint + 1, unseen = $3::bigint / 3
        WHERE account_id = $1::uuid AND id = $2::uuid""",
    "VACUUM ANALYZE message",
    "VACUUM ANALYZE blob",
)


async def measure(stack: Stack) -> list[Figure]:
    """Medians in milliseconds, the work of the caller's client included; and the CPU of each part, which a busy machine
    changes less.
    """
    account = await stack.make_account()
    inbox, archive = account.mailboxes["INBOX"], account.mailboxes["Archive"]
    await fill(stack, account, inbox)
    figures = [
        await _figure(stack, "whole mailbox of 100,000 as columns", 60, lambda n: _columns(stack, account, inbox)),
        await _figure(
            stack, "the same, read anew with its objects", None, lambda n: _columns(stack, account, inbox, anew=True)
        ),
        await _figure(stack, "its last 10 changes", None, lambda n: _columns(stack, account, inbox, MESSAGES - 9)),
    ]

    async def flags(n: int) -> None:
        uids = [(n * FLAGGED + 1, (n + 1) * FLAGGED)]
        await stack.store.store_flags(account.id, inbox, StoreFlags(uids=uids, operation="add", flags=["$bench"]))

    async def scattered(n: int) -> None:
        uids = list(range(50_000 + n, 50_000 + n + 37 * FLAGGED, 37))
        await stack.store.store_flags(account.id, inbox, StoreFlags(uids=uids, operation="add", flags=["$bench"]))

    async def copy(n: int, *, move: bool = False) -> None:
        uids = [(n * COPIED + 1, (n + 1) * COPIED)]
        copied = await stack.store.copy(account.id, inbox, CopyMessages(uids=uids, target_id=archive, move=move))
        assert len(copied.target_uids) == COPIED

    async def expunge(n: int) -> None:
        uids = [(n * COPIED + 1, (n + 1) * COPIED)]
        assert len((await stack.store.expunge(account.id, archive, Expunge(uids=uids, force=True))).uids) == COPIED

    figures += [
        await _figure(stack, "flags on 1,000 in one call", 25, flags),
        await _figure(stack, "flags on 1,000, each 37th message", None, scattered),
        await _figure(stack, "copy of 10,000", 300, copy),
        await _figure(stack, "expunge of 10,000", None, expunge),
        await _figure(stack, "move of 10,000", None, lambda n: copy(n, move=True)),
    ]
    return figures


async def _columns(stack: Stack, account: Account, mailbox_id: UUID, since: int = 0, *, anew: bool = False) -> None:
    """What is asked for with objects isn't kept by the store."""
    Table.of(await stack.store.columns(account.id, mailbox_id, since, with_objects=anew))


async def _figure(stack: Stack, subject: str, goal: float | None, call: Callable[[int], Awaitable[Any]]) -> Figure:
    """`call` is given the number of the run, so that each can change something else."""
    took = []
    before = {name: stack.cpu_seconds(name) for name in _PROCESSES}
    caller = time.process_time()
    for number in range(TIMES):
        started = time.perf_counter()
        await call(number)
        took.append((time.perf_counter() - started) * 1e3)
    costs = {name: stack.cpu_seconds(name) - before[name] for name in _PROCESSES}
    costs["caller"] = time.process_time() - caller
    cpu = ", ".join(f"{name} {cost / TIMES * 1e3:.0f}" for name, cost in costs.items())
    return Figure(
        subject, statistics.median(took), "ms", goal, note=f"first {took[0]:.0f}, least {min(took):.0f}; CPU ms: {cpu}"
    )


async def fill(stack: Stack, account: Account, mailbox_id: UUID) -> None:
    """100,000 messages, which are nowhere but in the database."""
    connection = await asyncpg.connect(stack.postroom.database_url)
    try:
        arguments = ((MESSAGES,), (), (account.id, mailbox_id), (account.id, mailbox_id, MESSAGES), (), ())
        for statement, values in zip(_FILL, arguments, strict=True):
            await connection.execute(statement, *values)
    finally:
        await connection.close()
