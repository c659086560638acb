"""Rows as NDJSON: one snapshot of the database, streamed, ended by a line that says it is whole."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

import msgspec
from sqlalchemy import text

from store_api.db.engine import Database, run
from store_api.transfer.tables import Table

FORMAT: Final = "postroom-rows"
# Lines are sent together up to so many octets.
PIECE_OCTETS: Final = 65_536
FETCHED_ROWS: Final = 500

_encode = msgspec.json.Encoder().encode


async def export_rows(database: Database, tables: Sequence[Table], **values: Any) -> AsyncIterator[bytes]:
    """Pieces of NDJSON: `{"format": …, "schema": …}`, `{"table": …, "row": {…}}` …, `{"end": true, "rows": n}`.

    All rows are of one moment. A reader that is slow keeps that moment alive, and nothing else. Raises Unavailable.
    """
    async with database.transaction() as connection:
        await run(connection, "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        schema = (await run(connection, "SELECT version_num FROM alembic_version")).scalar()
        piece = bytearray(_encode({"format": FORMAT, "schema": schema}) + b"\n")
        total = 0
        for table in tables:
            left_out = "".join(f" - '{column}'" for column in table.leaves_out)
            start = b'{"table":"' + table.name.encode() + b'","row":'
            statement = text(f"SELECT CAST(to_jsonb(t){left_out} AS text) FROM {table.name} t {table.rows}")
            async with connection.stream(
                statement, values if ":account_id" in table.rows else {}, execution_options={"yield_per": FETCHED_ROWS}
            ) as rows:
                async for (row,) in rows:
                    piece += start + row.encode() + b"}\n"
                    total += 1
                    if len(piece) >= PIECE_OCTETS:
                        yield bytes(piece)
                        piece.clear()
        yield bytes(piece) + _encode({"end": True, "rows": total}) + b"\n"
