"""Waiting for the store's indexer: what it does with messages belongs to their delivery, whatever is measured next."""

from __future__ import annotations

import asyncio
from typing import Final

import asyncpg

INDEX_TIMEOUT_S: Final = 300.0

_NOT_INDEXED: Final = """
SELECT EXISTS (SELECT 1 FROM message m WHERE NOT EXISTS (
    SELECT 1 FROM message_field f WHERE f.account_id = m.account_id AND f.blob_id = m.blob_id))
"""


async def indexed(database_url: str) -> None:
    """Return once every message is in the index. Raises TimeoutError."""
    connection = await asyncpg.connect(database_url)
    try:
        async with asyncio.timeout(INDEX_TIMEOUT_S):
            while await connection.fetchval(_NOT_INDEXED):  # noqa: ASYNC110 - another process does it
                await asyncio.sleep(0.2)
    finally:
        await connection.close()
