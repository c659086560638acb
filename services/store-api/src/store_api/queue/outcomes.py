"""How attempts ended: delivered, to be tried again, or bounced (RFC 5321 §4.5.4.1, §6.1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from uuid import UUID

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from mail_runtime.contracts.errors import Conflict
from mail_runtime.contracts.store import Outcome, Outcomes
from mail_runtime.tracing import trace_id
from store_api.blobs.blobs import Blobs
from store_api.db.engine import Database, run
from store_api.events.outbox import Event, record
from store_api.ingest.incoming import Group, Stored
from store_api.ingest.own import store_own
from store_api.ingest.planning import Rules
from store_api.queue.lanes import learn
from store_api.queue.notifying import ended_report, notification
from store_api.queue.retries import Ended, Retries, judge
from store_api.queue.suppression import add_bounced

MAX_REPLY_LENGTH: Final = 2000

_READ: Final = """
SELECT d.id, d.recipient, d.domain, d.attempts, d.expires_at, d.lease, d.account_id, d.domain_id, d.notify, d.orcpt,
       t.id AS transmission_id, t.reverse_path, t.octets, t.ret, t.envid, t.created_at, t.traceparent,
       r.retry_first_s, r.retry_longest_s, coalesce(r.defer_permanent, false) AS defer_permanent,
       EXISTS (SELECT 1 FROM delivery_attempt a WHERE a.delivery_id = d.id AND a.lease = :lease) AS recorded
FROM delivery d JOIN transmission t ON t.id = d.transmission_id LEFT JOIN remote_domain r ON r.name = d.domain
WHERE d.id = ANY (CAST(:ids AS uuid[])) ORDER BY d.id
"""

_END: Final = """
UPDATE delivery AS d SET
    state = CASE o.result WHEN 'deferred' THEN 'queued' ELSE o.result END,
    next_attempt_at = coalesce(o.next_attempt_at, d.next_attempt_at),
    publish_after = coalesce(o.next_attempt_at, d.publish_after),
    ended_at = CASE WHEN o.result = 'deferred' THEN NULL ELSE now() END,
    lease = NULL, lease_until = NULL, in_flight = false,
    last_reply = o.reply, last_status = o.status, last_remote = o.remote
FROM unnest(CAST(:ids AS uuid[]), CAST(:results AS text[]), CAST(:nexts AS timestamptz[]), CAST(:replies AS text[]),
            CAST(:statuses AS text[]), CAST(:remotes AS text[]))
     AS o (id, result, next_attempt_at, reply, status, remote)
WHERE d.id = o.id AND d.state = 'queued' AND d.lease = :lease
RETURNING d.id
"""

_RECORD: Final = """
INSERT INTO delivery_attempt (delivery_id, lease, result, reply, status, remote, address, tls)
SELECT id, :lease, result, reply, status, remote, address, tls
FROM unnest(CAST(:ids AS uuid[]), CAST(:results AS text[]), CAST(:replies AS text[]), CAST(:statuses AS text[]),
            CAST(:remotes AS text[]), CAST(:addresses AS text[]), CAST(:tls AS text[]))
     AS o (id, result, reply, status, remote, address, tls)
"""


async def report(
    database: Database, blobs: Blobs, retries: Retries, rules: Rules, outcomes: Outcomes
) -> tuple[Group, list[Stored]]:
    """Record outcomes; what the sender wants to know is told in the same transaction. Returns the DSN and its rows.

    Repeating a report changes nothing. Raises Conflict: the lease was lost, nothing of the report counts.
    """
    by_id = {outcome.delivery_id: _clean(outcome) for outcome in outcomes.outcomes}
    async with database.transaction() as connection:
        rows = (await run(connection, _READ, ids=list(by_id), lease=outcomes.lease)).all()
    if any(row.lease != outcomes.lease and not row.recorded for row in rows) or len(rows) != len(by_id):
        raise Conflict("the lease was lost")
    rows = [row for row in rows if not row.recorded]
    if not rows:
        return (), []
    # The lease fences: until it changes, so do neither attempts nor state.
    ended = judge(rows, by_id, retries)
    reports = [told for each in ended if (told := ended_report(each)) is not None]
    if not reports:
        async with database.transaction() as connection:
            await _end(connection, outcomes.lease, ended, retries)
        return (), []
    message = await notification(database, blobs, rules, rows[0], reports)

    async def work(connection: AsyncConnection) -> None:
        await _end(connection, outcomes.lease, ended, retries)

    return await store_own(database, blobs, rules, message, work)


def _clean(outcome: Outcome) -> Outcome:
    """The remote's words as text that Postgres can keep."""
    return msgspec.structs.replace(
        outcome,
        reply=_text(outcome.reply, MAX_REPLY_LENGTH),
        remote=_text(outcome.remote, 255),
        address=_text(outcome.address, 64),
        tls=_text(outcome.tls, 100),
    )


def _text(words: str, length: int) -> str:
    return words.replace("\0", "").encode("utf-8", "replace").decode()[:length]


async def _end(connection: AsyncConnection, lease: UUID, ended: Sequence[Ended], retries: Retries) -> None:
    values = {
        "ids": [e.outcome.delivery_id for e in ended],
        "results": [e.outcome.result for e in ended],
        "replies": [e.outcome.reply for e in ended],
        "statuses": [e.outcome.status for e in ended],
        "remotes": [e.outcome.remote for e in ended],
        "lease": lease,
    }
    changed = await run(connection, _END, nexts=[e.next_attempt_at for e in ended], **values)
    if len(changed.all()) != len(ended):
        raise Conflict("the lease was lost")
    details = {
        "addresses": [e.outcome.address for e in ended],
        "tls": [e.outcome.tls for e in ended],
    }
    await run(connection, _RECORD, **values, **details)
    await learn(connection, ended, retries.first_s)
    await add_bounced(connection, [e.outcome for e in ended])
    await record(connection, [_event(e) for e in ended])


def _event(ended: Ended) -> Event:
    """What is told of an attempt: `message.delivered`, `message.deferred`, `message.bounced`."""
    outcome, row = ended.outcome, ended.row
    content = {
        "delivery_id": str(row.id),
        "transmission_id": str(row.transmission_id),
        "sender": row.reverse_path,
        "recipient": row.recipient,
        "attempts": row.attempts,
        "octets": row.octets,
        "remote": outcome.remote,
        "status": outcome.status,
        "reply": outcome.reply,
        "tls": outcome.tls,
        "trace_id": trace_id(row.traceparent or ""),
    }
    if ended.next_attempt_at is not None:
        content["next_attempt_at"] = ended.next_attempt_at.isoformat()
    what = "bounced" if outcome.result == "failed" else outcome.result
    return Event(f"message.{what}", content, row.domain_id, row.account_id)
