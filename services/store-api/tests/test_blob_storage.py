"""One contract for both object storages: a directory, and a real S3 server."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from mail_testkit.running import temporary_directory
from mail_testkit.s3 import KEY, SECRET, run_s3
from store_api.blobs.faults import Failed, ObjectMissing
from store_api.blobs.keys import made_at, new_key
from store_api.blobs.s3_storage import STREAMED_OCTETS, S3Storage
from store_api.blobs.storage import Storage, open_storage


@pytest.fixture(scope="module", params=["file", "s3"])
def storage(request: pytest.FixtureRequest) -> Iterator[Storage]:
    with temporary_directory() as directory:
        if request.param == "file":
            opened = open_storage(f"file://{directory}/objects", "", "")
            opened.check()
            yield opened
            return
        with run_s3(directory) as server:
            opened = open_storage(server.url, KEY, SECRET)
            opened.check()
            yield opened


def put(storage: Storage, octets: bytes, key: str | None = None) -> str:
    key = key or new_key()
    storage.write(key, io.BytesIO(octets), len(octets))
    return key


@pytest.mark.parametrize("length", [1, 1000, STREAMED_OCTETS - 1, STREAMED_OCTETS, STREAMED_OCTETS * 2 + 17])
def test_what_was_written_is_read_back(storage: Storage, length: int) -> None:
    octets = os.urandom(length)
    key = put(storage, octets)
    assert storage.read(key, 0, length) == octets
    assert storage.read(key, length // 3, length // 2) == octets[length // 3 : length // 3 + length // 2]
    assert storage.read(key, length - 1, 1) == octets[-1:]


def test_it_is_written_from_where_the_source_stands(storage: Storage) -> None:
    source = io.BytesIO(b"before after")
    source.seek(7)
    key = new_key()
    storage.write(key, source, 5)
    assert storage.read(key, 0, 5) == b"after"


def test_what_lies_behind_the_end_is_left_out(storage: Storage) -> None:
    key = put(storage, b"0123456789")
    assert storage.read(key, 8, 100) == b"89"
    assert storage.read(key, 100, 5) == b""
    assert storage.read(key, 3, 0) == b""


def test_an_object_that_is_not_there(storage: Storage) -> None:
    with pytest.raises(ObjectMissing):
        storage.read(new_key(), 0, 1)


def test_deleting_can_be_repeated(storage: Storage) -> None:
    key = put(storage, b"octets")
    storage.delete(key)
    storage.delete(key)
    with pytest.raises(ObjectMissing):
        storage.read(key, 0, 1)


def test_keys_are_listed_in_order_from_behind_any(storage: Storage) -> None:
    moments = [f"{number:012x}" for number in (0, 1, 0xFFF, 0x1000, 0x1001000, 0x2001000)]
    keys = [f"{m[:6]}/{m[6:9]}/{m}7000800000000000{number:04x}" for number, m in enumerate(moments)]
    for key in reversed(keys):
        put(storage, b"x", key)
    newer = put(storage, b"x")
    listed = storage.keys("", 1000)
    assert [key for key in listed if key in {*keys, newer}] == [*keys, newer]
    for place, key in enumerate(keys):
        assert storage.keys(key, 2)[0] == [*keys, listed[len(keys)]][place + 1]
        assert storage.keys(key[:-1], 1) == [key]
    assert storage.keys("", 3) == keys[:3]
    assert storage.keys(newer, 10) == []
    for key in keys:
        storage.delete(key)


def test_the_check_can_be_repeated(storage: Storage) -> None:
    storage.check()


def test_keys_tell_when_they_were_made(storage: Storage) -> None:
    assert made_at("018f4e/abc/018f4eabc1237000800000000000000a") == 0x018F4EABC123 / 1000
    assert made_at(new_key() + ".tmp") is not None
    for other in ("", "backup/2024", "018f4e/abc/118f4eabc1237000800000000000000a", new_key() + "0", "x" + new_key()):
        assert made_at(other) is None


def test_wrong_credentials_fail_for_good() -> None:
    with temporary_directory() as directory, run_s3(directory) as server:
        storage = open_storage(server.url, KEY, SECRET)
        storage.check()
        stranger = open_storage(server.url, KEY, "another secret")
        with pytest.raises(Failed, match="403"):
            put(stranger, b"octets")
        with pytest.raises(Failed, match="403"):
            put(stranger, bytes(STREAMED_OCTETS))


def test_a_file_that_was_not_finished_is_no_object(tmp_path: Path) -> None:
    storage = open_storage(f"file://{tmp_path}", "", "")

    class Broken(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            raise OSError("the source broke off")

    key = new_key()
    with pytest.raises(OSError, match="broke off"):
        storage.write(key, Broken(), 5)
    with pytest.raises(ObjectMissing):
        storage.read(key, 0, 5)
    assert storage.keys("", 10) == [key + ".tmp"]


@pytest.mark.parametrize(
    "url", ["", "bodies", "s3://bucket", "s3://?endpoint=http://x", "http://x/y", f"ftp://{uuid4()}"]
)
def test_a_url_of_another_form_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="BLOB_URL"):
        open_storage(url, "", "")


def test_the_region_can_be_named() -> None:
    storage = open_storage("s3://bucket?endpoint=https://s3.example&region=eu-central-1", "key", "secret")
    assert isinstance(storage, S3Storage)
    assert "eu-central-1" in storage._client.presigned_put_object("bucket", "key")
