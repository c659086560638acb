"""Object storage: one interface, a directory or any S3 behind it, chosen by `BLOB_URL`."""

from __future__ import annotations

import asyncio
import io
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, Protocol, TypeVar
from urllib.parse import parse_qs, urlsplit

import urllib3
from minio import Minio
from minio.error import MinioException

from mail_runtime.contracts.errors import NotFound, Unavailable
from store_api.db.ids import uuid7

T = TypeVar("T")

THREADS: Final = 16
S3_TIMEOUT_S: Final = 15.0


class Storage(Protocol):
    """Immutable objects. Both methods block; `Blobs` runs them in its threads."""

    def write(self, key: str, octets: bytes) -> None:
        """Durable when it returns."""

    def read(self, key: str, offset: int, length: int) -> bytes: ...

    def check(self) -> None:
        """Make the bucket or directory when it is missing; raises when it can't be used."""


class DirectoryStorage:
    """Objects as files: temporary name, fsync, rename, fsync of the directory."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def check(self) -> None:
        self._root.mkdir(parents=True, exist_ok=True)

    def write(self, key: str, octets: bytes) -> None:
        path = self._root / key
        if not path.parent.is_dir():
            self._make_directory(path.parent)
        temporary = path.with_name(path.name + ".tmp")
        with temporary.open("wb") as file:
            file.write(octets)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(path)
        _fsync_directory(path.parent)

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
        with (self._root / key).open("rb") as file:
            file.seek(offset)
            return file.read(length)


def _fsync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class S3Storage:
    """Objects in a bucket, through the `minio` client."""

    def __init__(self, bucket: str, endpoint: str, access_key: str, secret_key: str) -> None:
        parts = urlsplit(endpoint)
        self._bucket = bucket
        self._client = Minio(
            parts.netloc,
            access_key=access_key or None,
            secret_key=secret_key or None,
            secure=parts.scheme == "https",
            region="us-east-1",
            http_client=urllib3.PoolManager(
                maxsize=THREADS,
                timeout=urllib3.Timeout(S3_TIMEOUT_S),
                retries=urllib3.Retry(total=1, backoff_factor=0.2),
            ),
        )

    def check(self) -> None:
        if not self._client.bucket_exists(self._bucket):
            self._client.make_bucket(self._bucket)

    def write(self, key: str, octets: bytes) -> None:
        self._client.put_object(self._bucket, key, io.BytesIO(octets), len(octets))

    def read(self, key: str, offset: int, length: int) -> bytes:
        response = self._client.get_object(self._bucket, key, offset=offset, length=length)
        try:
            return bytes(response.read())
        finally:
            response.close()
            response.release_conn()


def open_storage(url: str, access_key: str, secret_key: str) -> Storage:
    """The storage that `BLOB_URL` names. Raises ValueError: the URL has another form."""
    parts = urlsplit(url)
    if parts.scheme == "file":
        return DirectoryStorage(Path(parts.path))
    endpoint = parse_qs(parts.query).get("endpoint", [""])[0]
    if parts.scheme == "s3" and parts.netloc and endpoint:
        return S3Storage(parts.netloc, endpoint, access_key, secret_key)
    raise ValueError(f"BLOB_URL={url!r}: write file:///path or s3://bucket?endpoint=https://host")


class Blobs:
    """Asynchronous access to a storage. Raises Unavailable when it doesn't answer."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._threads = ThreadPoolExecutor(THREADS, "blobs")

    async def _run(self, call: Callable[..., T], *args: str | int | bytes) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, call, *args)
        except FileNotFoundError as error:
            raise NotFound("the message's octets are gone") from error
        except (OSError, MinioException, urllib3.exceptions.HTTPError) as error:
            raise Unavailable("the object storage doesn't answer; try again later") from error

    async def check(self) -> None:
        """Raises Unavailable."""
        await self._run(self._storage.check)

    async def write_pack(self, octets: bytes) -> str:
        """Store the octets of one commit as one object; returns its key. Durable on return."""
        identifier = uuid7().hex
        key = f"{identifier[:6]}/{identifier[6:9]}/{identifier}"
        await self._run(self._storage.write, key, octets)
        return key

    async def read(self, key: str, offset: int, length: int) -> bytes:
        """A range of an object. Raises NotFound, Unavailable: also when it is shorter than asked."""
        octets = await self._run(self._storage.read, key, offset, length)
        if len(octets) != length:
            raise Unavailable(f"object {key} is shorter than it should be")
        return octets

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
