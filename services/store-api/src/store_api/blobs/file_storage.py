"""Objects as files of a directory: temporary name, fsync, rename, fsync of the directory."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import BinaryIO, Final

from store_api.blobs.faults import ObjectMissing
from store_api.blobs.keys import TEMPORARY

COPY_OCTETS: Final = 1024 * 1024


class FileStorage:
    """See `storage.Storage`."""

    has_latency = False

    def __init__(self, root: Path) -> None:
        self._root = root

    def check(self) -> None:
        self._root.mkdir(parents=True, exist_ok=True)

    def write(self, key: str, source: BinaryIO, length: int) -> None:
        path = self._root / key
        temporary = path.with_name(path.name + TEMPORARY)
        with self._new_file(temporary) as file:
            shutil.copyfileobj(source, file, COPY_OCTETS)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(path)
        _fsync_directory(path.parent)

    def _new_file(self, path: Path) -> BinaryIO:
        try:
            return path.open("wb")
        except FileNotFoundError:  # the directory is new, or `delete` has just removed it
            self._make_directory(path.parent)
            return path.open("wb")

    def _make_directory(self, directory: Path) -> None:
        """Make it and its parents so that they survive a crash too."""
        missing = []
        while not directory.is_dir():
            missing.append(directory)
            directory = directory.parent
        for new in reversed(missing):
            new.mkdir(exist_ok=True)
            _fsync_directory(new.parent)

    def read(self, key: str, offset: int, length: int) -> bytes:
        try:
            descriptor = os.open(f"{self._root}/{key}", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise ObjectMissing(key) from error
        try:
            return _read_fully(descriptor, offset, length)
        finally:
            os.close(descriptor)

    def delete(self, key: str) -> None:
        path = self._root / key
        path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # other objects lie there
            path.parent.rmdir()
            path.parent.parent.rmdir()

    def keys(self, after: str, limit: int) -> list[str]:
        return list(islice(_walk(self._root, "", after), limit))


def _read_fully(descriptor: int, offset: int, length: int) -> bytes:
    octets = os.pread(descriptor, length, offset)
    pieces = [octets]
    at = len(octets)
    while octets and at < length:  # a read of one call ends at 2 GiB, or at a signal
        octets = os.pread(descriptor, length - at, offset + at)
        pieces.append(octets)
        at += len(octets)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _walk(directory: Path, prefix: str, after: str) -> Iterator[str]:
    """Keys behind `after`, ascending; directories that lie before it aren't entered."""
    try:
        with os.scandir(directory) as entries:
            found = sorted((entry.name, entry.is_dir()) for entry in entries)
    except FileNotFoundError:
        return  # its last object was deleted meanwhile
    for name, is_directory in found:
        key = prefix + name
        if is_directory:
            if key + "/" >= after[: len(key) + 1]:
                yield from _walk(directory / name, key + "/", after)
        elif key > after:
            yield key


def _fsync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
