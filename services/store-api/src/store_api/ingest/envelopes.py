"""Rows of the table `transmission`, by which a repeated one is known, and of `delivery`: the outbound queue."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from mail_runtime.contracts.store import DsnRequest
from store_api.db.engine import fetch
from store_api.db.ids import uuid7
from store_api.ingest.asked import wants
from store_api.ingest.incoming import Incoming, Outbound

_NOTHING_ASKED: Final = DsnRequest()

_INSERT_TRANSMISSIONS: Final = """
INSERT INTO transmission (id, account_id, reverse_path, blob_id, octets, smtputf8, ret, envid, traceparent,
                          tls_wish, is_forwarded)
SELECT * FROM unnest(CAST(:ids AS uuid[]), CAST(:accounts AS uuid[]), CAST(:paths AS text[]),
                     CAST(:blobs AS uuid[]), CAST(:octets AS bigint[]), CAST(:utf8 AS boolean[]),
                     CAST(:rets AS text[]), CAST(:envids AS text[]), CAST(:traces AS text[]),
                     CAST(:wishes AS text[]), CAST(:forwarded AS boolean[]))
ON CONFLICT (id) DO NOTHING
RETURNING id
"""

_INSERT_DELIVERIES: Final = """
INSERT INTO delivery (id, transmission_id, recipient, domain, expires_at, delay_at, account_id, domain_id, notify,
                      orcpt)
SELECT id, transmission_id, recipient, domain,
       now() + make_interval(secs => coalesce(r.lifetime_s, lifetime)),
       CASE WHEN delay IS NOT NULL THEN now() + make_interval(secs => coalesce(r.delay_notice_s, delay)) END,
       account_id, domain_id, string_to_array(notify, ' '), orcpt
FROM unnest(CAST(:ids AS uuid[]), CAST(:transmissions AS uuid[]), CAST(:recipients AS text[]),
            CAST(:domains AS text[]), CAST(:lifetimes AS float8[]), CAST(:delays AS float8[]),
            CAST(:account_ids AS uuid[]), CAST(:domain_ids AS uuid[]), CAST(:notifies AS text[]),
            CAST(:orcpts AS text[]))
     AS t (id, transmission_id, recipient, domain, lifetime, delay, account_id, domain_id, notify, orcpt)
LEFT JOIN remote_domain r ON r.name = t.domain
"""


async def known_transmissions(connection: AsyncConnection, ids: Collection[UUID]) -> set[UUID]:
    """Those that are stored already."""
    if not ids:
        return set()
    sql = "SELECT id FROM transmission WHERE id = ANY (CAST(:ids AS uuid[]))"
    return {row.id for row in await fetch(connection, sql, ids=list(ids))}


async def insert_transmissions(connection: AsyncConnection, messages: Sequence[Incoming]) -> set[UUID]:
    """Insert the envelopes of messages; returns the ids of those that are new."""
    envelopes = [(incoming, incoming.outbound) for incoming in messages if incoming.outbound is not None]
    if not envelopes:
        return set()
    new = await fetch(
        connection,
        _INSERT_TRANSMISSIONS,
        ids=[outbound.transmission_id for _, outbound in envelopes],
        accounts=[outbound.account_id for _, outbound in envelopes],
        paths=[outbound.reverse_path for _, outbound in envelopes],
        blobs=[incoming.blob_id for incoming, _ in envelopes],
        octets=[len(incoming.octets) for incoming, _ in envelopes],
        utf8=[outbound.smtputf8 for _, outbound in envelopes],
        rets=[outbound.ret for _, outbound in envelopes],
        envids=[outbound.envid for _, outbound in envelopes],
        traces=[outbound.traceparent or None for _, outbound in envelopes],
        wishes=[outbound.tls_wish for _, outbound in envelopes],
        forwarded=[outbound.is_forwarded for _, outbound in envelopes],
    )
    return {row.id for row in new}


async def insert_deliveries(connection: AsyncConnection, envelopes: Sequence[Outbound]) -> None:
    """Queue the recipients of transmissions that were inserted just now."""
    deliveries = [(outbound, recipient) for outbound in envelopes for recipient in outbound.recipients]
    if not deliveries:
        return
    asked = [outbound.dsn.get(recipient, _NOTHING_ASKED) for outbound, recipient in deliveries]
    await fetch(
        connection,
        _INSERT_DELIVERIES,
        ids=[uuid7() for _ in deliveries],
        transmissions=[outbound.transmission_id for outbound, _ in deliveries],
        recipients=[recipient for _, recipient in deliveries],
        domains=[recipient.rpartition("@")[2].lower() for _, recipient in deliveries],
        lifetimes=[outbound.lifetime_s for outbound, _ in deliveries],
        account_ids=[outbound.account_id for outbound, _ in deliveries],
        delays=[
            outbound.delay_notice_s if outbound.reverse_path and wants("delayed", request.notify) else None
            for (outbound, _), request in zip(deliveries, asked, strict=True)
        ],
        domain_ids=[outbound.domain_id for outbound, _ in deliveries],
        notifies=[None if request.notify is None else " ".join(request.notify) for request in asked],
        orcpts=[request.orcpt for request in asked],
    )
