"""Objects in a bucket of any S3, through the `minio` client."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from itertools import islice
from typing import BinaryIO, Final
from urllib.parse import urlsplit
from xml.etree import ElementTree

import urllib3
from minio import Minio
from minio.error import InvalidResponseError, MinioException, S3Error, ServerError

from store_api.blobs.faults import Failed, ObjectMissing, Passing

# As many connections are kept as threads use them (`blobs.blobs.THREADS`): others would be closed after one request.
CONNECTIONS: Final = 16
CONNECT_TIMEOUT_S: Final = 2.0
# Silence, not the whole of a transfer.
SILENCE_TIMEOUT_S: Final = 10.0
# From here on the source is streamed into one PUT: the client itself would cut it into parts, and a crash leave these.
STREAMED_OCTETS: Final = 5 * 1024 * 1024
STREAM_PIECE_OCTETS: Final = 256 * 1024
_SIGNED_FOR: Final = timedelta(hours=1)
# Answers below 500 that pass: the server asks for patience.
_PASSING_CODES: Final = frozenset({"SlowDown", "RequestTimeout", "Throttling", "TooManyRequests", "ServiceUnavailable"})


class S3Storage:
    """See `storage.Storage`. Tries once: repeating is `retrying.RetryingStorage`'s."""

    has_latency = True

    def __init__(self, bucket: str, endpoint: str, region: str, access_key: str, secret_key: str) -> None:
        parts = urlsplit(endpoint)
        self._bucket = bucket
        self._http = urllib3.PoolManager(
            maxsize=CONNECTIONS,
            timeout=urllib3.Timeout(connect=CONNECT_TIMEOUT_S, read=SILENCE_TIMEOUT_S),
            retries=False,
            blocksize=STREAM_PIECE_OCTETS,
        )
        self._client = Minio(
            parts.netloc,
            access_key=access_key or None,
            secret_key=secret_key or None,
            secure=parts.scheme == "https",
            region=region,
            http_client=self._http,
        )

    def check(self) -> None:
        with _translated(self._bucket):
            if not self._client.bucket_exists(self._bucket):
                self._client.make_bucket(self._bucket)

    def write(self, key: str, source: BinaryIO, length: int) -> None:
        with _translated(key):
            if length < STREAMED_OCTETS:
                self._client.put_object(self._bucket, key, source, length)
                return
            url = self._client.presigned_put_object(self._bucket, key, expires=_SIGNED_FOR)
            response = self._http.request("PUT", url, body=source, headers={"Content-Length": str(length)})
            if response.status >= 300:
                raise _refused(response.status, "", key)

    def read(self, key: str, offset: int, length: int) -> bytes:
        if length == 0:
            return b""
        with _translated(key):
            try:
                response = self._client.get_object(self._bucket, key, offset=offset, length=length)
            except S3Error as error:
                if error.code == "InvalidRange":  # the object ends before `offset`
                    return b""
                raise
            try:
                return bytes(response.read())
            finally:
                response.close()
                response.release_conn()

    def delete(self, key: str) -> None:
        with _translated(key):
            self._client.remove_object(self._bucket, key)

    def keys(self, after: str, limit: int) -> list[str]:
        with _translated(self._bucket):
            found = self._client.list_objects(self._bucket, recursive=True, start_after=after or None)
            return [str(item.object_name) for item in islice(found, limit)]


@contextmanager
def _translated(key: str) -> Iterator[None]:
    """Errors of the client as faults of a storage."""
    try:
        yield
    except S3Error as error:
        if error.code == "NoSuchKey":
            raise ObjectMissing(key) from error
        raise _refused(error.response.status, str(error.code), key) from error
    except (ServerError, InvalidResponseError, ElementTree.ParseError, urllib3.exceptions.HTTPError) as error:
        # 5xx without a body, the page of a proxy in between, a broken connection, a time-out.
        raise Passing(f"{key}: {error}") from error
    except MinioException as error:
        raise Failed(f"{key}: {error}") from error


def _refused(status: int, code: str, key: str) -> OSError:
    if status >= 500 or status == 429 or code in _PASSING_CODES:
        return Passing(f"{key}: HTTP {status} {code}")
    return Failed(f"{key}: HTTP {status} {code}")
