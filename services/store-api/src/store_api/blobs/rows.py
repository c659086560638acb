"""The rows that say where the octets of a blob are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from store_api.blobs.writing import WrittenBlob
from store_api.db.engine import run

_INSERT_BLOBS: Final = """
INSERT INTO blob (id, object_key, object_offset, length, sha256, summary)
SELECT * FROM unnest(CAST(:ids AS uuid[]), CAST(:keys AS text[]), CAST(:offsets AS bigint[]),
                     CAST(:lengths AS bigint[]), CAST(:hashes AS bytea[]), CAST(:summaries AS bytea[]))
"""

_INSERT_PACKS: Final = """
INSERT INTO pack (object_key, octets, live_octets)
SELECT * FROM unnest(CAST(:keys AS text[]), CAST(:octets AS bigint[]), CAST(:live AS bigint[]))
"""


async def insert_blobs(connection: AsyncConnection, written: Sequence[WrittenBlob], summaries: Sequence[bytes]) -> None:
    """Insert what was written, in the transaction that refers to it.

    `summaries`: the encoded `contracts.store.Summary` of each. All that is kept of one object goes in one call:
    what of it is missing here counts as dead.
    """
    if not written:
        return
    await run(
        connection,
        _INSERT_BLOBS,
        ids=[blob.blob_id for blob in written],
        keys=[blob.object_key for blob in written],
        offsets=[blob.object_offset for blob in written],
        lengths=[blob.length for blob in written],
        hashes=[blob.sha256 for blob in written],
        summaries=list(summaries),
    )
    octets = {blob.object_key: blob.object_octets for blob in written}
    live = dict.fromkeys(octets, 0)
    for blob in written:
        live[blob.object_key] += blob.length
    await run(connection, _INSERT_PACKS, keys=list(octets), octets=list(octets.values()), live=list(live.values()))
