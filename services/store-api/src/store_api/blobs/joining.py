"""Octets put together from pieces, in a mapped file when they are many."""

from __future__ import annotations

import mmap
import tempfile
from collections.abc import Iterable
from typing import Final

from mail_runtime.contracts.errors import Unavailable
from store_api.blobs import Octets

IN_MEMORY_OCTETS: Final = 1024 * 1024


def joined(pieces: Iterable[bytes | memoryview], directory: str | None) -> Octets:
    """One after the other, each taken when it is written; more than IN_MEMORY_OCTETS are a mapped file without a name
    in `directory`.

    Blocks. Raises Unavailable: there is no room.
    """
    try:
        with tempfile.SpooledTemporaryFile(IN_MEMORY_OCTETS, dir=directory) as file:
            for piece in pieces:
                if file.tell() + len(piece) > IN_MEMORY_OCTETS:
                    file.rollover()  # before the piece is in memory once more
                file.write(piece)
            if file.tell() <= IN_MEMORY_OCTETS:
                file.seek(0)
                return file.read()
            file.flush()
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        raise Unavailable(f"there is no room for the message ({error.strerror}); try again later") from error


def forget_pages(octets: Octets) -> None:
    """What was read of a mapped file needn't stay in memory: the file has it."""
    if isinstance(octets, mmap.mmap):
        octets.madvise(mmap.MADV_DONTNEED)
