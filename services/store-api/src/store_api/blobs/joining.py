"""Octets put together from pieces, in a file when they are many."""

from __future__ import annotations

import mmap
import tempfile
from collections.abc import Sequence
from typing import Final

from mail_runtime.contracts.errors import Unavailable
from store_api.blobs import Octets

IN_MEMORY_OCTETS: Final = 1024 * 1024


def joined(pieces: Sequence[bytes | memoryview], directory: str | None) -> Octets:
    """One after the other; more than IN_MEMORY_OCTETS are a mapped file without a name in `directory`.

    Blocks. Raises Unavailable: there is no room.
    """
    if sum(map(len, pieces)) <= IN_MEMORY_OCTETS:
        return b"".join(pieces)
    try:
        with tempfile.TemporaryFile(dir=directory) as file:
            for piece in pieces:
                file.write(piece)
            file.flush()
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        raise Unavailable(f"there is no room for the message ({error.strerror}); try again later") from error
