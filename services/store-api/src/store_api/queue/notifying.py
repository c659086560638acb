"""What the sender of a queued message is told, and the notification that tells it (RFC 3461 §5.2, RFC 3464)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mail_proto.dsn import Action, RecipientReport
from store_api.blobs.blobs import Blobs
from store_api.blobs.reading import loaded
from store_api.db.engine import Database
from store_api.db.ids import uuid7
from store_api.ingest.asked import wants
from store_api.ingest.bounces import Original, bounce
from store_api.ingest.drafts import Arrived
from store_api.ingest.planning import Rules
from store_api.messages.contents import transmission_place
from store_api.queue.retries import Ended


def ended_report(ended: Ended) -> RecipientReport | None:
    """Of a delivery that is over; None: the sender doesn't want to know, or the next hop tells (RFC 3461 §5.2.2)."""
    outcome, row = ended.outcome, ended.row
    if not row.reverse_path or outcome.result == "deferred":
        return None
    if outcome.result == "delivered" and outcome.dsn_passed_on:
        return None
    action: Action = "failed" if outcome.result == "failed" else "relayed"
    if not wants(action, row.notify):
        return None
    status = outcome.status or ("5.0.0" if action == "failed" else "2.0.0")
    return RecipientReport(ended.recipient, status, outcome.reply, outcome.remote, action, row.orcpt)


def delayed_report(row: Any) -> RecipientReport:
    """Of a delivery that still waits; `row` has what the last attempt came to."""
    status = row.last_status if row.last_status.startswith("4.") else "4.4.7"
    reply = row.last_reply or "it waits for its turn"
    return RecipientReport(
        row.recipient, status, reply, row.last_remote, "delayed", row.orcpt, retried_until=row.expires_at
    )


async def notification(
    database: Database, blobs: Blobs, rules: Rules, row: Any, reports: Sequence[RecipientReport]
) -> Arrived:
    """About the transmission of `row`, addressed to its reverse path."""
    place = await transmission_place(database, row.transmission_id)
    async with loaded(blobs, place) as octets:
        original = Original(
            row.reverse_path, octets, row.ret, row.envid, row.created_at, row.traceparent or "", row.tls_wish
        )
        return bounce(rules.hostname, original, list(reports), uuid7())
