"""A request's body as it arrives: a large one goes to a file, which is then mapped."""

from __future__ import annotations

import asyncio
import mmap
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import BinaryIO, Final

from fastapi import Request

from mail_runtime.contracts.errors import TooLarge, Unavailable
from store_api.blobs import Octets

# Larger bodies go to a file.
SPOOLED_OCTETS: Final = 1024 * 1024
# So much is gathered for one write.
GATHERED_OCTETS: Final = 256 * 1024


class Spool:
    """Feed it with `add`, then take what came with `ended`; `close` in any case. Raises Unavailable: no room."""

    def __init__(self, expected_octets: int, directory: str | None) -> None:
        self._pieces: list[bytes] = []
        self._gathered = 0
        self._file: BinaryIO | None = None
        if expected_octets > SPOOLED_OCTETS:
            try:
                self._file = tempfile.TemporaryFile(dir=directory)  # noqa: SIM115 - closed by `close`
            except OSError as error:
                raise _full(error) from error

    async def add(self, piece: bytes) -> None:
        self._pieces.append(piece)
        self._gathered += len(piece)
        if self._file is not None and self._gathered >= GATHERED_OCTETS:
            try:
                await asyncio.to_thread(self._file.write, self._taken())
            except OSError as error:
                raise _full(error) from error

    def _taken(self) -> bytes:
        octets = b"".join(self._pieces)
        self._pieces.clear()
        self._gathered = 0
        return octets

    def ended(self) -> Octets:
        """What came."""
        octets = self._taken()
        if self._file is None:
            return octets
        try:
            self._file.write(octets)
            self._file.flush()
            if self._file.tell() == 0:
                return b""  # nothing can't be mapped
            return mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)
        except OSError as error:
            raise _full(error) from error

    def close(self) -> None:
        """The file is gone with its last mapping."""
        if self._file is not None:
            self._file.close()


def _full(error: OSError) -> Unavailable:
    return Unavailable(f"there is no room for the request ({error.strerror}); try again later")


@asynccontextmanager
async def spooled(request: Request, limit: int, directory: str | None) -> AsyncIterator[Octets]:
    """The whole body for the block: `request.state.spooled` where it is there already. A slow client holds a file
    meanwhile, and nothing that others wait for.

    Raises TooLarge as soon as it is longer than `limit`. Unavailable.
    """
    if (before := getattr(request.state, "spooled", None)) is not None:
        yield before
        return
    announced = request.headers.get("content-length", "")
    length = int(announced) if announced.isdecimal() else limit
    if length > limit:
        raise TooLarge(f"the request is larger than {limit} octets")
    spool = Spool(length, directory)
    try:
        total = 0
        async for piece in request.stream():
            total += len(piece)
            if total > limit:
                raise TooLarge(f"the request is larger than {limit} octets")
            await spool.add(piece)
        yield spool.ended()
    finally:
        spool.close()
