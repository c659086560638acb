"""100,000 deliveries that wait, most of them for a domain that is down: nobody else notices."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from mail_runtime.contracts.errors import Conflict
from mail_runtime.contracts.store import ClaimDeliveries, Outcome, Outcomes
from store_api.db.engine import Database, run
from store_api.db.ids import uuid7
from store_api.queue import claims, lanes, outcomes, overdue, recording
from store_api.queue.actions import act
from store_api.queue.claims import claim
from store_api.queue.listing import Selection, list_deliveries
from store_api.queue.outcomes import Reporting
from store_api.queue.retries import Retries

WINDOW, BATCH = 100, 500
FILL_STEP = 5_000
DOWN = "down.test"

_MANY = """
WITH sent AS (
    INSERT INTO transmission (id, reverse_path, blob_id, octets, smtputf8)
    SELECT gen_random_uuid(), 'a' || n % 100 || '@ours.test', :blob, 100, false FROM generate_series(1, :number) n
    RETURNING id, reverse_path
)
INSERT INTO delivery (id, transmission_id, recipient, domain, expires_at, account_id)
SELECT gen_random_uuid(), id, 'r@' || :domain, :domain, now() + interval '5 days', :account FROM sent
"""


async def fill(database: Database, domain: str, number: int, account: UUID | None = None) -> None:
    """So many messages wait for a domain, from a hundred senders."""
    async with database.transaction() as connection:
        blob = uuid7()
        await run(
            connection,
            "INSERT INTO blob (id, object_key, object_offset, length, sha256, summary)"
            " VALUES (:id, 'x', 0, 100, '', '')",
            id=blob,
        )
    # In steps: no statement may take longer than 20 s, on a busy machine either.
    for start in range(0, number, FILL_STEP):
        async with database.transaction() as connection:
            some = min(FILL_STEP, number - start)
            await run(connection, _MANY, blob=blob, number=some, domain=domain, account=account)


@asynccontextmanager
async def published(database: Database, after: str = "") -> AsyncIterator[list[Any]]:
    """One round of the dispatcher."""
    async with database.transaction() as connection:
        rows, _ = await lanes.due(connection, WINDOW, BATCH, after)
        yield rows
        await lanes.published(connection, rows, 600)


async def round_of(database: Database) -> Counter[str]:
    async with published(database) as rows:
        return Counter(row.domain for row in rows)


async def explain(database: Database, sql: str, **values: Any) -> str:
    async with database.transaction() as connection:
        rows = await run(connection, f"EXPLAIN {sql}", **values)
        return "\n".join(rows.scalars())


@pytest.mark.timeout(400)
async def test_a_hundred_thousand_waiting_deliveries(fresh_database: Database) -> None:
    account = uuid4()
    await fill(fresh_database, DOWN, 99_000)
    await fill(fresh_database, "other.test", 1_000, account)
    for domain in ("a.test", "z.test"):
        await fill(fresh_database, domain, 1)
    async with fresh_database.transaction() as connection:
        await run(connection, "ANALYZE")
    await _plans(fresh_database)
    started = time.perf_counter()
    first = await round_of(fresh_database)
    took_ms = (time.perf_counter() - started) * 1000
    assert (first["a.test"], first["z.test"]) == (1, 1), "those that came last go at once"
    assert 0 < first[DOWN] <= lanes.LANE_ROUND
    while more := await round_of(fresh_database):
        first += more
    assert first == {DOWN: WINDOW, "other.test": WINDOW, "a.test": 1, "z.test": 1}, "each lane has its window"
    print(f"one round with 100,000 waiting: {took_ms:.0f} ms")
    await _acts(fresh_database, account)


HOT: dict[str, tuple[str, dict[str, Any]]] = {
    "lanes": (lanes._LANES, {"after": "", "lanes": lanes.LANES}),
    "due": (
        lanes._DUE,
        {"names": [DOWN, "other.test"], "window": WINDOW, "batch": BATCH, "lane_round": lanes.LANE_ROUND},
    ),
    "lost": (lanes._LOST, {}),
    "published": (lanes._PUBLISHED, {"ids": [uuid4()], "pause_s": 600.0}),
    "resting": (lanes._RESTING, {"names": [DOWN]}),
    "claim": (
        claims._CLAIM,
        {"ids": [uuid4()], "leases": [uuid4()], "leases_s": [60.0], "anyways": [False], "grace_s": 5.0},
    ),
    "reported": (outcomes._READ, {"ids": [uuid4()], "leases": [uuid4()]}),
    "recorded": (
        recording._RECORD,
        {
            "ids": [uuid4()],
            "leases": [uuid4()],
            "results": ["delivered"],
            "nexts": [None],
            "replies": ["250"],
            "statuses": ["2.0.0"],
            "remotes": ["mx"],
            "addresses": [""],
            "tls": [""],
            "event_ids": [uuid4()],
            "events": ["{}"],
            "answered": [DOWN],
        },
    ),
    "delayed": (overdue._DELAYED, {"batch": overdue.BATCH}),
    "expired": (overdue._EXPIRED, {"batch": overdue.BATCH}),
}


async def _plans(database: Database) -> None:
    """Each hot statement finds its rows by an index: docs/statements.md has the plans."""
    for name, (sql, values) in HOT.items():
        plan = await explain(database, sql, **values)
        print(f"--- {name}\n{plan}")
        assert not re.search(r"Seq Scan on (delivery|transmission)\b", plan), f"{name}:\n{plan}"
        if name == "due":
            assert "Index Scan using delivery_lane" in plan, "of each lane only what goes now is read"


async def _unnoted(connection: AsyncConnection, changed: int) -> None:
    """The audit log has tests of its own."""


async def _acts(database: Database, account: UUID) -> None:
    """Listing and acting, by what an administrator knows."""
    async with database.transaction() as connection:
        await run(
            connection,
            "WITH d AS (INSERT INTO domain (id, name) VALUES (:id, 'ours.test') RETURNING id)"
            " INSERT INTO account (id, domain_id, address, password_hash)"
            " SELECT :account, id, 'a@ours.test', '' FROM d",
            id=uuid7(),
            account=account,
        )
    steps = [
        (Selection(domain="other.test"), 1_000),
        (Selection(account="A@ours.test"), 1_000),
        (Selection(sender="a7@ours.test"), 1_000),
        (Selection(recipient=f"r@{DOWN}"), 99_000),
    ]
    for selection, number in steps:
        started = time.perf_counter()
        async with database.transaction() as connection:
            listed = await list_deliveries(connection, selection, None, None, 100)
        list_ms = (time.perf_counter() - started) * 1000
        assert len(listed) == 100
        plan = await explain(
            database,
            f"SELECT d.id FROM delivery d {selection.join()} WHERE {selection.where()[0]} ORDER BY d.id DESC LIMIT 100",
            **selection.where()[1],
        )
        # A sender with a hundredth of all messages: reading all of the queue once is the better plan.
        assert selection.sender or "Seq Scan on delivery" not in plan, plan
        assert await act(database, "hold", selection, _unnoted) == number
        assert await act(database, "release", selection, _unnoted) == number
        act_s = time.perf_counter() - started
        print(f"{number} of 100,002: list {list_ms:.0f} ms, with hold and release {act_s:.1f} s")
    assert await act(database, "cancel", Selection(domain=DOWN), _unnoted) == 99_000


async def test_a_domain_that_cannot_be_reached_rests_and_is_tried_with_one(fresh_database: Database) -> None:
    await fill(fresh_database, DOWN, 20)
    async with published(fresh_database) as rows:
        assert len(rows) == 20
    await _report(fresh_database, rows[0].id, "4.4.1", remote="mx.down.test")
    assert await round_of(fresh_database) == {}, "it rests"
    wanted = ClaimDeliveries(delivery_ids=[rows[1].id], lease=uuid4(), lease_s=60)
    with pytest.raises(Conflict):
        await claim(fresh_database, wanted)
    await _pass(fresh_database)
    assert await round_of(fresh_database) == {DOWN: 1}, "one message shows whether it is back"
    assert await round_of(fresh_database) == {}
    await _report(fresh_database, rows[1].id, "4.2.0", remote="mx.down.test")
    assert (await round_of(fresh_database))[DOWN] > 10, "it answered"


async def test_trying_now_wakes_a_domain(fresh_database: Database) -> None:
    await fill(fresh_database, DOWN, 3)
    async with published(fresh_database) as rows:
        pass
    await _report(fresh_database, rows[0].id, "4.4.3", remote="")
    assert await round_of(fresh_database) == {}
    assert await act(fresh_database, "retry", Selection(domain=DOWN), _unnoted) == 3
    assert await round_of(fresh_database) == {DOWN: 3}


async def test_recipients_of_one_message_travel_together(fresh_database: Database) -> None:
    await fill(fresh_database, DOWN, 1)
    async with fresh_database.transaction() as connection:
        await run(
            connection,
            "INSERT INTO delivery (id, transmission_id, recipient, domain, expires_at)"
            " SELECT gen_random_uuid(), transmission_id, n || '@down.test', domain, expires_at"
            " FROM delivery, generate_series(1, 300) n",
        )
    async with published(fresh_database) as rows:
        assert len(rows) == 301
        assert len({row.transmission_id for row in rows}) == 1


async def test_what_was_lost_on_its_way_is_published_again(fresh_database: Database) -> None:
    await fill(fresh_database, DOWN, 2)
    assert await round_of(fresh_database) == {DOWN: 2}
    assert await round_of(fresh_database) == {}
    async with fresh_database.transaction() as connection:
        await run(connection, "UPDATE delivery SET publish_after = now()")
        await lanes.lost(connection)
    assert await round_of(fresh_database) == {DOWN: 2}


async def _report(database: Database, delivery_id: UUID, status: str, remote: str) -> None:
    """An attempt that was deferred; nobody is told of it."""
    lease = uuid4()
    await claim(database, ClaimDeliveries(delivery_ids=[delivery_id], lease=lease, lease_s=60), anyway=True)
    nothing: Any = None
    reporting = Reporting(database, nothing, Retries(60.0), nothing)
    outcome = Outcome(delivery_id=delivery_id, result="deferred", reply="", status=status, remote=remote)
    await reporting.report(Outcomes(lease=lease, outcomes=[outcome]))


async def _pass(database: Database) -> None:
    """The rest is over."""
    async with database.transaction() as connection:
        await run(connection, "UPDATE down_domain SET until = now()")
