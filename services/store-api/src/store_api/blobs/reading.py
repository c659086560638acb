"""Bodies from the object storage: whole, a range, as a stream, many in one stream.

Whoever asks has made sure that the blob is the account's to read. A pack may be rewritten between the look at the row
and the read: who finds no object looks at the row again. What is read whole is compared with its checksum.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Final, TypeVar

import structlog

from mail_runtime.contracts.errors import NotFound, Refused, Unavailable
from mail_runtime.contracts.framing import pack_length, pack_stream
from store_api.blobs.blobs import Blobs
from store_api.blobs.decoding import MemorySource, ObjectSource, Source, open_body
from store_api.blobs.faults import Damaged, ObjectMissing
from store_api.blobs.keyring import Keyring
from store_api.blobs.places import Place, find

log = structlog.get_logger()

T = TypeVar("T")

# Groups of neighbours in their objects.
_Bundle = Sequence[Sequence[Place]]

# A stream gives so much at a time, and reads so much together.
PIECE_OCTETS: Final = 1024 * 1024
# Bundles of small bodies that are read ahead of the one being sent, where the storage has latency to hide.
READ_AHEAD: Final = 3
# Objects that one thread reads for a bundle, one after the other.
BUNDLE_OBJECTS: Final = 32
# Threads that share a batch of small bodies where the storage has latency. One reads files the cheapest: several of
# them wait for the interpreter, and for each other (decision 24).
LANES: Final = 4
# What one stream holds at most: what is read ahead, once encoded and once not.
STREAM_OCTETS: Final = 2 * PIECE_OCTETS * (READ_AHEAD + 1)
# Small bodies of one pack that lie so near to each other are read at once.
GAP_OCTETS: Final = 64 * 1024
# An object isn't moved twice within one read: see the grace of `packs`.
RELOCATIONS: Final = 2


class _Reader:
    """One body that is being read."""

    def __init__(self, blobs: Blobs, place: Place) -> None:
        self._blobs, self.place = blobs, place
        self._source: Source | None = None

    async def read(self, start: int, end: int) -> bytes:
        return await self._found(lambda: self._opened().read(start, end))

    async def verified(self) -> bytes:
        return await self._found(lambda: _verified(self._opened(), self.place))

    def _opened(self) -> Source:
        if self._source is None:
            place = self.place
            stored = ObjectSource(self._blobs.storage, place.object_key, place.object_offset, place.stored_octets)
            self._source = open_body(stored, place, self._blobs.keyring)
        return self._source

    async def _found(self, call: Callable[[], T]) -> T:
        try:
            for _ in range(RELOCATIONS):
                try:
                    return await self._blobs.run(call)
                except ObjectMissing as error:
                    await self._relocate(error)
            return await self._blobs.run(call)
        except ObjectMissing as error:
            raise Unavailable("the stored message can't be found") from error
        except Damaged as error:
            raise damaged(self.place, error) from error

    async def _relocate(self, error: ObjectMissing) -> None:
        async with self._blobs.database.transaction() as connection:
            fresh = (await find(connection, [self.place.blob_id])).get(self.place.blob_id)
        if fresh is None:
            raise NotFound("the message is gone") from error
        if fresh.object_key == self.place.object_key:
            log.error("object_missing", blob_id=str(fresh.blob_id), object_key=fresh.object_key)
            raise error
        self.place, self._source = fresh, None


def damaged(place: Place, error: Damaged) -> Unavailable:
    """Log it once; what the client is told."""
    log.error("blob_damaged", blob_id=str(place.blob_id), object_key=place.object_key, error=str(error))
    return Unavailable("the stored message is damaged")


def _verified(source: Source, place: Place) -> bytes:
    if place.length <= PIECE_OCTETS:
        octets = source.read(0, place.length)
        if hashlib.sha256(octets).digest() != place.sha256:
            raise Damaged("the checksum is another")
        return octets
    digest = hashlib.sha256()
    # Piece by piece, so that not all of it is there twice, encoded and not; BytesIO gives what it holds uncopied.
    whole = io.BytesIO()
    for at in range(0, place.length, PIECE_OCTETS):
        octets = source.read(at, min(place.length, at + PIECE_OCTETS))
        digest.update(octets)
        whole.write(octets)
    if digest.digest() != place.sha256:
        raise Damaged("the checksum is another")
    return whole.getvalue()


async def read(blobs: Blobs, place: Place) -> bytes:
    """The whole body, checked. A large one in memory: use `stream`, or do it within `loaded`.

    Raises NotFound: it was deleted meanwhile. Unavailable.
    """
    return await _Reader(blobs, place).verified()


@asynccontextmanager
async def loaded(blobs: Blobs, place: Place) -> AsyncIterator[bytes]:
    """The whole body, checked, for the block; waits while too much is in memory. Raises NotFound, Unavailable."""
    # A large one takes turns with those on their way in: together they would be too much for a process.
    budget = blobs.receiving if place.length > PIECE_OCTETS else blobs.sending
    async with budget.take(place.length):
        yield await read(blobs, place)


async def read_range(blobs: Blobs, place: Place, start: int, end: int) -> bytes:
    """The octets [start, end) of a body, or as many of them as there are. Only what is encrypted is authentic.

    Raises NotFound, Unavailable. Refused: the range is backwards, or longer than PIECE_OCTETS.
    """
    if not 0 <= start <= end <= start + PIECE_OCTETS:
        raise Refused(f"a range has a start, an end behind it, and at most {PIECE_OCTETS} octets")
    end = min(end, place.length)
    return b"" if start >= end else await _Reader(blobs, place).read(start, end)


async def stream(blobs: Blobs, place: Place) -> AsyncIterator[bytes]:
    """The body in pieces, the next one read ahead. A damaged one ends before its last piece.

    Raises NotFound, Unavailable.
    """
    reader = _Reader(blobs, place)
    if place.length <= PIECE_OCTETS:
        yield await reader.verified()
        return
    digest = hashlib.sha256()
    ahead = asyncio.create_task(reader.read(0, PIECE_OCTETS))
    try:
        for at in range(0, place.length, PIECE_OCTETS):
            octets = await ahead
            digest.update(octets)
            following = at + PIECE_OCTETS
            if following < place.length:
                end = min(place.length, following + PIECE_OCTETS)
                ahead = asyncio.create_task(reader.read(following, end))
            elif digest.digest() != place.sha256:
                raise damaged(place, Damaged("the checksum is another"))
            yield octets
    finally:
        ahead.cancel()
        await asyncio.gather(ahead, return_exceptions=True)


async def framed(blobs: Blobs, places: Sequence[Place]) -> AsyncIterator[bytes]:
    """Bodies in order as a stream of `contracts.framing`, with at most STREAM_OCTETS in memory.

    Raises NotFound, Unavailable.
    """
    bundles = _bundled(grouped(places))
    ahead: deque[tuple[_Bundle, asyncio.Task[list[bytes]] | None]] = deque()
    read_ahead = READ_AHEAD if blobs.storage.has_latency else 1
    try:
        async with blobs.sending.take(min(STREAM_OCTETS, sum(place.length for place in places))):
            while True:
                while len(ahead) <= read_ahead and (bundle := next(bundles, None)) is not None:
                    is_large = bundle[0][0].length > PIECE_OCTETS
                    ahead.append((bundle, None if is_large else asyncio.create_task(_read_bundle(blobs, bundle))))
                if not ahead:
                    return
                bundle, task = ahead.popleft()
                if task is not None:
                    yield b"".join(pack_stream(await task))
                    continue
                yield pack_length(bundle[0][0].length)
                async for octets in stream(blobs, bundle[0][0]):
                    yield octets
    finally:
        tasks = [task for _, task in ahead if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def read_many(blobs: Blobs, places: Sequence[Place]) -> list[bytes]:
    """Small bodies in the order given, checked, by few threads: for a batch whose size the caller has bounded.

    Raises NotFound, Unavailable.
    """
    groups = grouped(places)
    share = max(1, -(-len(groups) // (LANES if blobs.storage.has_latency else 1)))
    async with blobs.sending.take(sum(place.length for place in places)):
        lanes = [_read_bundle(blobs, groups[at : at + share]) for at in range(0, len(groups), share)]
        return [octets for lane in await asyncio.gather(*lanes) for octets in lane]


def _bundled(groups: Sequence[Sequence[Place]]) -> Iterator[_Bundle]:
    """Groups that one thread reads: few enough, and not too much. A large body is a bundle of its own."""
    bundle: list[Sequence[Place]] = []
    octets = 0
    for group in groups:
        length = sum(place.length for place in group)
        if bundle and (len(bundle) == BUNDLE_OBJECTS or octets + length > PIECE_OCTETS):
            yield bundle
            bundle, octets = [], 0
        bundle.append(group)
        octets += length
    if bundle:
        yield bundle


async def _read_bundle(blobs: Blobs, bundle: _Bundle) -> list[bytes]:
    """Bodies of several objects, one after the other in one thread; one by one if that fails."""
    try:
        return await blobs.run(lambda: [octets for group in bundle for octets in _read_together(blobs, group)])
    except (ObjectMissing, Damaged):
        return [octets for group in bundle for octets in await _read_group(blobs, group)]


def grouped(places: Sequence[Place]) -> list[list[Place]]:
    """Neighbours in the order given that one read can bring: of one object, near to each other, not too much."""
    groups: list[list[Place]] = []
    end = octets = 0
    for place in places:
        last = groups[-1][-1] if groups else None
        joins = (
            last is not None
            and place.object_key == last.object_key
            and 0 <= place.object_offset - end <= GAP_OCTETS
            and place.object_offset + place.stored_octets - groups[-1][0].object_offset <= PIECE_OCTETS
            and octets + place.length <= PIECE_OCTETS
        )
        if joins:
            groups[-1].append(place)
            octets += place.length
        else:
            groups.append([place])
            octets = place.length
        end = place.object_offset + place.stored_octets
    return groups


async def _read_group(blobs: Blobs, group: Sequence[Place]) -> list[bytes]:
    """The bodies of a group, checked: with one request, or one by one if that fails."""
    if len(group) > 1:
        try:
            return await blobs.run(_read_together, blobs, group)
        except (ObjectMissing, Damaged):
            pass
    return [await read(blobs, place) for place in group]


def _read_together(blobs: Blobs, group: Sequence[Place]) -> list[bytes]:
    start = group[0].object_offset
    end = group[-1].object_offset + group[-1].stored_octets
    stored = ObjectSource(blobs.storage, group[0].object_key, start, end - start).read(0, end - start)
    return verify_together(memoryview(stored), group, blobs.keyring)


def verify_together(stored: memoryview, group: Sequence[Place], keyring: Keyring) -> list[bytes]:
    """The bodies of a group; `stored` begins where the first one does. Raises Damaged, Unavailable."""
    bodies = []
    for place in group:
        at = place.object_offset - group[0].object_offset
        source = MemorySource(stored[at : at + place.stored_octets])
        bodies.append(_verified(open_body(source, place, keyring), place))
    return bodies
