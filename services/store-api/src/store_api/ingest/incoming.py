"""Committing messages: blobs, transmissions, mailbox rows and deliveries of a whole batch together."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from mail_proto.message.summary import summarize
from mail_runtime.contracts.store import Summary
from store_api.blobs import Octets
from store_api.blobs.rows import insert_blobs
from store_api.blobs.writing import Body, WrittenBlob
from store_api.db.engine import run
from store_api.db.ids import uuid7


@dataclass(frozen=True, slots=True)
class Target:
    """A mailbox that the message goes into."""

    account_id: UUID
    mailbox_id: UUID
    flags: tuple[str, ...] = ()
    internal_date: int = field(default_factory=lambda: int(time.time()))


@dataclass(frozen=True, slots=True)
class Outbound:
    """The envelope of a message, and those of its recipients who are elsewhere."""

    transmission_id: UUID
    account_id: UUID | None
    reverse_path: str
    recipients: tuple[str, ...]
    smtputf8: bool
    lifetime_s: float


@dataclass(frozen=True, slots=True)
class Incoming:
    """One message to store: its octets and where they go."""

    octets: Octets
    targets: tuple[Target, ...]
    outbound: Outbound | None = None
    blob_id: UUID = field(default_factory=uuid7)

    @property
    def body(self) -> Body:
        return Body(self.blob_id, self.octets)


@dataclass(frozen=True, slots=True)
class Stored:
    """One row that was made: `first` of the values identify the mailbox, the rest the message in it."""

    account_id: UUID
    mailbox_id: UUID
    uid: int
    uid_validity: int
    modseq: int


Results = list[list[Stored]]


def summary_row(incoming: Incoming) -> bytes:
    """The parsed message as it is kept in `blob.summary`."""
    return msgspec.msgpack.encode(Summary.of(incoming.blob_id, summarize(incoming.octets)))


_INSERT_TRANSMISSIONS: Final = """
INSERT INTO transmission (id, account_id, reverse_path, blob_id, octets, smtputf8)
SELECT * FROM unnest(CAST(:ids AS uuid[]), CAST(:accounts AS uuid[]), CAST(:paths AS text[]),
                     CAST(:blobs AS uuid[]), CAST(:octets AS bigint[]), CAST(:utf8 AS boolean[]))
ON CONFLICT (id) DO NOTHING
RETURNING id
"""

_INSERT_DELIVERIES: Final = """
INSERT INTO delivery (id, transmission_id, recipient, domain, expires_at, account_id, domain_id)
SELECT t.id, t.transmission_id, t.recipient, t.domain, now() + make_interval(secs => t.lifetime), a.id, a.domain_id
FROM unnest(CAST(:ids AS uuid[]), CAST(:transmissions AS uuid[]), CAST(:recipients AS text[]),
            CAST(:domains AS text[]), CAST(:lifetimes AS float8[]))
     AS t (id, transmission_id, recipient, domain, lifetime)
JOIN transmission ON transmission.id = t.transmission_id LEFT JOIN account a ON a.id = transmission.account_id
"""

# Mailboxes are locked in one order, so that two batches can't wait for each other; uids and modseq
# are taken under that lock and so become visible in order (RFC 9051 §2.3.1.1).
_LOCK_MAILBOXES: Final = """
SELECT id FROM mailbox
WHERE (account_id, id) IN (
    SELECT * FROM unnest(CAST(:accounts AS uuid[]), CAST(:mailboxes AS uuid[])))
ORDER BY account_id, id FOR UPDATE
"""

_INSERT_MESSAGES: Final = """
WITH incoming AS (
    SELECT account_id, mailbox_id, blob_id, email_id, octets, internal_date,
           string_to_array(flags, ' ') AS flags, n,
           row_number() OVER (PARTITION BY account_id, mailbox_id ORDER BY n) - 1 AS place
    FROM unnest(CAST(:accounts AS uuid[]), CAST(:mailboxes AS uuid[]), CAST(:blobs AS uuid[]),
                CAST(:emails AS uuid[]), CAST(:octets AS bigint[]), CAST(:dates AS bigint[]),
                CAST(:flags AS text[]))
         WITH ORDINALITY AS t (account_id, mailbox_id, blob_id, email_id, octets, internal_date, flags, n)
), total AS (
    SELECT account_id, mailbox_id, count(*) AS messages, sum(octets) AS octets,
           count(*) FILTER (WHERE NOT '\\Seen' = ANY (flags)) AS unseen
    FROM incoming GROUP BY account_id, mailbox_id
), counted AS (
    UPDATE mailbox SET uid_next = mailbox.uid_next + total.messages,
                       highest_modseq = mailbox.highest_modseq + 1,
                       messages = mailbox.messages + total.messages,
                       unseen = mailbox.unseen + total.unseen,
                       octets = mailbox.octets + total.octets
    FROM total WHERE mailbox.account_id = total.account_id AND mailbox.id = total.mailbox_id
    RETURNING mailbox.account_id, mailbox.id AS mailbox_id, mailbox.uid_next - total.messages AS first_uid,
              mailbox.highest_modseq, mailbox.uid_validity
), inserted AS (
    INSERT INTO message (account_id, mailbox_id, uid, blob_id, modseq, flags, internal_date, email_id, octets)
    SELECT account_id, mailbox_id, first_uid + place, blob_id, highest_modseq, flags, internal_date,
           email_id, octets
    FROM incoming JOIN counted USING (account_id, mailbox_id)
)
SELECT n, account_id, mailbox_id, first_uid + place AS uid, uid_validity, highest_modseq AS modseq
FROM incoming JOIN counted USING (account_id, mailbox_id) ORDER BY n
"""


async def insert(
    connection: AsyncConnection,
    batch: Sequence[Incoming],
    written: Sequence[WrittenBlob],
    summaries: Sequence[bytes],
) -> Results:
    """Insert the rows of a batch whose octets are stored; the caller commits.

    Returns the rows of each message. A transmission that was stored before gives no rows again, and a
    mailbox that has gone gives none.
    """
    await insert_blobs(connection, written, summaries)
    repeated = await _insert_transmissions(connection, batch)
    rows = [
        (place, incoming, target)
        for place, incoming in enumerate(batch)
        if place not in repeated
        for target in incoming.targets
    ]
    results: Results = [[] for _ in batch]
    if not rows:
        return results
    accounts = [target.account_id for _, _, target in rows]
    mailboxes = [target.mailbox_id for _, _, target in rows]
    await run(connection, _LOCK_MAILBOXES, accounts=accounts, mailboxes=mailboxes)
    inserted = await run(
        connection,
        _INSERT_MESSAGES,
        accounts=accounts,
        mailboxes=mailboxes,
        blobs=[incoming.blob_id for _, incoming, _ in rows],
        emails=[uuid7() for _ in rows],
        octets=[len(incoming.octets) for _, incoming, _ in rows],
        dates=[target.internal_date for _, _, target in rows],
        flags=[" ".join(target.flags) for _, _, target in rows],
    )
    for n, account_id, mailbox_id, uid, uid_validity, modseq in inserted:
        results[rows[n - 1][0]].append(Stored(account_id, mailbox_id, uid, uid_validity, modseq))
    return results


async def _insert_transmissions(connection: AsyncConnection, batch: Sequence[Incoming]) -> set[int]:
    """Insert envelopes and their deliveries; returns the places of transmissions that existed already."""
    envelopes: dict[UUID, tuple[int, Incoming, Outbound]] = {}
    repeated: set[int] = set()
    for place, incoming in enumerate(batch):
        if incoming.outbound is None:
            continue
        if incoming.outbound.transmission_id in envelopes:
            repeated.add(place)
        else:
            envelopes[incoming.outbound.transmission_id] = (place, incoming, incoming.outbound)
    if not envelopes:
        return repeated
    new = await run(
        connection,
        _INSERT_TRANSMISSIONS,
        ids=list(envelopes),
        accounts=[outbound.account_id for _, _, outbound in envelopes.values()],
        paths=[outbound.reverse_path for _, _, outbound in envelopes.values()],
        blobs=[incoming.blob_id for _, incoming, _ in envelopes.values()],
        octets=[len(incoming.octets) for _, incoming, _ in envelopes.values()],
        utf8=[outbound.smtputf8 for _, _, outbound in envelopes.values()],
    )
    kept = set(new.scalars())
    repeated |= {place for key, (place, _, _) in envelopes.items() if key not in kept}
    deliveries = [
        (outbound, recipient)
        for place, _, outbound in envelopes.values()
        if place not in repeated
        for recipient in outbound.recipients
    ]
    if deliveries:
        await run(
            connection,
            _INSERT_DELIVERIES,
            ids=[uuid7() for _ in deliveries],
            transmissions=[outbound.transmission_id for outbound, _ in deliveries],
            recipients=[recipient for _, recipient in deliveries],
            domains=[recipient.rpartition("@")[2].lower() for _, recipient in deliveries],
            lifetimes=[outbound.lifetime_s for outbound, _ in deliveries],
        )
    return repeated
