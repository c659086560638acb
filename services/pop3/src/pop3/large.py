"""Large messages: piece by piece, each asked for when the one before is on its way to the client.

Nothing waits at the store while a client is slow, neither a connection nor memory.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator
from typing import Final
from uuid import UUID

from mail_proto.pop3.errors import NoSuchMessage
from mail_proto.pop3.maildrop import Entry
from mail_runtime.contracts.errors import NotFound, Unavailable
from mail_runtime.contracts.store import RetrievePiece
from mail_runtime.store_client import StoreClient

# A frame of what the store compresses; two of them are here at a time.
PIECE_OCTETS: Final = 256 * 1024


async def read_large(
    store: StoreClient, account_id: UUID, mailbox_id: UUID, entry: Entry
) -> AsyncGenerator[bytes, None]:
    """The message in pieces; the next one is fetched meanwhile. The last comes only if the checksum is right.

    Raises NoSuchMessage: before the first piece, another session removed it. Unavailable.
    """

    async def fetch(start: int) -> tuple[bytes, bytes]:
        end = min(start + PIECE_OCTETS, entry.octets)
        wanted = RetrievePiece(mailbox_id=mailbox_id, uid=entry.uid, blob_id=entry.blob_id, start=start, end=end)
        return await store.retrieve_piece(account_id, wanted)

    digest = hashlib.sha256()
    start = 0
    ahead = asyncio.create_task(fetch(0))
    try:
        for start in range(0, entry.octets, PIECE_OCTETS):
            sha256, octets = await ahead
            digest.update(octets)
            following = start + PIECE_OCTETS
            if following < entry.octets:
                ahead = asyncio.create_task(fetch(following))
            elif digest.digest() != sha256:
                raise Unavailable("the stored message is damaged")
            yield octets
    except NotFound as error:
        if start == 0:
            raise NoSuchMessage("another session removed this message") from error
        raise Unavailable("the message is gone for good") from error
    finally:
        ahead.cancel()
        await asyncio.gather(ahead, return_exceptions=True)
