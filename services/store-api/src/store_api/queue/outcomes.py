"""How attempts ended: delivered, to be tried again, or bounced (RFC 5321 §4.5.4.1, §6.1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from mail_proto.dsn import FailedRecipient
from mail_runtime.contracts.errors import Conflict
from mail_runtime.contracts.store import Outcome, Outcomes
from store_api.blobs.blobs import Blobs
from store_api.blobs.reading import loaded
from store_api.db.engine import Database, run
from store_api.db.ids import uuid7
from store_api.events.outbox import Event, record
from store_api.ingest.bounces import bounce
from store_api.ingest.drafts import Arrived
from store_api.ingest.incoming import Group, Stored
from store_api.ingest.own import store_own
from store_api.ingest.planning import Rules
from store_api.messages.contents import transmission_place
from store_api.queue.suppression import add_bounced

log = structlog.get_logger()

MAX_PAUSE_S: Final = 4 * 3600.0
MAX_REPLY_LENGTH: Final = 2000


@dataclass(frozen=True, slots=True)
class Retries:
    """When to try again: `first_s` doubles with each attempt."""

    first_s: float

    def pause(self, attempts: int) -> timedelta:
        return timedelta(seconds=min(MAX_PAUSE_S, self.first_s * 2.0 ** min(attempts - 1, 30)))


@dataclass(frozen=True, slots=True)
class Ended:
    """One delivery with the outcome that counts. `next_attempt_at` is set when it stays queued."""

    outcome: Outcome
    row: Any
    next_attempt_at: datetime | None = None

    @property
    def recipient(self) -> str:
        return str(self.row.recipient)


_READ: Final = """
SELECT d.id, d.recipient, d.attempts, d.expires_at, d.lease, d.account_id, d.domain_id,
       t.id AS transmission_id, t.reverse_path, t.octets,
       EXISTS (SELECT 1 FROM delivery_attempt a WHERE a.delivery_id = d.id AND a.lease = :lease) AS recorded
FROM delivery d JOIN transmission t ON t.id = d.transmission_id
WHERE d.id = ANY (CAST(:ids AS uuid[]))
"""

_END: Final = """
UPDATE delivery AS d SET
    state = CASE o.result WHEN 'deferred' THEN 'queued' ELSE o.result END,
    next_attempt_at = coalesce(o.next_attempt_at, d.next_attempt_at),
    publish_after = coalesce(o.next_attempt_at, d.publish_after),
    ended_at = CASE WHEN o.result = 'deferred' THEN NULL ELSE now() END,
    lease = NULL, lease_until = NULL, last_reply = o.reply, last_status = o.status, last_remote = o.remote
FROM unnest(CAST(:ids AS uuid[]), CAST(:results AS text[]), CAST(:nexts AS timestamptz[]), CAST(:replies AS text[]),
            CAST(:statuses AS text[]), CAST(:remotes AS text[]))
     AS o (id, result, next_attempt_at, reply, status, remote)
WHERE d.id = o.id AND d.state = 'queued' AND d.lease = :lease
RETURNING d.id
"""

_RECORD: Final = """
INSERT INTO delivery_attempt (delivery_id, lease, result, reply, status, remote)
SELECT id, :lease, result, reply, status, remote
FROM unnest(CAST(:ids AS uuid[]), CAST(:results AS text[]), CAST(:replies AS text[]), CAST(:statuses AS text[]),
            CAST(:remotes AS text[])) AS o (id, result, reply, status, remote)
"""


async def report(
    database: Database, blobs: Blobs, retries: Retries, rules: Rules, outcomes: Outcomes
) -> tuple[Group, list[Stored]]:
    """Record outcomes; what failed for good is bounced in the same transaction. Returns the bounce and its rows.

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
    ended = [_judge(row, by_id[row.id], retries) for row in rows]
    failures = [e for e in ended if e.outcome.result == "failed"]
    if not failures or not rows[0].reverse_path:
        async with database.transaction() as connection:
            await _end(connection, outcomes.lease, ended)
        return (), []
    notification = await _bounce(database, blobs, rules, rows[0], failures)
    return await store_own(
        database, blobs, rules, notification, lambda connection: _end(connection, outcomes.lease, ended)
    )


def _clean(outcome: Outcome) -> Outcome:
    """The remote's words as text that Postgres can keep."""
    reply = outcome.reply.replace("\0", "").encode("utf-8", "replace").decode()[:MAX_REPLY_LENGTH]
    return Outcome(
        delivery_id=outcome.delivery_id,
        result=outcome.result,
        reply=reply,
        remote=outcome.remote[:255],
        status=outcome.status,
    )


def _judge(row: Any, outcome: Outcome, retries: Retries) -> Ended:
    """A deferred delivery whose time is over has failed (RFC 3463 §3.5: X.4.7)."""
    if outcome.result != "deferred":
        return Ended(outcome, row)
    next_attempt_at = datetime.now(UTC) + retries.pause(row.attempts)
    if next_attempt_at < row.expires_at:
        return Ended(outcome, row, next_attempt_at)
    expired = Outcome(
        delivery_id=outcome.delivery_id,
        result="failed",
        reply=f"gave up after {row.attempts} attempts; the last answer was: {outcome.reply}",
        remote=outcome.remote,
        status="4.4.7",
    )
    return Ended(expired, row)


async def _bounce(database: Database, blobs: Blobs, rules: Rules, row: Any, failures: Sequence[Ended]) -> Arrived:
    """The DSN, addressed to the reverse path."""
    async with database.transaction() as connection:
        place = await transmission_place(connection, row.transmission_id)
    failed = [
        FailedRecipient(
            address=failure.recipient,
            status=failure.outcome.status or "5.0.0",
            reply=failure.outcome.reply,
            remote=failure.outcome.remote,
        )
        for failure in failures
    ]
    async with loaded(blobs, place) as octets:
        return bounce(rules.hostname, row.reverse_path, failed, octets, uuid7())


async def _end(connection: AsyncConnection, lease: UUID, ended: Sequence[Ended]) -> None:
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
    await run(connection, _RECORD, **values)
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
    }
    if ended.next_attempt_at is not None:
        content["next_attempt_at"] = ended.next_attempt_at.isoformat()
    what = "bounced" if outcome.result == "failed" else outcome.result
    return Event(f"message.{what}", content, row.domain_id, row.account_id)
