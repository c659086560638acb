"""Octets of messages out and in again, many in one stream, under the ids that rows know them by."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from uuid import UUID

import msgspec

from mail_proto.message.summary import summarize
from mail_runtime.contracts.errors import NotFound
from mail_runtime.contracts.framing import FramingError, unpack_stream
from mail_runtime.contracts.store import Summary
from store_api.blobs.blobs import Blobs
from store_api.blobs.places import find
from store_api.blobs.reading import framed
from store_api.blobs.rows import insert_blobs
from store_api.blobs.writing import Body, write
from store_api.db.engine import Database


async def export_bodies(database: Database, blobs: Blobs, blob_ids: Sequence[UUID]) -> AsyncIterator[bytes]:
    """A stream of frames (`contracts.framing`), one for each id, in that order. Raises NotFound: one is missing."""
    async with database.transaction() as connection:
        places = await find(connection, blob_ids)
    missing = [str(blob_id) for blob_id in blob_ids if blob_id not in places]
    if missing:
        raise NotFound(f"there is no blob {missing[0]}")
    return framed(blobs, [places[blob_id] for blob_id in blob_ids])


async def import_bodies(database: Database, blobs: Blobs, stream: bytes) -> tuple[int, int]:
    """(bodies that were new, bodies that were there). The first frame is the JSON list of the ids of the others.

    Raises FramingError. Conflict: somebody imports the same at this moment.
    """
    frames = unpack_stream(stream)
    if not frames:
        raise FramingError("the first frame, with the ids, is missing")
    ids = msgspec.json.decode(frames[0], type=list[UUID])
    if len(ids) != len(frames) - 1:
        raise FramingError(f"there are {len(ids)} ids and {len(frames) - 1} bodies")
    bodies = dict(zip(ids, frames[1:], strict=True))
    async with database.transaction() as connection:
        known = await find(connection, list(bodies))
    new = [Body(blob_id, octets) for blob_id, octets in bodies.items() if blob_id not in known]
    if new:
        written = await write(blobs, new)
        summaries = await asyncio.to_thread(_summaries, new)
        async with database.transaction() as connection:
            await insert_blobs(connection, written, summaries)
    return len(new), len(ids) - len(new)


def _summaries(bodies: Sequence[Body]) -> list[bytes]:
    return [msgspec.msgpack.encode(Summary.of(body.blob_id, summarize(body.octets))) for body in bodies]
