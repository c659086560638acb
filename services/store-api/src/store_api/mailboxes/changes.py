"""What changed in a mailbox: columns, read in one statement and so from one snapshot."""

from __future__ import annotations

from typing import Final
from uuid import UUID

from mail_runtime.contracts.errors import NotFound
from mail_runtime.contracts.store import Changes
from store_api.db.engine import Database, run
from store_api.mailboxes.rows import COLUMNS, to_mailbox

# array_agg keeps the order of its subquery; flags of different lengths can't be aggregated as arrays.
_CHANGES: Final = f"""
SELECT {COLUMNS}, f.since, c.*, e.gone
FROM mailbox
CROSS JOIN LATERAL (SELECT CASE WHEN :since < purged_modseq THEN 0 ELSE :since END AS since) AS f
CROSS JOIN LATERAL (
    SELECT array_agg(uid) AS uids, array_agg(modseq) AS modseqs,
           array_agg(array_to_string(flags, ' ')) AS flags, array_agg(internal_date) AS dates,
           array_agg(octets) AS sizes, array_agg(blob_id) AS blobs
    FROM (SELECT uid, modseq, flags, internal_date, octets, blob_id FROM message
          WHERE account_id = :account_id AND mailbox_id = :mailbox_id AND modseq > f.since ORDER BY uid) AS m
) AS c
CROSS JOIN LATERAL (
    SELECT array_agg(uid) AS gone
    FROM (SELECT uid FROM expunged
          WHERE account_id = :account_id AND mailbox_id = :mailbox_id AND modseq > f.since AND f.since > 0
          ORDER BY uid) AS x
) AS e
WHERE account_id = :account_id AND id = :mailbox_id
"""


async def changes(database: Database, account_id: UUID, mailbox_id: UUID, since: int) -> Changes:
    """What changed after modseq `since`; the whole mailbox for 0, and when tombstones after it are gone already.

    Raises NotFound.
    """
    async with database.transaction() as connection:
        row = (await run(connection, _CHANGES, account_id=account_id, mailbox_id=mailbox_id, since=since)).one_or_none()
    if row is None:
        raise NotFound("there is no such mailbox")
    return Changes(
        is_whole=row.since == 0,
        mailbox=to_mailbox(row),
        uids=row.uids or [],
        modseqs=row.modseqs or [],
        flags=[flags.split() for flags in row.flags or []],
        internal_dates=row.dates or [],
        octets=row.sizes or [],
        blob_ids=row.blobs or [],
        expunged=row.gone or [],
    )
