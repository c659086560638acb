"""What nothing needs any more goes; what something needs stays, whenever the collector is killed."""

from __future__ import annotations

import asyncio
import base64
import os
import random
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO
from uuid import UUID

import pytest

from mail_testkit.clients import TIMEOUT_S
from mail_testkit.running import temporary_directory
from mail_testkit.s3 import KEY, SECRET, RunningS3, run_s3
from store_api.blobs import collector as collectors
from store_api.blobs import packs, positions, releasing, sweeper
from store_api.blobs.blobs import Blobs
from store_api.blobs.collector import Collector, Windows
from store_api.blobs.file_storage import FileStorage
from store_api.blobs.keyring import Keyring
from store_api.blobs.keys import first_id, first_key, new_key
from store_api.blobs.places import find
from store_api.blobs.reading import read
from store_api.blobs.rewrap import rewrap
from store_api.blobs.rows import insert_blobs
from store_api.blobs.storage import open_storage
from store_api.blobs.writing import Body, WrittenBlob, write
from store_api.db.engine import Database, run
from store_api.db.ids import uuid7

ACCOUNT, MAILBOX, DOMAIN = UUID(int=1), UUID(int=2), UUID(int=3)
KEYRING = Keyring({"k1": bytes(32)})
AT_ONCE = Windows(undelete_s=14 * 86_400, grace_s=-60)
DAY = timedelta(days=1)
NO_SUMMARY = b"\x80"  # an empty map


@pytest.fixture
async def blobs(fresh_database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Blobs]:
    """With an account and a mailbox; walks begin at the start and go to the end."""
    monkeypatch.setattr(releasing, "WALK_EVERY", timedelta(0))
    monkeypatch.setattr(releasing, "WALK_BEHIND", timedelta(seconds=-60))
    monkeypatch.setattr(releasing, "REFERRED_TO_WITHIN", timedelta(seconds=-60))
    monkeypatch.setattr(collectors, "PAUSE_S", 0)
    async with fresh_database.transaction() as connection:
        for statement in (
            "INSERT INTO domain (id, name) VALUES (:domain, 'x.test')",
            "INSERT INTO account (id, domain_id, address, password_hash) VALUES (:account, :domain, 'a@x.test', '')",
            "INSERT INTO mailbox (account_id, id, name) VALUES (:account, :mailbox, 'INBOX')",
            "UPDATE collector_position SET position = ''",
        ):
            await run(connection, statement, **_named(statement))
    opened = Blobs(FileStorage(tmp_path), fresh_database, KEYRING)
    yield opened
    opened.close()


def _named(statement: str) -> dict[str, UUID]:
    values = {"domain": DOMAIN, "account": ACCOUNT, "mailbox": MAILBOX}
    return {name: value for name, value in values.items() if f":{name}" in statement}


async def do(blobs: Blobs, statement: str, **values: Any) -> Any:
    async with blobs.database.transaction() as connection:
        result = await run(connection, statement, **_named(statement), **values)
        return result.all() if result.returns_rows else None


async def keep(blobs: Blobs, *bodies: bytes) -> list[WrittenBlob]:
    written = await write(blobs, [Body(uuid7(), octets) for octets in bodies])
    async with blobs.database.transaction() as connection:
        await insert_blobs(connection, written, [NO_SUMMARY] * len(written))
    return written


async def deliver(blobs: Blobs, written: Sequence[WrittenBlob]) -> None:
    await do(
        blobs,
        "INSERT INTO message (account_id, mailbox_id, uid, blob_id, modseq, flags, internal_date, email_id, octets)"
        " SELECT :account, :mailbox, n + (SELECT coalesce(max(uid), 0) FROM message), id, 1, '{}', 0, id, 1"
        " FROM unnest(CAST(:ids AS uuid[])) WITH ORDINALITY AS t (id, n)",
        ids=[place.blob_id for place in written],
    )


async def expunge(blobs: Blobs, place: WrittenBlob, days_ago: float) -> None:
    await do(
        blobs,
        "WITH gone AS (DELETE FROM message WHERE blob_id = :blob RETURNING uid)"
        " INSERT INTO expunged (account_id, mailbox_id, uid, modseq, blob_id, expunged_at)"
        " SELECT :account, :mailbox, uid, 2, :blob, :at FROM gone",
        blob=place.blob_id,
        at=datetime.now(UTC) - days_ago * DAY,
    )


async def transmit(blobs: Blobs, place: WrittenBlob, days_ago: float, *deliveries: tuple[str, float | None]) -> UUID:
    """`deliveries`: state, and how many days ago it ended."""
    identifier = uuid7()
    await do(
        blobs,
        "INSERT INTO transmission (id, reverse_path, blob_id, octets, smtputf8, created_at)"
        " VALUES (:id, '', :blob, 1, false, :at)",
        id=identifier,
        blob=place.blob_id,
        at=datetime.now(UTC) - days_ago * DAY,
    )
    for state, ended in deliveries:
        delivery = uuid7()
        await do(
            blobs,
            "INSERT INTO delivery (id, transmission_id, recipient, domain, state, expires_at, ended_at)"
            " VALUES (:id, :of, 'r@y.test', 'y.test', :state, now(), :ended)",
            id=delivery,
            of=identifier,
            state=state,
            ended=None if ended is None else datetime.now(UTC) - ended * DAY,
        )
        await do(
            blobs,
            "INSERT INTO delivery_attempt (delivery_id, lease, result, reply, status, remote)"
            " VALUES (:id, :id, 'x', '', '', '')",
            id=delivery,
        )
    return identifier


async def present(blobs: Blobs, written: Sequence[WrittenBlob]) -> list[bool]:
    async with blobs.database.transaction() as connection:
        found = await find(connection, [place.blob_id for place in written])
    return [place.blob_id in found for place in written]


def objects(blobs: Blobs) -> list[str]:
    return blobs.storage.keys("", 100_000)


async def test_tombstones_end_with_the_window(blobs: Blobs) -> None:
    written = await keep(blobs, *(os.urandom(1000) for _ in range(4)))
    await deliver(blobs, written)
    await expunge(blobs, written[0], days_ago=15)
    await expunge(blobs, written[1], days_ago=13)
    await deliver(blobs, [written[2]])  # copied
    await do(blobs, "UPDATE message SET uid = uid + 100 WHERE uid = 3")
    await do(blobs, "DELETE FROM message WHERE uid = 103")
    await do(
        blobs,
        "INSERT INTO expunged (account_id, mailbox_id, uid, modseq, blob_id, expunged_at)"
        " VALUES (:account, :mailbox, 103, 2, :blob, now() - interval '15 days')",
        blob=written[2].blob_id,
    )
    assert await Collector(blobs, AT_ONCE).collect()
    assert await present(blobs, written) == [False, True, True, True]
    assert await do(blobs, "SELECT uid, blob_id FROM expunged ORDER BY uid") == [
        (1, None),
        (2, written[1].blob_id),
        (103, None),
    ]


async def test_transmissions_end_when_all_their_deliveries_have_long_ended(blobs: Blobs) -> None:
    written = await keep(blobs, *(os.urandom(100) for _ in range(8)))
    kept = [
        await transmit(blobs, written[0], 40, ("delivered", 31), ("queued", None)),
        await transmit(blobs, written[1], 40, ("delivered", 31), ("failed", 29)),
        await transmit(blobs, written[2], 40, ("held", None)),
        await transmit(blobs, written[3], 1),
    ]
    await transmit(blobs, written[4], 40, ("delivered", 31), ("cancelled", 32))
    await transmit(blobs, written[5], 3)
    # Ended by code that doesn't say when: from now on.
    undated = await transmit(blobs, written[6], 40, ("delivered", None))
    gone = await transmit(blobs, written[7], 40, ("delivered", 31))
    await deliver(blobs, [written[7]])
    await Collector(blobs, AT_ONCE).collect()
    left = {row.id for row in await do(blobs, "SELECT id FROM transmission")}
    assert left == {*kept, undated}
    assert gone not in left
    assert await present(blobs, written) == [True, True, True, True, False, False, True, True]
    assert await do(blobs, "SELECT ended_at IS NOT NULL FROM delivery WHERE transmission_id = :id", id=undated) == [
        (True,)
    ]
    assert len(await do(blobs, "SELECT lease FROM delivery_attempt")) == 6


async def test_what_lost_its_references_in_any_way_is_found_by_the_walk(
    blobs: Blobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(releasing, "WALK_BATCH", 7)
    written = await keep(blobs, *(os.urandom(100) for _ in range(30)))
    await deliver(blobs, written[::3])
    await do(blobs, "DELETE FROM message WHERE uid = 1")
    await Collector(blobs, AT_ONCE).collect()
    assert await present(blobs, written) == [number % 3 == 0 and number > 0 for number in range(30)]


async def test_a_walk_is_not_repeated_before_its_time(blobs: Blobs, monkeypatch: pytest.MonkeyPatch) -> None:
    await Collector(blobs, AT_ONCE).collect()
    monkeypatch.setattr(releasing, "WALK_EVERY", timedelta(days=1))
    written = await keep(blobs, b"unreferenced")
    await Collector(blobs, AT_ONCE).collect()
    assert await present(blobs, written) == [True]


async def test_bodies_of_a_restore_wait_for_what_refers_to_them(blobs: Blobs, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their ids are old, their rows are new."""
    monkeypatch.setattr(releasing, "REFERRED_TO_WITHIN", timedelta(days=7))
    written = await write(blobs, [Body(first_id(datetime.now(UTC) - 900 * DAY), b"restored"), Body(uuid7(), b"old")])
    async with blobs.database.transaction() as connection:
        await insert_blobs(connection, written, [NO_SUMMARY] * 2)
    await do(blobs, "UPDATE blob SET created_at = now() - interval '8 days' WHERE id = :id", id=written[1].blob_id)
    await Collector(blobs, AT_ONCE).collect()
    assert await present(blobs, written) == [True, False]


async def test_a_reference_that_is_being_made_keeps_the_blob(blobs: Blobs) -> None:
    """While another transaction inserts a message with it, the blob is passed over; afterwards it is referred to."""
    (place,) = await keep(blobs, b"octets")
    async with blobs.database.transaction() as undeleting:
        await run(
            undeleting,
            "INSERT INTO message (account_id, mailbox_id, uid, blob_id, modseq, flags, internal_date, email_id, octets)"
            " VALUES (:account, :mailbox, 1, :blob, 1, '{}', 0, :blob, 6)",
            account=ACCOUNT,
            mailbox=MAILBOX,
            blob=place.blob_id,
        )
        async with asyncio.timeout(TIMEOUT_S):
            await Collector(blobs, AT_ONCE).collect()
    await Collector(blobs, AT_ONCE).collect()
    assert await read(blobs, place) == b"octets"
    assert await present(blobs, [place]) == [True]


async def test_a_pack_that_mostly_died_is_rewritten(blobs: Blobs) -> None:
    bodies = [random.Random(number).randbytes(2000) for number in range(20)]
    first = await keep(blobs, *bodies[:10])
    second = await keep(blobs, *bodies[10:])
    await deliver(blobs, [*first[:3], *second[:6]])
    rules = Windows(AT_ONCE.undelete_s, grace_s=3600)
    await Collector(blobs, rules).collect()
    rows = {row.object_key: row for row in await do(blobs, "SELECT * FROM pack")}
    assert rows[first[0].object_key].superseded_at is not None
    assert rows[second[0].object_key].superseded_at is None
    assert rows[second[0].object_key].live_octets == sum(place.stored_octets for place in second[:6])
    # A reader that looked at the row before, and one that looks at it now.
    async with blobs.database.transaction() as connection:
        fresh = await find(connection, [place.blob_id for place in first])
    assert len(fresh) == 3
    for place, octets in zip(first[:3], bodies, strict=False):
        assert fresh[place.blob_id].object_key not in rows or rows[fresh[place.blob_id].object_key].octets > 0
        assert fresh[place.blob_id].object_key != place.object_key
        assert await read(blobs, fresh[place.blob_id]) == octets
        assert await read(blobs, place) == octets
    await Collector(blobs, AT_ONCE).collect()
    assert first[0].object_key not in objects(blobs)
    for place, octets in zip([*first[:3], *second[:6]], [*bodies[:3], *bodies[10:16]], strict=True):
        assert await read(blobs, place) == octets
    assert len(objects(blobs)) == 2


async def test_a_damaged_pack_is_left_alone(blobs: Blobs, tmp_path: Path) -> None:
    written = await keep(blobs, *(os.urandom(1000) for _ in range(5)))
    await deliver(blobs, written[:2])
    with (tmp_path / written[0].object_key).open("r+b") as file:
        file.write(b"\0\0\0\0")
    await Collector(blobs, AT_ONCE).collect()
    assert await do(blobs, "SELECT superseded_at FROM pack WHERE object_key = :key", key=written[0].object_key) == [
        (None,)
    ]
    assert len(await read(blobs, written[1])) == 1000


async def test_blobs_of_the_first_release_have_no_pack_row(blobs: Blobs) -> None:
    bodies = [os.urandom(1000) for _ in range(5)]
    written = await keep(blobs, *bodies)
    await deliver(blobs, written[:1])
    await do(blobs, "DELETE FROM pack")
    await Collector(blobs, AT_ONCE).collect()
    assert await read(blobs, written[0]) == bodies[0]
    assert written[0].object_key not in objects(blobs)
    assert [tuple(row) for row in await do(blobs, "SELECT octets, live_octets FROM pack")] == [(1016, 1016)]


async def test_orphans_go_after_the_grace_and_nothing_else_does(blobs: Blobs, tmp_path: Path) -> None:
    old = first_key(datetime.now(UTC) - 2 * DAY)
    older = first_key(datetime.now(UTC) - 3 * DAY)
    for key in (old, older + ".tmp", new_key(), "backup/of/somebody", "000000/readme"):
        (tmp_path / key).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / key).write_bytes(b"x")
    written = await keep(blobs, b"octets")
    await deliver(blobs, written)
    young = [key for key in objects(blobs) if key > old and "/" in key]
    await Collector(blobs, Windows(AT_ONCE.undelete_s, grace_s=86_400)).collect()
    assert objects(blobs) == ["000000/readme", *young]
    assert "backup/of/somebody" in young
    assert len(young) == 3


async def test_a_new_database_beside_an_old_bucket_deletes_nothing(fresh_database: Database, tmp_path: Path) -> None:
    blobs = Blobs(FileStorage(tmp_path), fresh_database)
    old = first_key(datetime.now(UTC) - 2 * DAY)
    (tmp_path / old).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / old).write_bytes(b"x")
    assert await sweeper.sweep_orphans(blobs, grace_s=-60) == 0
    orphan = (await write(blobs, [Body(uuid7(), b"later")]))[0].object_key
    assert await sweeper.sweep_orphans(blobs, grace_s=-60) == 1
    assert objects(blobs) == [old]
    assert orphan not in objects(blobs)
    blobs.close()


async def test_one_replica_collects_at_a_time(blobs: Blobs) -> None:
    async with collectors._turn(blobs.database) as ours:
        assert ours
        assert not await Collector(blobs, AT_ONCE).collect()
    assert await Collector(blobs, AT_ONCE).collect()


async def test_master_keys_rotate_without_touching_bodies(blobs: Blobs, tmp_path: Path) -> None:
    written = await keep(blobs, *(os.urandom(100) for _ in range(5)))
    await deliver(blobs, written)
    before = {key: (tmp_path / key).read_bytes() for key in objects(blobs)}
    both = Keyring({"k2": b"2" * 32, "k1": bytes(32)})
    assert await rewrap(blobs.database, both) == 5
    assert await rewrap(blobs.database, both) == 0
    assert {key: (tmp_path / key).read_bytes() for key in objects(blobs)} == before
    after = Blobs(FileStorage(tmp_path), blobs.database, Keyring({"k2": b"2" * 32}))
    async with blobs.database.transaction() as connection:
        fresh = await find(connection, [place.blob_id for place in written])
    assert {place.key_id for place in fresh.values()} == {"k2"}
    for place in fresh.values():
        assert len(await read(after, place)) == 100
    after.close()


@pytest.fixture
def s3() -> Iterator[RunningS3]:
    with temporary_directory() as directory, run_s3(directory) as server:
        yield server


async def test_it_collects_from_s3_as_well(s3: RunningS3, blobs: Blobs) -> None:
    bucket = Blobs(open_storage(s3.url, KEY, SECRET), blobs.database, KEYRING)
    await bucket.check()
    kept = await _garbage(bucket)
    assert await Collector(bucket, AT_ONCE).collect()
    for place, octets in kept:
        assert await read(bucket, place) == octets
    await _nothing_is_left_over(bucket, kept)
    bucket.close()


async def test_the_command_that_rotates_keys(blobs: Blobs, tmp_path: Path) -> None:
    await keep(blobs, *(os.urandom(100) for _ in range(3)))
    keys = [f"k2:{base64.b64encode(b'2' * 32).decode()}", f"k1:{base64.b64encode(bytes(32)).decode()}"]
    (tmp_path / "keys").write_text("\n".join(keys))
    environ = {
        "PATH": os.environ.get("PATH", ""),
        "DATABASE_URL": blobs.database.engine.url.set(drivername="postgresql").render_as_string(hide_password=False),
        "BLOB_URL": f"file://{tmp_path}",
        "POSTROOM_ADMIN_TOKEN": "x",
        "POSTROOM_SERVICE_TOKEN": "x",
        "POSTROOM_BLOB_KEY_FILE": str(tmp_path / "keys"),
    }

    async def rewrapped(**changed: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "store_api.blobs.rewrap"]
        return await asyncio.to_thread(
            subprocess.run, command, env=environ | changed, capture_output=True, text=True, timeout=60
        )

    assert (await rewrapped()).stdout == "3 data keys wrapped with 'k2'\n"
    assert (await rewrapped()).stdout == "0 data keys wrapped with 'k2'\n"
    lacking = await rewrapped(POSTROOM_BLOB_KEY=f"k3:{base64.b64encode(b'3' * 32).decode()}")
    assert lacking.returncode == 1
    assert "needs the master key 'k2'" in lacking.stderr
    unset = await rewrapped(POSTROOM_BLOB_KEY="", POSTROOM_BLOB_KEY_FILE="")
    assert unset.returncode == 1
    assert "POSTROOM_BLOB_KEY is not set" in unset.stderr
    assert {row.key_id for row in await do(blobs, "SELECT key_id FROM blob")} == {"k2"}


# Killed between any two steps


class Killed(BaseException):
    """Stands for the end of the process: nothing behind it is executed, and open transactions roll back."""


class Countdown:
    """Ends the process before its n-th step."""

    def __init__(self, steps: int) -> None:
        self.left = steps

    def step(self) -> None:
        if self.left == 0:
            raise Killed
        self.left -= 1


class KilledStorage(FileStorage):
    """A storage whose writes and deletions are steps."""

    def __init__(self, root: Path, step: Callable[[], None]) -> None:
        super().__init__(root)
        self._step = step

    def write(self, key: str, source: BinaryIO, length: int) -> None:
        self._step()
        super().write(key, source, length)
        self._step()

    def delete(self, key: str) -> None:
        self._step()
        super().delete(key)
        self._step()


async def _garbage(blobs: Blobs) -> list[tuple[WrittenBlob, bytes]]:
    """Some of everything that is collected. Returns what must stay."""
    bodies = [random.Random(number).randbytes(1000 + number) for number in range(18)]
    first = await keep(blobs, *bodies[:8])
    second = await keep(blobs, *bodies[8:16])
    third = await keep(blobs, *bodies[16:])
    await deliver(blobs, [*first[:3], *second[:7], *third])
    await expunge(blobs, first[2], days_ago=20)
    for place in third:
        await expunge(blobs, place, days_ago=20)
    await transmit(blobs, first[3], 40, ("delivered", 31))
    await transmit(blobs, first[4], 3)
    await write(blobs, [Body(uuid7(), b"orphan")])
    return list(zip([*first[:2], *second[:7]], [*bodies[:2], *bodies[8:15]], strict=True))


async def _emptied(blobs: Blobs) -> None:
    for table in ("delivery_attempt", "delivery", "transmission", "message", "expunged", "blob", "pack"):
        await do(blobs, f"DELETE FROM {table}")
    await do(blobs, "UPDATE collector_position SET position = ''")
    for key in objects(blobs):
        blobs.storage.delete(key)


async def test_killed_between_any_two_steps_it_loses_nothing(
    blobs: Blobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ended before its first step, its second …; the next one then removes all that there is to remove."""
    ended = False
    steps = 0
    while not ended:
        kept = await _garbage(blobs)
        countdown = Countdown(steps)

        async def counted(connection: Any, sql: str, countdown: Countdown = countdown, **values: Any) -> Any:
            countdown.step()
            return await run(connection, sql, **values)

        with monkeypatch.context() as patched:
            for module in (releasing, packs, sweeper, positions):
                patched.setattr(module, "run", counted)
            dying = Blobs(KilledStorage(tmp_path, countdown.step), blobs.database, KEYRING)
            try:
                await Collector(dying, AT_ONCE).collect()
                ended = True
            except Killed:
                steps += 1
            dying.close()
        for place, octets in kept:
            assert await read(blobs, place) == octets
        assert await Collector(blobs, AT_ONCE).collect()
        await _nothing_is_left_over(blobs, kept)
        await _emptied(blobs)
    assert steps > 40


async def _nothing_is_left_over(blobs: Blobs, kept: Sequence[tuple[WrittenBlob, bytes]]) -> None:
    rows = await do(blobs, "SELECT object_key, coalesce(stored_length, length) AS octets FROM blob")
    assert len(rows) == len(kept)
    assert set(objects(blobs)) == {row.object_key for row in rows}
    for pack in await do(blobs, "SELECT * FROM pack"):
        assert pack.live_octets == sum(row.octets for row in rows if row.object_key == pack.object_key)
        assert pack.live_octets * 2 >= pack.octets


_PROGRAM = """
import asyncio, os, signal, sys
from datetime import timedelta
from pathlib import Path
from mail_testkit.running import temporary_directory
from mail_testkit.s3 import KEY, SECRET, RunningS3, run_s3
from store_api.blobs import collector, releasing
from store_api.blobs.blobs import Blobs
from store_api.blobs.file_storage import FileStorage
from store_api.blobs.keyring import Keyring
from store_api.db.engine import Database

left = int(sys.argv[3])
def step():
    global left
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    left -= 1

class Storage(FileStorage):
    def write(self, *arguments):
        step(); super().write(*arguments); step()
    def delete(self, *arguments):
        step(); super().delete(*arguments); step()

releasing.WALK_EVERY = timedelta(0)
releasing.WALK_BEHIND = releasing.REFERRED_TO_WITHIN = timedelta(seconds=-60)
async def main():
    blobs = Blobs(Storage(Path(sys.argv[2])), Database(sys.argv[1]), Keyring({"k1": bytes(32)}))
    await collector.Collector(blobs, collector.Windows(14 * 86_400, -60)).collect()
asyncio.run(main())
"""


async def test_a_killed_process_loses_nothing(blobs: Blobs, tmp_path: Path) -> None:
    """`kill -9`, before and after each object that is written or deleted."""
    url = blobs.database.engine.url.render_as_string(hide_password=False)
    code, steps = -signal.SIGKILL, 0
    while code == -signal.SIGKILL:
        kept = await _garbage(blobs)
        arguments = [sys.executable, "-c", _PROGRAM, url, str(tmp_path), str(steps)]
        code = (await asyncio.to_thread(subprocess.run, arguments, timeout=60)).returncode
        for place, octets in kept:
            assert await read(blobs, place) == octets
        assert await Collector(blobs, AT_ONCE).collect()
        await _nothing_is_left_over(blobs, kept)
        await _emptied(blobs)
        steps += code == -signal.SIGKILL
    assert code == 0
    assert steps >= 8
