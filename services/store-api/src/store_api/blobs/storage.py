"""Object storage: one interface, a directory or any S3 behind it, chosen by `BLOB_URL`."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO, Protocol
from urllib.parse import parse_qs, urlsplit

from store_api.blobs.file_storage import FileStorage
from store_api.blobs.s3_storage import S3Storage


class Storage(Protocol):
    """Immutable objects. Every method blocks, and may be called from any thread.

    Raises OSError: it doesn't work now. `ObjectMissing`, `Passing` and `Failed` (`blobs.faults`) are such.
    """

    @property
    def has_latency(self) -> bool:
        """Whether several threads get objects sooner than one: each waits for a network."""

    def check(self) -> None:
        """Make the bucket or directory when it is missing."""

    def write(self, key: str, source: BinaryIO, length: int) -> None:
        """Store `length` octets from the source's position on. Durable when it returns."""

    def read(self, key: str, offset: int, length: int) -> bytes:
        """Octets of an object; fewer where it ends before. Raises ObjectMissing."""

    def delete(self, key: str) -> None:
        """What isn't there is deleted already."""

    def keys(self, after: str, limit: int) -> list[str]:
        """The first `limit` keys that sort behind `after`, ascending."""


def open_storage(url: str, access_key: str, secret_key: str) -> Storage:
    """The storage that `BLOB_URL` names. Raises ValueError: the URL has another form."""
    parts = urlsplit(url)
    if parts.scheme == "file":
        return FileStorage(Path(parts.path))
    query = parse_qs(parts.query)
    endpoint = query.get("endpoint", [""])[0]
    if parts.scheme == "s3" and parts.netloc and endpoint:
        region = query.get("region", ["us-east-1"])[0]
        return S3Storage(parts.netloc, endpoint, region, access_key, secret_key)
    raise ValueError(f"BLOB_URL={url!r}: write file:///path or s3://bucket?endpoint=https://host&region=name")
