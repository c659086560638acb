"""Writing the index: blobs that have no row in it are read, and their words, texts and fields inserted."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import fields
from itertools import groupby
from typing import Any, Final
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from mail_runtime.contracts.errors import Conflict, NotFound
from store_api.blobs import places, reading
from store_api.blobs.blobs import Blobs
from store_api.db.engine import Database, run
from store_api.search.fields import Fields
from store_api.search.marks import marks
from store_api.search.parsing import VERSION, Indexed, index
from store_api.search.vocabulary import add_words

# Texts of one transaction, in octets of their messages: bounds memory.
BATCH_OCTETS: Final = 8 * 1024 * 1024
# Of one batch: an account that is removed meanwhile takes its rows from under it.
TRIES: Final = 3

Wanted = tuple[UUID, UUID]  # account, blob

# Locked until they are in the index: two indexers never do the same work, and neither waits for the other.
_TAKE: Final = """
WITH wanted AS (
    SELECT DISTINCT account_id, blob_id
    FROM unnest(CAST(:accounts AS uuid[]), CAST(:blobs AS uuid[])) AS t (account_id, blob_id)
)
SELECT w.account_id, w.blob_id,
       EXISTS (SELECT 1 FROM message_text t WHERE t.account_id = w.account_id AND t.blob_id = w.blob_id) AS is_old
FROM wanted w JOIN blob b ON b.id = w.blob_id
WHERE EXISTS (SELECT 1 FROM message m WHERE m.account_id = w.account_id AND m.blob_id = w.blob_id)
  AND NOT EXISTS (SELECT 1 FROM message_text t
                  WHERE t.account_id = w.account_id AND t.blob_id = w.blob_id AND t.version >= :version)
ORDER BY w.blob_id, w.account_id
FOR NO KEY UPDATE OF b SKIP LOCKED
"""

# What was indexed by code that knew less. Others see it until the transaction ends.
_REMOVE_OLD: Final = """
DELETE FROM message_text t USING unnest(CAST(:accounts AS uuid[]), CAST(:blobs AS uuid[])) AS o (account_id, blob_id)
WHERE t.account_id = o.account_id AND t.blob_id = o.blob_id
"""

_INSERT_TEXT: Final = """
INSERT INTO message_text (account_id, blob_id, header, parts, opaque, body, words, marks, version)
VALUES (:account_id, :blob_id, :header, :parts, :opaque, :body, :words, :marks, :version)
"""

_INSERT_FIELDS: Final = """
INSERT INTO message_field (account_id, blob_id, "subject", "from", "to", "cc", "bcc", base_subject, is_reply,
    from_mailbox, to_mailbox, cc_mailbox, from_display, to_display, sent_date, sent_day, message_id, refs,
    header_pairs, body_pairs)
VALUES (:account_id, :blob_id, :subject, :from_, :to, :cc, :bcc, :base_subject, :is_reply,
    :from_mailbox, :to_mailbox, :cc_mailbox, :from_display, :to_display, :sent_date, :sent_day, :message_id, :refs,
    :header_pairs, :body_pairs)
"""


async def index_blobs(database: Database, blobs: Blobs, wanted: Iterable[Wanted]) -> int:
    """Index those of these messages that aren't yet; how many it took. Raises Unavailable.

    What another process has in hand is left to it; what is gone is passed over. Raises Conflict: accounts were removed
    while they were indexed, several times.
    """
    pairs = list(wanted)
    for _ in range(TRIES - 1):
        try:
            return await _index(database, blobs, pairs)
        except Conflict:
            continue  # what was removed meanwhile is passed over by the next
    return await _index(database, blobs, pairs)


async def _index(database: Database, blobs: Blobs, pairs: Sequence[Wanted]) -> int:
    async with database.transaction() as connection:
        accounts, blob_ids = [account for account, _ in pairs], [blob for _, blob in pairs]
        taken = (await run(connection, _TAKE, accounts=accounts, blobs=blob_ids, version=VERSION)).all()
        if old := [row for row in taken if row.is_old]:
            accounts, blob_ids = [row.account_id for row in old], [row.blob_id for row in old]
            await run(connection, _REMOVE_OLD, accounts=accounts, blobs=blob_ids)
        where = await places.find(connection, list({row.blob_id for row in taken}))
        batch: list[tuple[UUID, UUID, Indexed]] = []
        octets = 0
        # What went to several accounts is read once: it comes in the order of blobs.
        for blob_id, owners in groupby(taken, key=lambda row: row.blob_id):
            place = where[blob_id]
            try:
                async with reading.loaded(blobs, place) as body:
                    indexed = await asyncio.to_thread(index, body)
                    del body  # a large one would stay beyond its turn
            except NotFound:
                continue  # the row is locked, so this is damage, which was logged
            batch += [(row.account_id, blob_id, indexed) for row in owners]
            octets += place.length
            if octets >= BATCH_OCTETS:
                await _insert(connection, batch)
                batch, octets = [], 0
        await _insert(connection, batch)
    return len(taken)


async def _insert(connection: AsyncConnection, batch: Sequence[tuple[UUID, UUID, Indexed]]) -> None:
    if not batch:
        return
    words: dict[UUID, set[str]] = {}
    for account_id, _, indexed in batch:
        words.setdefault(account_id, set()).update(indexed.header_words or (), indexed.body_words or ())
    ids = await add_words(connection, words)
    texts = [_text_row(account_id, blob_id, indexed, ids.get(account_id, {})) for account_id, blob_id, indexed in batch]
    rows = [_fields_row(account_id, blob_id, indexed) for account_id, blob_id, indexed in batch]
    await connection.execute(text(_INSERT_TEXT), texts)
    await connection.execute(text(_INSERT_FIELDS), rows)


def _text_row(account_id: UUID, blob_id: UUID, indexed: Indexed, ids: dict[str, int]) -> dict[str, Any]:
    words = None
    addresses = (indexed.header_addresses, indexed.body_addresses)
    own = marks(account_id, indexed.header_junctions, indexed.body_junctions, indexed.field_words, addresses, ids)
    if indexed.header_words is not None and indexed.body_words is not None:
        words = sorted([ids[word] for word in indexed.body_words] + [-ids[word] for word in indexed.header_words])
    return {
        "account_id": account_id,
        "blob_id": blob_id,
        "header": indexed.text.header,
        "parts": indexed.text.parts,
        "opaque": indexed.text.opaque,
        "body": indexed.text.body,
        "words": words,
        "marks": own,
        "version": VERSION,
    }


def _fields_row(account_id: UUID, blob_id: UUID, indexed: Indexed) -> dict[str, Any]:
    return {
        "account_id": account_id,
        "blob_id": blob_id,
        **{field.name: getattr(indexed.fields, field.name) for field in fields(Fields)},
        "header_pairs": indexed.header_pairs,
        "body_pairs": indexed.body_pairs,
    }
