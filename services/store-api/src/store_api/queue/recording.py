"""Attempts that ended, in one statement: the delivery, the attempt, the event, which domains answered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from mail_runtime.contracts.errors import Conflict
from mail_runtime.tracing import trace_id
from store_api.db.engine import Database, Row, fetch
from store_api.db.ids import uuid7
from store_api.queue.lanes import unreachable_domains
from store_api.queue.retries import Ended

# Rows are locked in the order of ids, as claims do, and domains in that of their names.
_RECORD: Final = """
WITH o AS (
    SELECT * FROM unnest(
        CAST(:ids AS uuid[]), CAST(:leases AS uuid[]), CAST(:results AS text[]), CAST(:nexts AS timestamptz[]),
        CAST(:replies AS text[]), CAST(:statuses AS text[]), CAST(:remotes AS text[]), CAST(:addresses AS text[]),
        CAST(:tls AS text[]), CAST(:event_ids AS uuid[]), CAST(:events AS jsonb[]))
    AS o (id, lease, result, next_attempt_at, reply, status, remote, address, tls, event_id, event)
), locked AS MATERIALIZED (
    SELECT d.id FROM delivery d WHERE d.id = ANY (CAST(:ids AS uuid[])) ORDER BY d.id FOR UPDATE
), ended AS (
    UPDATE delivery AS d SET
        state = CASE o.result WHEN 'deferred' THEN 'queued' ELSE o.result END,
        next_attempt_at = coalesce(o.next_attempt_at, d.next_attempt_at),
        publish_after = coalesce(o.next_attempt_at, d.publish_after),
        ended_at = CASE WHEN o.result = 'deferred' THEN NULL ELSE now() END,
        lease = NULL, lease_until = NULL, in_flight = false,
        last_reply = o.reply, last_status = o.status, last_remote = o.remote
    FROM locked JOIN o USING (id)
    WHERE d.id = locked.id AND d.state = 'queued' AND d.lease = o.lease
    RETURNING d.id, d.account_id, d.domain_id, lower(d.recipient) AS address
), attempt AS (
    INSERT INTO delivery_attempt (delivery_id, lease, result, reply, status, remote, address, tls)
    SELECT o.id, o.lease, o.result, o.reply, o.status, o.remote, o.address, o.tls FROM o JOIN ended USING (id)
), told AS (
    INSERT INTO event (id, type, domain_id, account_id, content)
    SELECT o.event_id, 'message.' || CASE o.result WHEN 'failed' THEN 'bounced' ELSE o.result END,
           ended.domain_id, ended.account_id, o.event
    FROM o JOIN ended USING (id)
), awake AS (
    DELETE FROM down_domain WHERE name IN (
        SELECT name FROM down_domain WHERE name = ANY (CAST(:answered AS text[])) ORDER BY name FOR UPDATE)
), forgotten AS (
    DELETE FROM hard_bounce h USING ended JOIN o USING (id)
    WHERE o.result = 'delivered' AND h.domain_id = ended.domain_id AND h.address = ended.address
)
SELECT id FROM ended
"""


@dataclass(frozen=True, slots=True)
class Reported:
    """Deliveries that were tried together, by the worker that has this lease."""

    lease: UUID
    ended: Sequence[Ended]


async def recorded(database: Database, reports: Sequence[Reported]) -> list[Conflict | None]:
    """Write down many reports in one statement. Conflict: a lease was lost, and what was lost doesn't count.

    Raises Unavailable.
    """
    rows = await database.fetch(_RECORD, **_values(reports))
    return _answers(reports, rows)


async def record(connection: AsyncConnection, report: Reported) -> None:
    """Write down one report in a transaction. Raises Conflict: a lease was lost, the transaction must go no further."""
    (answer,) = _answers([report], await fetch(connection, _RECORD, **_values([report])))
    if answer is not None:
        raise answer


def _answers(reports: Sequence[Reported], rows: Sequence[Row]) -> list[Conflict | None]:
    ended = {row.id for row in rows}
    return [
        None if all(each.row.id in ended for each in report.ended) else Conflict("the lease was lost")
        for report in reports
    ]


def _values(reports: Sequence[Reported]) -> dict[str, Any]:
    """The statement's columns. A report that comes twice at the same time is one."""
    ended = {each.row.id: (report.lease, each) for report in reports for each in report.ended}
    outcomes = [each.outcome for _, each in ended.values()]
    all_ended = [each for _, each in ended.values()]
    answered = {each.row.domain for each in all_ended if each.outcome.remote} - unreachable_domains(all_ended)
    return {
        "ids": list(ended),
        "leases": [lease for lease, _ in ended.values()],
        "results": [outcome.result for outcome in outcomes],
        "nexts": [each.next_attempt_at for each in all_ended],
        "replies": [outcome.reply for outcome in outcomes],
        "statuses": [outcome.status for outcome in outcomes],
        "remotes": [outcome.remote for outcome in outcomes],
        "addresses": [outcome.address for outcome in outcomes],
        "tls": [outcome.tls for outcome in outcomes],
        "event_ids": [uuid7() for _ in outcomes],
        "events": [msgspec.json.encode(_event(each)).decode() for each in all_ended],
        "answered": sorted(answered),
    }


def _event(ended: Ended) -> dict[str, Any]:
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
    return content
