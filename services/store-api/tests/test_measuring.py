"""What the gauges say of the queue."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import aiohttp

from mail_runtime.store_client import StoreClient
from mail_testkit.clients import TIMEOUT_S
from mail_testkit.running import RunningPostroom
from store_api import measuring
from store_api.db.engine import Database, run

# state, due in, leased until: seconds from now.
QUEUE = [
    ("queued", -100, None),
    ("queued", -300, -10),
    ("queued", -500, 60),
    ("queued", 60, None),
    ("held", -900, None),
    ("delivered", -900, None),
]


async def test_due_is_what_could_be_sent_and_is_not(fresh_database: Database) -> None:
    async with fresh_database.transaction() as connection:
        # Deliveries alone: what they refer to doesn't matter here.
        await run(connection, "SET LOCAL session_replication_role = replica")
        for state, due_s, leased_s in QUEUE:
            await run(
                connection,
                """
                INSERT INTO delivery
                    (id, transmission_id, recipient, domain, state, next_attempt_at, lease_until, expires_at)
                VALUES (:id, :id, 'a@b.test', 'b.test', :state, now() + make_interval(secs => :due),
                        now() + make_interval(secs => :leased), now())
                """,
                id=uuid4(),
                state=state,
                due=float(due_s),
                leased=None if leased_s is None else float(leased_s),
            )
    await measuring.measure(fresh_database)
    assert [measuring.DELIVERIES.labels(state)._value.get() for state in ("queued", "held")] == [4, 1]
    assert measuring.DUE._value.get() == 2
    assert 300 <= measuring.OLDEST_DUE._value.get() < 420
    async with fresh_database.transaction() as connection:
        await run(connection, "DELETE FROM delivery")
    await measuring.measure(fresh_database)
    assert measuring.DUE._value.get() == measuring.OLDEST_DUE._value.get() == 0


async def test_the_store_tells_them(postroom: RunningPostroom) -> None:
    """On its admin port, once it has looked: what Postgres has, and what JetStream has."""
    url = f"{postroom.admin_url('store-api')}/metrics"
    async with asyncio.timeout(TIMEOUT_S):
        while True:
            async with aiohttp.request("GET", url) as response:
                text = await response.text()
            wanted = ('relay_jobs{state="waiting"}', 'jetstream_lag{consumer="indexer",stream="EVENTS"}')
            if all(f"postroom_{metric}" in text for metric in wanted):
                break
            await asyncio.sleep(0.1)
    for name in ("postroom_queue_due", "postroom_queue_oldest_due_seconds", "postroom_events_waiting"):
        assert f"\n{name} " in text
    assert "postroom_transaction_seconds_count" in text


async def test_calls_are_counted_by_what_they_ask_for(postroom: RunningPostroom, store: StoreClient) -> None:
    await store.ready()
    for path, status in (("/v1/accounts/nobody@example.test", 404), ("/nothing/nobody@example.test", 404)):
        headers = {"Authorization": f"Bearer {postroom.admin_token}"}
        async with aiohttp.request("GET", postroom.api_url + path, headers=headers) as response:
            assert response.status == status
    async with aiohttp.request("GET", f"{postroom.admin_url('store-api')}/metrics") as response:
        lines = [line for line in (await response.text()).splitlines() if line.startswith("postroom_store_request")]
    counted = {line.partition("{")[2].partition("}")[0] for line in lines if "_seconds_count{" in line}
    assert 'call="get_ready",face="internal",status="2xx"' in counted
    assert 'call="get_account",face="v1",status="4xx"' in counted
    assert 'call="none",face="v1",status="4xx"' in counted
    assert "nobody" not in "".join(lines)
