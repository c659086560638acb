"""What is kept for a time only, removed when it is over. Replicas may do it at the same moment."""

from __future__ import annotations

import asyncio
from typing import Final

import structlog

from mail_runtime.contracts.errors import Unavailable
from store_api.accounts import guard
from store_api.api import idempotency
from store_api.db.engine import Database
from store_api.screening import allowances, greylist

log = structlog.get_logger()

EVERY_S: Final = 600.0


async def sweep(database: Database) -> None:
    """Once. Raises Unavailable."""
    async with database.transaction() as connection:
        await guard.forget_old(connection)
    async with database.transaction() as connection:
        await idempotency.forget_old(connection)
    async with database.transaction() as connection:
        await greylist.forget_old(connection)
    async with database.transaction() as connection:
        await allowances.forget_old(connection)


async def run(database: Database) -> None:
    """Again and again, until cancelled."""
    while True:
        try:
            await sweep(database)
        except Unavailable as error:
            log.info("sweep_waits", error=str(error))
        await asyncio.sleep(EVERY_S)
