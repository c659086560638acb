"""Bodies come back whole, in ranges and as streams, from wherever they lie by now."""

from __future__ import annotations

import asyncio
import base64
import os
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from mail_runtime.contracts import store as wire
from mail_runtime.contracts.errors import NotFound, Refused, Unavailable
from mail_runtime.contracts.framing import unpack_stream
from mail_runtime.store_client import StoreClient
from mail_testkit.clients import TIMEOUT_S
from store_api.blobs.blobs import Blobs, Policy
from store_api.blobs.file_storage import FileStorage
from store_api.blobs.keyring import Keyring
from store_api.blobs.keys import new_key
from store_api.blobs.places import find
from store_api.blobs.reading import (
    BUNDLE_OBJECTS,
    LANES,
    PIECE_OCTETS,
    framed,
    loaded,
    read,
    read_many,
    read_range,
    stream,
)
from store_api.blobs.rows import insert_blobs
from store_api.blobs.writing import PACKED_OCTETS, Body, WrittenBlob, write
from store_api.db.engine import Database, run
from store_api.db.ids import uuid7

NO_SUMMARY = b"\x80"  # an empty map


class CountingStorage(FileStorage):
    """Knows how often it was read, and what was read last."""

    reads = 0

    def read(self, key: str, offset: int, length: int) -> bytes:
        self.reads += 1
        return super().read(key, offset, length)


class DistantStorage(FileStorage):
    """Gives nothing until as many ask at a time as are to share a batch."""

    has_latency = True

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self._asking = threading.Barrier(LANES, timeout=TIMEOUT_S)

    def read(self, key: str, offset: int, length: int) -> bytes:
        self._asking.wait()
        return super().read(key, offset, length)


@pytest.fixture
def storage(tmp_path: Path) -> CountingStorage:
    return CountingStorage(tmp_path)


@pytest.fixture(params=["plain", "encrypted"])
async def blobs(request: Any, storage: CountingStorage, database: Database) -> AsyncIterator[Blobs]:
    keyring = Keyring({"k1": os.urandom(32)} if request.param == "encrypted" else {})
    opened = Blobs(storage, database, keyring, Policy(zstd_level=1, sending_octets=1))
    yield opened
    opened.close()


async def keep(blobs: Blobs, *bodies: bytes) -> list[WrittenBlob]:
    written = await write(blobs, [Body(uuid7(), octets) for octets in bodies])
    async with blobs.database.transaction() as connection:
        await insert_blobs(connection, written, [NO_SUMMARY] * len(written))
    return written


def text(length: int) -> bytes:
    return base64.encodebytes(os.urandom(length))[:length]


async def joined(pieces: AsyncIterator[bytes]) -> bytes:
    return b"".join([piece async for piece in pieces])


async def test_bodies_of_all_sizes(blobs: Blobs) -> None:
    sizes = [0, 1, 9000, PACKED_OCTETS - 1, PACKED_OCTETS, PIECE_OCTETS, PIECE_OCTETS + 1, 3 * PIECE_OCTETS + 7]
    bodies = [make(size) for size in sizes for make in (text, os.urandom)]
    written = await keep(blobs, *bodies)
    for place, octets in zip(written, bodies, strict=True):
        assert await read(blobs, place) == octets
        async with loaded(blobs, place) as whole:
            assert whole == octets
        assert await joined(stream(blobs, place)) == octets
        third = len(octets) // 3
        assert await read_range(blobs, place, third, third + 1000) == octets[third : third + 1000]
        assert await read_range(blobs, place, len(octets), len(octets) + 10) == b""
    assert unpack_stream(await joined(framed(blobs, written))) == bodies
    assert unpack_stream(await joined(framed(blobs, written[::-1]))) == bodies[::-1]
    assert await joined(framed(blobs, [])) == b""


async def test_small_bodies_share_an_object_and_are_read_together(blobs: Blobs, storage: CountingStorage) -> None:
    bodies = [text(5000) for _ in range(60)]
    written = await keep(blobs, *bodies)
    assert len({place.object_key for place in written}) == 1
    large = await keep(blobs, text(PACKED_OCTETS), text(PACKED_OCTETS))
    assert len({place.object_key for place in large}) == 2
    storage.reads = 0
    assert unpack_stream(await joined(framed(blobs, written))) == bodies
    assert storage.reads == 1


async def test_objects_that_are_far_away_are_asked_for_together(database: Database, tmp_path: Path) -> None:
    blobs = Blobs(DistantStorage(tmp_path), database)
    bodies = [os.urandom(100 + number) for number in range(LANES)]
    places = [(await write(blobs, [Body(uuid7(), octets)]))[0] for octets in bodies]
    assert await read_many(blobs, places) == bodies
    # As a stream: so many bundles at a time, each of many objects that one thread reads.
    bodies = [os.urandom(100 + number) for number in range(LANES * BUNDLE_OBJECTS)]
    places = [(await write(blobs, [Body(uuid7(), octets)]))[0] for octets in bodies]
    pieces = [piece async for piece in framed(blobs, places)]
    assert len(pieces) == LANES
    assert unpack_stream(b"".join(pieces)) == bodies
    blobs.close()


async def test_what_one_damaged_neighbour_has_no_part_in_is_read(blobs: Blobs, tmp_path: Path) -> None:
    first, second, third = await keep(blobs, text(5000), text(5000), text(5000))
    with (tmp_path / second.object_key).open("r+b") as file:
        file.seek(second.object_offset + second.stored_octets // 2)
        file.write(b"\0\0\0\0")
    assert len(await joined(framed(blobs, [first]))) == 5004
    for call in (read(blobs, second), joined(framed(blobs, [first, second, third])), joined(stream(blobs, second))):
        with pytest.raises(Unavailable, match="damaged"):
            await call


async def test_a_damaged_stream_ends_before_its_last_piece(storage: CountingStorage, database: Database) -> None:
    blobs = Blobs(storage, database, policy=Policy(zstd_level=0))
    (place,) = await keep(blobs, os.urandom(3 * PIECE_OCTETS))
    with (storage._root / place.object_key).open("r+b") as file:
        file.write(b"\0\0\0\0")
    pieces = stream(blobs, place)
    assert len(await anext(pieces)) + len(await anext(pieces)) == 2 * PIECE_OCTETS
    with pytest.raises(Unavailable, match="damaged"):
        await anext(pieces)
    blobs.close()


async def test_a_body_that_moved_is_found(blobs: Blobs, tmp_path: Path) -> None:
    large, *small = await keep(blobs, text(2 * PIECE_OCTETS), text(10), text(20))
    for place in (large, *small):
        key = new_key()
        (tmp_path / key).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / key).write_bytes((tmp_path / place.object_key).read_bytes())
        async with blobs.database.transaction() as connection:
            await run(connection, "UPDATE blob SET object_key = :key WHERE id = :id", key=key, id=place.blob_id)
    for place in (large, small[0]):
        (tmp_path / place.object_key).unlink()
    assert len(await joined(stream(blobs, large))) == large.length
    assert await read_range(blobs, large, 5, 6) != b""
    assert [len(octets) for octets in unpack_stream(await joined(framed(blobs, small)))] == [10, 20]


async def test_a_stream_that_nobody_reads_to_its_end_leaves_room(blobs: Blobs) -> None:
    """The budget of these tests is one octet: a second stream begins when the first one has let go of it."""
    written = await keep(blobs, text(3 * PIECE_OCTETS), text(100))
    abandoned = framed(blobs, written)
    for _ in range(3):
        await anext(abandoned)
    waiting = asyncio.create_task(joined(framed(blobs, written[1:])))
    await asyncio.sleep(0)
    assert not waiting.done()
    await abandoned.aclose()
    async with asyncio.timeout(TIMEOUT_S):
        assert len(await waiting) == 104


async def test_gone_with_its_row_or_only_its_object(blobs: Blobs, tmp_path: Path) -> None:
    first, second = await keep(blobs, text(PACKED_OCTETS), text(PACKED_OCTETS))
    for place in (first, second):
        (tmp_path / place.object_key).unlink()
    async with blobs.database.transaction() as connection:
        await run(connection, "DELETE FROM blob WHERE id = :id", id=first.blob_id)
    with pytest.raises(NotFound):
        await read(blobs, first)
    with pytest.raises(Unavailable):
        await read(blobs, second)


async def test_a_row_says_how_much_of_its_object_lives(blobs: Blobs) -> None:
    written = await write(blobs, [Body(uuid7(), text(1000)) for _ in range(4)])
    async with blobs.database.transaction() as connection:
        await insert_blobs(connection, written[:3], [NO_SUMMARY] * 3)
        row = (
            await run(
                connection,
                "SELECT octets, live_octets FROM pack WHERE object_key = :key",
                key=written[0].object_key,
            )
        ).one()
        assert (await find(connection, [written[0].blob_id]))[written[0].blob_id].length == 1000
    assert row.octets == sum(place.stored_octets for place in written)
    assert row.live_octets == row.octets - written[3].stored_octets


async def test_rows_of_a_time_before_encodings(storage: CountingStorage, database: Database, tmp_path: Path) -> None:
    blobs = Blobs(storage, database)
    (place,) = await keep(blobs, b"x" * 10)
    (tmp_path / place.object_key).write_bytes(b"....octets..")
    async with database.transaction() as connection:
        await run(
            connection,
            "UPDATE blob SET object_offset = 4, length = 6, stored_length = NULL, encoding = 'identity',"
            " sha256 = sha256('octets') WHERE id = :id",
            id=place.blob_id,
        )
        old = (await find(connection, [place.blob_id]))[place.blob_id]
    assert await read(blobs, old) == b"octets"
    blobs.close()


async def test_a_range_over_the_wire(store: StoreClient, account: Any, other_account: Any) -> None:
    octets = b"Subject: range\r\n\r\n" + text(3 * PIECE_OCTETS)
    await store.append(account.id, account.inbox.id, wire.AppendHeader(), octets)
    (blob_id,) = (await store.changes(account.id, account.inbox.id)).blob_ids
    assert await store.bodies(account.id, [blob_id]) == [octets]
    assert await store.body_range(account.id, blob_id, 2_000_000, 2_000_100) == octets[2_000_000:2_000_100]
    assert await store.body_range(account.id, blob_id, len(octets) - 3, len(octets) + 100) == octets[-3:]
    for start, end in ((-1, 5), (0, PIECE_OCTETS + 1), (10, 5)):
        with pytest.raises(Refused):
            await store.body_range(account.id, blob_id, start, end)
    with pytest.raises(NotFound):
        await store.body_range(other_account.id, blob_id, 0, 1)
    with pytest.raises(NotFound):
        await store.body_range(account.id, uuid4(), 0, 1)
