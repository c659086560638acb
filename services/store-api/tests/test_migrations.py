"""Migrations: from every released revision, with what is in the database; several at once; and old code goes on."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID, uuid4

import asyncpg
import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from mail_testkit.running import RunningPostroom
from store_api.db.engine import Database, run
from store_api.db.migrate import migrate
from store_api.mailboxes.changes import changes

PROCESSES: Final = 5
TIMEOUT_S: Final = 110
OCTETS: Final = 1000


def _released(name: str) -> Any:
    spec = spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# Each released revision, with the statements of its code.
RELEASED: Final = {"0001": _released("released_0001")}


@pytest.fixture
async def empty_url(postroom: RunningPostroom) -> AsyncIterator[str]:
    """The URL of a new database without any tables."""
    name = f"migrations_{uuid4().hex[:12]}"
    admin = await asyncpg.connect(postroom.database_url)
    await admin.execute(f"CREATE DATABASE {name}")
    yield urlunsplit(urlsplit(postroom.database_url)._replace(path=f"/{name}"))
    await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await admin.close()


@dataclass(slots=True)
class OldCode:
    """Does with a database what the code of a release does, by its own statements."""

    sql: Any
    connection: AsyncConnection

    async def account(self, address: str) -> tuple[UUID, dict[str, UUID]]:
        """Domain, account and first mailboxes."""
        account_id, domain = uuid4(), address.partition("@")[2]
        await run(self.connection, self.sql.CREATE_DOMAIN, id=uuid4(), name=domain)
        domain_id = (await run(self.connection, "SELECT id FROM domain WHERE name = :name", name=domain)).scalar_one()
        await run(
            self.connection,
            self.sql.CREATE_ACCOUNT,
            id=account_id,
            domain_id=domain_id,
            address=address,
            password_hash="$argon2id$",
        )
        mailboxes = {"INBOX": uuid4(), "Sent": uuid4(), "Trash": uuid4()}
        await run(
            self.connection,
            self.sql.FIRST_MAILBOXES,
            account_id=account_id,
            ids=list(mailboxes.values()),
            names=list(mailboxes),
            uses=[None, "\\Sent", "\\Trash"],
        )
        return account_id, mailboxes

    async def deliver(self, account_id: UUID, mailbox_id: UUID, number: int) -> list[UUID]:
        """Messages of `OCTETS` each, the first one seen; with transmissions, and a delivery to elsewhere."""
        blobs, transmissions = [uuid4() for _ in range(number)], [uuid4() for _ in range(number)]
        await run(
            self.connection,
            self.sql.INSERT_BLOBS,
            ids=blobs,
            keys=["pack"] * number,
            offsets=[place * OCTETS for place in range(number)],
            lengths=[OCTETS] * number,
            hashes=[b"\0" * 32] * number,
            summaries=[b"\x80"] * number,
        )
        await run(
            self.connection,
            self.sql.INSERT_TRANSMISSIONS,
            ids=transmissions,
            accounts=[account_id] * number,
            paths=["a@b.test"] * number,
            blobs=blobs,
            octets=[OCTETS] * number,
            utf8=[False] * number,
        )
        await run(
            self.connection,
            self.sql.INSERT_DELIVERIES,
            ids=[uuid4()],
            transmissions=transmissions[:1],
            recipients=["c@d.test"],
            domains=["d.test"],
            lifetimes=[3600.0],
        )
        places = {"accounts": [account_id] * number, "mailboxes": [mailbox_id] * number}
        await run(self.connection, self.sql.LOCK_MAILBOXES, **places)
        await run(
            self.connection,
            self.sql.INSERT_MESSAGES,
            **places,
            blobs=blobs,
            emails=[uuid4() for _ in blobs],
            octets=[OCTETS] * number,
            dates=[1_700_000_000] * number,
            flags=["\\Seen $Work"] + [""] * (number - 1),
        )
        return blobs

    async def copy(self, account_id: UUID, source_id: UUID, target_id: UUID, uids: list[int]) -> None:
        target = await self._mailbox(account_id, target_id)
        values = {"account_id": account_id, "source_id": source_id, "target_id": target_id, "uids": uids}
        modseq = target.highest_modseq + 1
        row = (await run(self.connection, self.sql.COPY, **values, uid_next=target.uid_next, modseq=modseq)).one()
        await self._count(account_id, target_id, modseq, len(row.source_uids), row.unseen, int(row.octets))

    async def expunge(self, account_id: UUID, mailbox_id: UUID, uids: list[int]) -> None:
        modseq = (await self._mailbox(account_id, mailbox_id)).highest_modseq + 1
        values = {"account_id": account_id, "mailbox_id": mailbox_id, "uids": uids, "force": True}
        row = (await run(self.connection, self.sql.REMOVE, **values, modseq=modseq)).one()
        await self._count(account_id, mailbox_id, modseq, -len(row.uids), -row.unseen, -int(row.octets))

    async def mailboxes(self, account_id: UUID) -> None:
        """Create, rename and delete mailboxes; `kept/b` is left of them."""
        ids = [uuid4(), uuid4(), uuid4()]
        await run(
            self.connection, self.sql.CREATE_MAILBOXES, account_id=account_id, ids=ids, names=["a", "a/b", "gone"]
        )
        await run(self.connection, self.sql.RENAME_MAILBOX, account_id=account_id, old="a", new="kept")
        await self.deliver(account_id, ids[0], 1)
        for statement in self.sql.DELETE_MAILBOX:
            for mailbox_id in (ids[0], ids[2]):
                await run(self.connection, statement, account_id=account_id, id=mailbox_id)

    async def _mailbox(self, account_id: UUID, mailbox_id: UUID) -> Any:
        rows = await run(
            self.connection,
            "SELECT uid_next, highest_modseq FROM mailbox WHERE account_id = :account_id AND id = :id FOR UPDATE",
            account_id=account_id,
            id=mailbox_id,
        )
        return rows.one()

    async def _count(
        self, account_id: UUID, mailbox_id: UUID, modseq: int, messages: int, unseen: int, octets: int
    ) -> None:
        await run(
            self.connection,
            self.sql.COUNT,
            account_id=account_id,
            mailbox_id=mailbox_id,
            modseq=modseq,
            messages=messages,
            unseen=unseen,
            octets=octets,
        )


async def live(old: OldCode, address: str) -> UUID:
    """A life of an account: 4 messages in INBOX, 2 in Sent; two tombstones."""
    account_id, mailboxes = await old.account(address)
    await old.deliver(account_id, mailboxes["INBOX"], 6)
    await old.copy(account_id, mailboxes["INBOX"], mailboxes["Sent"], [1, 2])
    await old.expunge(account_id, mailboxes["INBOX"], [1, 3])
    await old.mailboxes(account_id)
    return account_id


_TABLES: Final = ("domain", "account", "mailbox", "blob", "message", "expunged", "transmission", "delivery")


async def contents(connection: AsyncConnection, columns: dict[str, str]) -> dict[str, list[Any]]:
    """All rows of the tables of the first release, these columns, in a fixed order."""
    found = {}
    for table in _TABLES:
        rows = await run(connection, f"SELECT {columns[table]} FROM {table} ORDER BY CAST(({columns[table]}) AS text)")
        found[table] = [tuple(row) for row in rows]
    return found


async def columns_of(connection: AsyncConnection) -> dict[str, str]:
    rows = await run(
        connection,
        "SELECT table_name, string_agg(column_name, ', ' ORDER BY ordinal_position) AS columns"
        " FROM information_schema.columns"
        " WHERE table_schema = 'public' GROUP BY table_name",
    )
    return {row.table_name: row.columns for row in rows}


async def check_counters(connection: AsyncConnection, *account_ids: UUID) -> None:
    """Counters say what there is."""
    wrong = await run(
        connection,
        """
        SELECT b.name FROM mailbox b LEFT JOIN message m ON m.account_id = b.account_id AND m.mailbox_id = b.id
        GROUP BY b.account_id, b.id, b.name
        HAVING b.messages <> count(m.uid) OR b.octets <> coalesce(sum(m.octets), 0)
            OR b.unseen <> count(m.uid) FILTER (WHERE NOT '\\Seen' = ANY (m.flags))
            OR b.uid_next <= coalesce(max(m.uid), 0) OR b.highest_modseq < coalesce(max(m.modseq), 0)
        """,
    )
    assert list(wrong) == []
    used = await run(
        connection,
        "SELECT u.account_id, u.messages, u.octets FROM account_usage u ORDER BY u.account_id",
    )
    assert [tuple(row) for row in used] == [(account_id, 6, 6 * OCTETS) for account_id in sorted(account_ids)]


@pytest.mark.parametrize("revision", RELEASED)
async def test_a_filled_database_of_each_release_is_upgraded(empty_url: str, revision: str) -> None:
    await migrate(empty_url, revision)
    database = Database(empty_url)
    async with database.transaction() as connection:
        before_id = await live(OldCode(RELEASED[revision], connection), "before@old.test")
        columns = await columns_of(connection)
        before = await contents(connection, columns)
    assert len(before["message"]) == 6
    assert len(before["expunged"]) == 2
    await migrate(empty_url)
    async with database.transaction() as connection:
        assert await contents(connection, columns) == before, "nothing is lost or changed"
        await check_counters(connection, before_id)
    await database.close()


CHANGE: Final = """
WITH changed AS (UPDATE message SET flags = '{$Work}', modseq = :modseq WHERE mailbox_id = :id AND uid = ANY (:uids))
UPDATE mailbox SET highest_modseq = :modseq WHERE id = :id
"""


async def test_what_changed_before_and_beside_an_upgrade_is_found_after_it(empty_url: str) -> None:
    """Old code knows nothing of `changed_block`; sessions go on with the modseqs that they know."""
    await migrate(empty_url, "0024")
    database = Database(empty_url)
    async with database.transaction() as connection:
        old = OldCode(RELEASED["0001"], connection)
        account_id, mailboxes = await old.account("a@old.test")
        inbox = mailboxes["INBOX"]
        await old.deliver(account_id, inbox, 300)
        await old.deliver(account_id, inbox, 1)
    await database.fetch(CHANGE, id=inbox, uids=[2, 200], modseq=4)
    await migrate(empty_url)
    await database.fetch(CHANGE, id=inbox, uids=[3, 200, 290], modseq=5)
    async with database.transaction() as connection:
        await OldCode(RELEASED["0001"], connection).deliver(account_id, inbox, 1)
    found = [(await changes(database, account_id, inbox, since)).uids for since in range(2, 7)]
    assert found == [[2, 3, 200, 290, 301, 302], [2, 3, 200, 290, 302], [3, 200, 290, 302], [302], []]
    await database.close()


@pytest.mark.parametrize("revision", RELEASED)
async def test_the_code_of_each_release_works_on_the_newest_schema(empty_url: str, revision: str) -> None:
    await migrate(empty_url, revision)
    database = Database(empty_url)
    async with database.transaction() as connection:
        before_id = await live(OldCode(RELEASED[revision], connection), "before@old.test")
    await migrate(empty_url)
    async with database.transaction() as connection:
        old = OldCode(RELEASED[revision], connection)
        after_id = await live(old, "after@old.test")
        rows = await run(connection, "SELECT id, name FROM mailbox WHERE account_id = :id", id=before_id)
        mailboxes = {row.name: row.id for row in rows}
        blobs = await old.deliver(before_id, mailboxes["INBOX"], 2)
        await old.copy(before_id, mailboxes["INBOX"], mailboxes["Sent"], [7])
        await old.expunge(before_id, mailboxes["INBOX"], [2, 4])
        await old.expunge(before_id, mailboxes["Sent"], [3])
        assert len(blobs) == 2
        await check_counters(connection, before_id, after_id)
        former = await run(connection, "SELECT name FROM former_mailbox WHERE account_id = :id ORDER BY 1", id=after_id)
        assert list(former.scalars()) == ["a", "a/b", "gone", "kept"]
    await database.close()


async def test_replicas_that_start_together_migrate_once(empty_url: str) -> None:
    async def start() -> tuple[int | None, bytes]:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "store_api",
            "migrate",
            env={**os.environ, "DATABASE_URL": empty_url},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        async with asyncio.timeout(TIMEOUT_S):
            told, _ = await process.communicate()
        return process.returncode, told

    ended = await asyncio.gather(*(start() for _ in range(PROCESSES)))
    assert [code for code, _ in ended] == [0] * PROCESSES, ended
    assert sum(b"migrated" in told for _, told in ended) == 1, ended
    database = Database(empty_url)
    async with database.transaction() as connection:
        assert "former_mailbox" in await columns_of(connection)
    await database.close()


async def test_a_migration_that_fails_changes_nothing(empty_url: str) -> None:
    await migrate(empty_url, "0001")
    database = Database(empty_url)
    async with database.transaction() as connection:
        before = await columns_of(connection)
        await run(connection, "CREATE TABLE webhook (nobody text)")  # stands in the way of a later revision
    with pytest.raises(Exception, match="webhook"):
        await migrate(empty_url)
    async with database.transaction() as connection:
        assert await columns_of(connection) == {**before, "webhook": "nobody"}
        version = await run(connection, "SELECT version_num FROM alembic_version")
        assert version.scalar_one() == "0001"
    await database.close()


async def test_without_a_database_it_is_said_what_to_do() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "store_api", "migrate", env={"PATH": os.environ["PATH"]}, stderr=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(TIMEOUT_S):
        _, told = await process.communicate()
    assert process.returncode == 1
    assert b"DATABASE_URL is not set" in told
