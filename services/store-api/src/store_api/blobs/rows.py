"""The rows of blobs, and of the objects that they lie in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from store_api.blobs.metrics import BODY_OCTETS
from store_api.blobs.writing import WrittenBlob
from store_api.db.engine import fetch

_INSERT: Final = """
WITH packs AS (
    INSERT INTO pack (object_key, octets, live_octets)
    SELECT * FROM unnest(CAST(:packs AS text[]), CAST(:octets AS bigint[]), CAST(:live AS bigint[]))
)
INSERT INTO blob (id, object_key, object_offset, length, sha256, stored_length, encoding, data_key, key_id, summary,
                  attachments)
SELECT * FROM unnest(CAST(:ids AS uuid[]), CAST(:keys AS text[]), CAST(:offsets AS bigint[]),
                     CAST(:lengths AS bigint[]), CAST(:hashes AS bytea[]), CAST(:stored AS bigint[]),
                     CAST(:encodings AS text[]), CAST(:data_keys AS bytea[]), CAST(:key_ids AS text[]),
                     CAST(:summaries AS bytea[]), CAST(:attachments AS integer[]))
"""


class _Attachments(msgspec.Struct):
    """The field of a summary that lists are filtered by; the others are skipped."""

    attachments: int = 0


_attachments: Final = msgspec.msgpack.Decoder(_Attachments).decode


async def insert_blobs(connection: AsyncConnection, written: Sequence[WrittenBlob], summaries: Sequence[bytes]) -> None:
    """Insert what was written, in the transaction that refers to it.

    `summaries`: the encoded `contracts.store.Summary` of each. All that is kept of one object goes in one call:
    what of it is missing here counts as dead.
    """
    if not written:
        return
    octets = {blob.object_key: blob.object_octets for blob in written}
    live = dict.fromkeys(octets, 0)
    for blob in written:
        live[blob.object_key] += blob.stored_octets
    await fetch(
        connection,
        _INSERT,
        packs=list(octets),
        octets=list(octets.values()),
        live=list(live.values()),
        ids=[blob.blob_id for blob in written],
        keys=[blob.object_key for blob in written],
        offsets=[blob.object_offset for blob in written],
        lengths=[blob.length for blob in written],
        hashes=[blob.sha256 for blob in written],
        stored=[blob.stored_octets for blob in written],
        encodings=[blob.encoding for blob in written],
        data_keys=[blob.data_key for blob in written],
        key_ids=[blob.key_id for blob in written],
        summaries=list(summaries),
        attachments=[_attachments(summary).attachments for summary in summaries],
    )
    BODY_OCTETS.labels("received").inc(sum(blob.length for blob in written))
    BODY_OCTETS.labels("stored").inc(sum(blob.stored_octets for blob in written))
