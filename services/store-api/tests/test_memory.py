"""Large messages pass through a store without filling its memory."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
import json
import os
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID, uuid4

import aiohttp
import msgspec
import pytest

from mail_runtime.contracts import store as wire
from mail_runtime.store_client import StoreClient
from mail_testkit.running import RunningPostroom, run_postroom, temporary_directory

LIMIT_MB = 300
LARGE_OCTETS = 50_000_000


@pytest.fixture(scope="module", params=["file", "s3"])
def system(request: pytest.FixtureRequest) -> Iterator[RunningPostroom]:
    with temporary_directory() as directory:
        settings = {"POSTROOM_BLOB_KEY": "k1:" + base64.b64encode(os.urandom(32)).decode()}
        if request.param == "s3":
            settings["S3"] = "1"
        with run_postroom(directory / "data", **settings) as running:
            yield running


def peak_mb(process_id: int) -> int:
    status = Path(f"/proc/{process_id}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) // 1024


def large_message(sender: str = "a@remote.test") -> bytes:
    header = f"From: {sender}".encode()
    header += b"\r\nSubject: large\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
    header += b"--b\r\n\r\nhi\r\n"
    header += b"--b\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    line = base64.b64encode(os.urandom(57)) + b"\r\n"
    return header + line * ((LARGE_OCTETS - len(header)) // len(line)) + b"\r\n--b--\r\n"


async def read_digest(postroom: RunningPostroom, account_id: UUID, blob_id: UUID) -> bytes:
    """Of a body's frame, read in pieces: this process shall not hold them all either."""
    digest = hashlib.sha256()
    async with (
        aiohttp.ClientSession(headers={"Authorization": f"Bearer {postroom.service_token}"}) as session,
        session.post(
            f"{postroom.api_url}/internal/accounts/{account_id}/bodies",
            data=msgspec.msgpack.encode(wire.BlobIds(ids=[blob_id])),
        ) as response,
    ):
        assert response.status == 200
        async for piece in response.content.iter_any():
            digest.update(piece)
    return digest.digest()


async def test_messages_of_50_mb_pass_at_the_same_time(system: RunningPostroom) -> None:
    """Four come in while four others are read."""
    message = large_message()
    expected = hashlib.sha256(len(message).to_bytes(4, "big") + message).digest()
    address = f"alice@{system.domain}"
    async with StoreClient(system.api_url, system.service_token) as store:
        principal = await store.authenticate(
            wire.Credentials(username=address, password="postroom", protocol="imap", peer="127.0.0.1")
        )
        account_id = principal.account_id
        inbox = (await store.mailboxes(account_id))[0]

        async def send() -> None:
            sent = wire.Transmission(id=uuid4(), reverse_path="a@remote.test", recipients=[address])
            await store.accept(sent, message)

        await send()
        (blob_id,) = (await store.changes(account_id, inbox.id)).blob_ids
        digests = await asyncio.gather(
            *(read_digest(system, account_id, blob_id) for _ in range(4)), *(send() for _ in range(4))
        )
        assert digests[:4] == [expected] * 4
        assert len((await store.changes(account_id, inbox.id)).uids) == 5
    assert_small(system)


def assert_small(system: RunningPostroom) -> None:
    peak = peak_mb(system.process_id("store-api"))
    print(f"peak of store-api: {peak} MB")
    assert peak < LIMIT_MB


async def test_messages_of_50_mb_pass_over_rest(system: RunningPostroom) -> None:
    """Two are sent raw while one that is there is read raw twice."""
    address = f"bob@{system.domain}"
    message = large_message(address)
    headers = {"Authorization": f"Bearer {system.admin_token}"}
    async with aiohttp.ClientSession(system.api_url, headers=headers) as session:

        async def send() -> None:
            async with session.post(
                f"/v1/accounts/{address}/send",
                params={"recipient": address, "keep_copy": "false"},
                data=io.BytesIO(message),
                headers={"Content-Type": "message/rfc822"},
            ) as response:
                assert response.status in {200, 201, 202}, await response.text()

        async def read(message_id: str) -> int:
            async with session.get(f"/v1/accounts/{address}/messages/{message_id}/raw") as response:
                assert response.status == 200
                return sum([len(piece) async for piece in response.content.iter_any()])

        await send()
        async with session.get(f"/v1/accounts/{address}/mailboxes") as response:
            inbox = next(found for found in (await response.json())["items"] if found["name"] == "INBOX")
        async with session.get(f"/v1/accounts/{address}/mailboxes/{inbox['id']}/messages") as response:
            (stored,) = (await response.json())["items"]
        lengths = await asyncio.gather(read(stored["id"]), read(stored["id"]), send(), send())
        assert lengths[0] == lengths[1] == stored["octets"] >= LARGE_OCTETS - 1000
    assert_small(system)


async def test_an_attachment_of_35_mb_is_sent_as_json(system: RunningPostroom) -> None:
    """About as large as a message of JSON may be, as Base64 is a third longer than what it stands for."""
    address = f"bob@{system.domain}"
    message = {
        "to": [address],
        "subject": "large",
        "text": "hi",
        "attachments": [
            {
                "name": "a.bin",
                "media_type": "application/octet-stream",
                "content": base64.b64encode(os.urandom(35_000_000)).decode(),
            }
        ],
    }
    headers = {
        "Authorization": f"Bearer {system.admin_token}",
        "Content-Type": "application/json",
        "Idempotency-Key": "large",
    }
    async with (
        aiohttp.ClientSession(system.api_url, headers=headers) as session,
        session.post(
            f"/v1/accounts/{address}/send",
            params={"keep_copy": "false"},
            data=io.BytesIO(json.dumps(message).encode()),
        ) as response,
    ):
        assert response.status == 202, await response.text()
    assert_small(system)
