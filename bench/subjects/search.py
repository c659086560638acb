"""A mailbox of 100,000 indexed messages: searched, sorted and threaded, through HTTP by one caller."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Iterator
from datetime import date
from random import Random
from typing import Final

import asyncpg
from bench.subjects.stack import Account, Figure, Stack, letters

from mail_proto.message.headers import fields
from mail_proto.message.structure import scan
from mail_proto.message.text import searchable
from mail_runtime.contracts.store import AppendHeader
from mail_runtime.contracts.store import search as wire

MESSAGES: Final = 100_000
# Written and indexed as any message is; the others are copies of their rows, each with an id of its own.
DIFFERENT: Final = 4_000
TIMES: Final = 5
GOAL_MS: Final = 300
_AT_ONCE: Final = 32
_PROCESSES: Final = ("store-api", "postgres")
_INDEXING_TIMEOUT_S: Final = 600.0
_OWN_FIELDS: Final = {b"message-id", b"references", b"in-reply-to", b"date", b"mime-version"}


def _text(needle: str) -> wire.InText:
    return wire.InText(needle, header_too=True)


_SEARCHES: Final[tuple[tuple[str, wire.SearchKey], ...]] = (
    ("TEXT, nothing has it", _text("zzqxyv")),
    ("TEXT, one in 4,000", _text("only0000017")),
    ("TEXT message", _text("message")),
    ("TEXT the", _text("the")),
    ("TEXT ing", _text("ing")),
    ("TEXT z", _text("z")),
    ('TEXT "of the"', _text("of the")),
    ('TEXT "mailing list"', _text("mailing list")),
    ('TEXT "thing in the"', _text("thing in the")),
    ("TEXT gmail.com", _text("gmail.com")),
    ("TEXT @gmail.com", _text("@gmail.com")),
    ("TEXT kernel.org", _text("kernel.org")),
    ("TEXT e-mail", _text("e-mail")),
    ("TEXT don't", _text("don't")),
    ("TEXT linux-kernel@vger.kernel.org", _text("linux-kernel@vger.kernel.org")),
    ("TEXT john@gmail.com", _text("john@gmail.com")),
    ("BODY message", wire.InText("message", header_too=False)),
    ('BODY "of the"', wire.InText("of the", header_too=False)),
    ("FROM an", wire.InHeader("from", "an")),
    ("SUBJECT re:", wire.InHeader("subject", "re:")),
    ("HEADER LIST-ID list", wire.InHeader("list-id", "list")),
    ("UNSEEN", wire.Not(wire.HasFlag("\\Seen"))),
    ("KEYWORD $Forwarded", wire.HasFlag("$Forwarded")),
    ("SENTSINCE 1-Jan-2024", wire.Day("sent", date(2024, 1, 1))),
    ("UNSEEN TEXT the", wire.AllOf([wire.Not(wire.HasFlag("\\Seen")), _text("the")])),
    ("ALL", wire.Everything()),
)
_ORDERS: Final[tuple[tuple[str, wire.Search], ...]] = (
    ("SORT (DATE)", wire.Search(key=wire.Everything(), sort=[wire.SortBy("date")])),
    ("SORT (REVERSE ARRIVAL)", wire.Search(key=wire.Everything(), sort=[wire.SortBy("arrival", reverse=True)])),
    ("SORT (SUBJECT DATE)", wire.Search(key=wire.Everything(), sort=[wire.SortBy("subject"), wire.SortBy("date")])),
    ("SORT (FROM)", wire.Search(key=wire.Everything(), sort=[wire.SortBy("from")])),
    ("THREAD REFERENCES", wire.Search(key=wire.Everything(), thread="references")),
    ("THREAD ORDEREDSUBJECT", wire.Search(key=wire.Everything(), thread="orderedsubject")),
)

# The copies of a message are a day apart, and as often read, answered and forwarded as mail is.
_COPY: Final = (
    """CREATE TEMPORARY TABLE copied AS
        SELECT n AS uid, m.blob_id AS original, m.octets,
               CAST(lpad(to_hex(1800000000000 + n * 1000), 12, '0') || '7' || substr(md5(CAST(n AS text)), 1, 3)
                    || 'b' || substr(md5(CAST(n AS text)), 4, 15) AS uuid) AS blob_id
        FROM generate_series($3::bigint + 1, $4::bigint) AS n
        JOIN message m ON m.account_id = $1::uuid AND m.mailbox_id = $2::uuid AND m.uid = 1 + n % $3::bigint""",
    """INSERT INTO blob (id, object_key, object_offset, length, encoding, sha256, summary)
        SELECT c.blob_id, object_key, object_offset, length, encoding, sha256, summary
        FROM copied c JOIN blob b ON b.id = c.original""",
    """INSERT INTO message (account_id, mailbox_id, uid, blob_id, modseq, flags, internal_date, email_id, thread_id,
                            octets)
        SELECT $1::uuid, $2::uuid, uid, blob_id, uid + 1,
               CASE uid % 3 WHEN 0 THEN '{}' WHEN 1 THEN '{"\\\\Seen"}'
                            ELSE '{"\\\\Seen","\\\\Answered","$Forwarded"}' END::text[],
               1700000000 + uid, blob_id, blob_id, octets FROM copied""",
    """UPDATE mailbox SET messages = $3::bigint, uid_next = $3::bigint + 1, highest_modseq = $3::bigint + 1
        WHERE account_id = $1::uuid AND id = $2::uuid""",
)
_INDEXES_OF_NUMBERS: Final = """SELECT indexname AS name, indexdef AS definition FROM pg_indexes
    WHERE tablename = 'message_text' AND indexdef LIKE '%USING gin%'"""
_TABLES_OF_INDEX: Final = ("message_text", "message_field")


async def measure(stack: Stack) -> list[Figure]:
    """Medians in milliseconds, the work of the caller's client included; and the CPU of store and Postgres."""
    account = await stack.make_account()
    await _fill(stack, account)
    searches = [(name, wire.Search(key=key)) for name, key in _SEARCHES]
    return [await _figure(stack, account, name, wanted) for name, wanted in (*searches, *_ORDERS)]


async def _figure(stack: Stack, account: Account, name: str, wanted: wire.Search) -> Figure:
    inbox = account.mailboxes["INBOX"]
    found = await stack.store.search(account.id, inbox, wanted)
    before = {process: stack.cpu_seconds(process) for process in _PROCESSES}
    took = []
    for _ in range(TIMES):
        started = time.perf_counter()
        await stack.store.search(account.id, inbox, wanted)
        took.append((time.perf_counter() - started) * 1e3)
    costs = ", ".join(
        f"{process} {(stack.cpu_seconds(process) - cpu) / TIMES * 1e3:.0f}" for process, cpu in before.items()
    )
    hits = len(found.uids) // 4
    note = f"{hits:,} uids; least {min(took):.0f}; CPU ms: {costs}"
    return Figure(name, statistics.median(took), "ms", GOAL_MS, note=note)


def _made() -> Iterator[bytes]:
    """Headers of the corpus over lines of its texts, each with words and ids that no other one has."""
    heads, lines = [], []
    for octets in letters():
        root = scan(octets)
        head = [
            b"%s: %s" % (name, value)
            for name, value in fields(octets[: root.body_start])
            if name.lower() not in _OWN_FIELDS and not name.lower().startswith(b"content-")
        ]
        heads.append(b"".join(line if line.endswith(b"\n") else line + b"\r\n" for line in head))
        lines += [line for line in searchable(octets, root).splitlines() if 0 < len(line) < 200]
    random = Random(1)
    for number in range(DIFFERENT):
        own = " ".join(f"{random.getrandbits(40):x}" for _ in range(10))
        text = "\r\n".join([*random.choices(lines, k=random.randint(20, 160)), f"only{number:07} {own}"])
        parent = number - number % 5
        yield b"".join(
            (
                heads[number % len(heads)],
                b"Date: %d %s 20%02d 12:00:00 +0000\r\n"
                % (1 + number % 28, random.choice((b"Jan", b"Jul", b"Nov")), 10 + number % 16),
                b"Message-ID: <%d.bench@example.test>\r\n" % number,
                b"References: <%d.bench@example.test>\r\n" % parent if parent != number else b"",
                b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n",
                text.encode(),
                b"\r\n",
            )
        )


async def _fill(stack: Stack, account: Account) -> None:
    inbox = account.mailboxes["INBOX"]
    made = _made()

    async def append() -> None:
        for octets in made:
            await stack.store.append(account.id, inbox, AppendHeader(flags=[]), octets)

    async with asyncio.TaskGroup() as group:
        for _ in range(_AT_ONCE):
            group.create_task(append())
    connection = await asyncpg.connect(stack.postroom.database_url)
    try:
        await _wait_until_indexed(connection, account)
        await _multiply(connection, account)
    finally:
        await connection.close()


async def _wait_until_indexed(connection: asyncpg.Connection, account: Account) -> None:
    wanted = "SELECT count(*) FROM message_field WHERE account_id = $1"
    async with asyncio.timeout(_INDEXING_TIMEOUT_S):
        while await connection.fetchval(wanted, account.id) < DIFFERENT:  # noqa: ASYNC110 - another process does it
            await asyncio.sleep(0.2)


async def _multiply(connection: asyncpg.Connection, account: Account) -> None:
    """The indexes of words and marks are made anew, in one go: entry by entry it would take minutes."""
    inbox = account.mailboxes["INBOX"]
    arguments = ((account.id, inbox, DIFFERENT, MESSAGES), (), (account.id, inbox), (account.id, inbox, MESSAGES))
    for statement, values in zip(_COPY, arguments, strict=True):
        await connection.execute(statement, *values)
    indexes = await connection.fetch(_INDEXES_OF_NUMBERS)
    for index in indexes:
        await connection.execute(f"DROP INDEX {index['name']}")
    for table in _TABLES_OF_INDEX:
        await connection.execute(await _copy_of_rows(connection, table))
    await connection.execute("SET maintenance_work_mem = '512MB'")
    for index in indexes:
        await connection.execute(index["definition"])
    for table in (*_TABLES_OF_INDEX, "message", "search_word"):
        await connection.execute(f"VACUUM ANALYZE {table}")


async def _copy_of_rows(connection: asyncpg.Connection, table: str) -> str:
    """All columns but the id of the blob, whatever they are by now."""
    rows = await connection.fetch(
        "SELECT quote_ident(column_name) AS name FROM information_schema.columns"
        " WHERE table_name = $1 AND column_name <> 'blob_id' AND is_generated = 'NEVER'",
        table,
    )
    names = ", ".join(row["name"] for row in rows)
    return f"""INSERT INTO {table} (blob_id, {names})
        SELECT c.blob_id, {names} FROM (SELECT blob_id, original FROM copied) AS c
        JOIN {table} t ON t.blob_id = c.original"""
