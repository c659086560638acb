"""The transaction of a batch: blobs, envelopes, deliveries, mailboxes, quotas, messages, threads, events."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from mail_runtime.contracts.errors import NotFound, NotPermitted
from mail_runtime.tracing import trace_id
from store_api.blobs.rows import insert_blobs
from store_api.blobs.writing import WrittenBlob
from store_api.db.engine import fetch
from store_api.db.ids import uuid7
from store_api.events.outbox import Event, record
from store_api.ingest import threads
from store_api.ingest.envelopes import insert_deliveries, insert_transmissions
from store_api.ingest.incoming import Group, Incoming, Place, Scanned, Stored, Target, scan
from store_api.mailboxes.quota import lock_room
from store_api.mailboxes.reaching import reach
from store_api.mailboxes.rights import Right


class PlanChanged(Exception):
    """What the batch was planned with is no longer so: a mailbox has gone, or one is too full. Plan it anew.

    `accounts` are those that it was for, one of which is full; `gone` are places that aren't there.
    """

    def __init__(self, accounts: frozenset[UUID], gone: frozenset[Place]) -> None:
        super().__init__("a mailbox has gone or is full")
        self.accounts, self.gone = accounts, gone


# Mailboxes are locked in one order, so that two batches can't wait for each other; uids and modseq
# are taken under that lock and so become visible in order (RFC 9051 §2.3.1.1).
_LOCK_MAILBOXES: Final = """
SELECT account_id, id FROM mailbox
WHERE (account_id, id) IN (
    SELECT * FROM unnest(CAST(:accounts AS uuid[]), CAST(:mailboxes AS uuid[])))
ORDER BY account_id, id FOR NO KEY UPDATE
"""

# Under the lock of its mailbox nobody else can insert the same one.
_FIND_REPEATED: Final = """
SELECT DISTINCT ON (t.n) t.n, m.account_id, m.mailbox_id, m.uid, b.uid_validity, m.modseq, m.email_id,
       (SELECT a.domain_id FROM account a WHERE a.id = m.account_id) AS domain_id
FROM unnest(CAST(:accounts AS uuid[]), CAST(:keys AS uuid[])) WITH ORDINALITY AS t (account_id, email_id, n)
JOIN (SELECT account_id, mailbox_id, uid, modseq, email_id FROM message
      UNION ALL SELECT account_id, mailbox_id, uid, modseq, email_id FROM expunged) m
    ON m.account_id = t.account_id AND m.email_id = t.email_id
JOIN mailbox b ON b.account_id = m.account_id AND b.id = m.mailbox_id
ORDER BY t.n, m.uid
"""

_INSERT_MESSAGES: Final = """
WITH incoming AS (
    SELECT account_id, mailbox_id, blob_id, email_id, thread_id, octets, internal_date,
           string_to_array(flags, ' ') AS flags, n,
           row_number() OVER (PARTITION BY account_id, mailbox_id ORDER BY n) - 1 AS place
    FROM unnest(CAST(:accounts AS uuid[]), CAST(:mailboxes AS uuid[]), CAST(:blobs AS uuid[]),
                CAST(:emails AS uuid[]), CAST(:threads AS uuid[]), CAST(:octets AS bigint[]),
                CAST(:dates AS bigint[]), CAST(:flags AS text[]))
         WITH ORDINALITY
         AS t (account_id, mailbox_id, blob_id, email_id, thread_id, octets, internal_date, flags, n)
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
    INSERT INTO message (account_id, mailbox_id, uid, blob_id, modseq, flags, internal_date, email_id, thread_id,
                         octets)
    SELECT account_id, mailbox_id, first_uid + place, blob_id, highest_modseq, flags, internal_date, email_id,
           thread_id, octets
    FROM incoming JOIN counted USING (account_id, mailbox_id)
)
SELECT n, account_id, mailbox_id, first_uid + place AS uid, uid_validity, highest_modseq AS modseq, email_id,
       (SELECT a.domain_id FROM account a WHERE a.id = account_id) AS domain_id
FROM incoming JOIN counted USING (account_id, mailbox_id) ORDER BY n
"""

Row = tuple[int, Incoming, Target]


async def insert(
    connection: AsyncConnection,
    groups: Sequence[Group],
    written: Mapping[UUID, WrittenBlob],
) -> list[list[Stored]]:
    """Insert the rows of a batch whose octets are stored (`written`, by blob id); the caller commits.

    Returns the rows of each group. A transmission that was stored before gives none again. Raises PlanChanged:
    nothing may be committed.
    """
    messages = [incoming for group in groups for incoming in group]
    scanned = [incoming.scanned or scan(incoming.octets, incoming.blob_id) for incoming in messages]
    await insert_blobs(
        connection, [written[incoming.blob_id] for incoming in messages], [found.summary for found in scanned]
    )
    new = await insert_transmissions(connection, _first_of_each(messages))
    fresh = _fresh(groups, new)
    await insert_deliveries(
        connection, [i.outbound for place in fresh for i in groups[place] if i.outbound is not None]
    )
    rows = [(place, incoming, target) for place in fresh for incoming in groups[place] for target in incoming.targets]
    results: list[list[Stored]] = [[] for _ in groups]
    events = [_queued(i) for place in fresh for i in groups[place] if i.outbound is not None and i.outbound.recipients]
    if rows:
        await _lock(connection, rows)
        rows = await _without_repeated(connection, rows, results)
    if rows:
        by_blob = {incoming.blob_id: found for incoming, found in zip(messages, scanned, strict=True)}
        events += await _insert_messages(connection, rows, by_blob, results)
    await record(connection, events)
    return results


def _first_of_each(messages: Sequence[Incoming]) -> list[Incoming]:
    """Without those whose transmission is in the batch twice."""
    seen: dict[UUID, Incoming] = {}
    for incoming in messages:
        if incoming.outbound is not None:
            seen.setdefault(incoming.outbound.transmission_id, incoming)
    return list(seen.values())


def _fresh(groups: Sequence[Group], new: set[UUID]) -> list[int]:
    """Places of the groups that weren't stored before; `new` transmissions are taken by the first that has them."""
    fresh = []
    for place, group in enumerate(groups):
        outbound = group[0].outbound if group else None
        if outbound is None or outbound.transmission_id in new:
            fresh.append(place)
        if outbound is not None:
            new.discard(outbound.transmission_id)
    return fresh


async def _lock(connection: AsyncConnection, rows: Sequence[Row]) -> None:
    """Take the locks in the order that everybody does, and see whether all are there and have room."""
    wanted = {(target.account_id, target.mailbox_id) for _, _, target in rows}
    locked = await fetch(
        connection,
        _LOCK_MAILBOXES,
        accounts=[account_id for account_id, _ in wanted],
        mailboxes=[mailbox_id for _, mailbox_id in wanted],
    )
    missing = wanted - {(row.account_id, row.id) for row in locked}
    places = {target.place for _, _, target in rows}
    gone = frozenset(place for place in places if place[:2] in missing) | await _forbidden(connection, places)
    account_ids = frozenset(account_id for account_id, _ in wanted)
    rooms = await lock_room(connection, account_ids)
    fits = [rooms[target.account_id].takes(len(incoming.octets)) for _, incoming, target in rows if not gone]
    if gone or not all(fits):
        raise PlanChanged(account_ids, gone)


async def _forbidden(connection: AsyncConnection, places: Iterable[Place]) -> frozenset[Place]:
    """Others' mailboxes that lost their inserter's right meanwhile; it is looked at under their locks."""
    forbidden = set()
    for place in places:
        _, mailbox_id, inserter_id = place
        if inserter_id is None:
            continue
        try:
            await reach(connection, inserter_id, mailbox_id, Right.INSERT)
        except (NotFound, NotPermitted):
            forbidden.add(place)
    return frozenset(forbidden)


async def _without_repeated(connection: AsyncConnection, rows: list[Row], results: list[list[Stored]]) -> list[Row]:
    """Leave out messages whose key was stored before; their row of then is their result."""
    keyed = [(row, key) for row in rows if (key := row[1].key) is not None]
    if not keyed:
        return rows
    found = await fetch(
        connection,
        _FIND_REPEATED,
        accounts=[target.account_id for (_, _, target), _ in keyed],
        keys=[key for _, key in keyed],
    )
    repeated = set()
    for n, *stored in found:
        row = keyed[n - 1][0]
        repeated.add(id(row))
        results[row[0]].append(Stored(*stored))
    return [row for row in rows if id(row) not in repeated]


async def _insert_messages(
    connection: AsyncConnection, rows: Sequence[Row], scanned: Mapping[UUID, Scanned], results: list[list[Stored]]
) -> list[Event]:
    threads_of = await threads.assign(
        connection, [(target.account_id, scanned[incoming.blob_id].references) for _, incoming, target in rows]
    )
    inserted = await fetch(
        connection,
        _INSERT_MESSAGES,
        accounts=[target.account_id for _, _, target in rows],
        mailboxes=[target.mailbox_id for _, _, target in rows],
        blobs=[incoming.blob_id for _, incoming, _ in rows],
        emails=[incoming.key or uuid7() for _, incoming, _ in rows],
        threads=threads_of,
        octets=[len(incoming.octets) for _, incoming, _ in rows],
        dates=[target.internal_date for _, _, target in rows],
        flags=[" ".join(target.flags) for _, _, target in rows],
    )
    events = []
    for n, *values in inserted:
        place, incoming, _ = rows[n - 1]
        stored = Stored(*values)
        results[place].append(stored)
        events.append(_stored(incoming, stored))
    return events


def _stored(incoming: Incoming, stored: Stored) -> Event:
    content: dict[str, Any] = {
        "email_id": str(stored.email_id),
        "mailbox_id": str(stored.mailbox_id),
        "blob_id": str(incoming.blob_id),
        "uid": stored.uid,
        "octets": len(incoming.octets),
    }
    if incoming.outbound is not None:
        content["transmission_id"] = str(incoming.outbound.transmission_id)
        content["sender"] = incoming.outbound.reverse_path
        content["trace_id"] = trace_id(incoming.outbound.traceparent)
    return Event("message.stored", content, stored.domain_id, stored.account_id)


def _queued(incoming: Incoming) -> Event:
    outbound = incoming.outbound
    assert outbound is not None
    content = {
        "transmission_id": str(outbound.transmission_id),
        "sender": outbound.reverse_path,
        "recipients": list(outbound.recipients),
        "octets": len(incoming.octets),
        "trace_id": trace_id(outbound.traceparent),
    }
    return Event("message.queued", content, outbound.domain_id, outbound.account_id)
