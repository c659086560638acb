"""Rows from an export, into a system that may be newer: what is there already stays as it is.

Columns that the export doesn't know get their defaults; those that this system doesn't know are refused, because
leaving them out would lose something.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any, Final
from uuid import UUID

import msgspec
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from mail_runtime.contracts.errors import Conflict, Refused, StoreError
from store_api.db.engine import run
from store_api.search.coverage import forget
from store_api.transfer.exporting import FORMAT
from store_api.transfer.tables import TABLES

_COLUMNS: Final = """
SELECT column_name FROM information_schema.columns WHERE table_schema = current_schema() AND table_name = :name
"""

# A mailbox counts the messages that came, and gives out no uid or modseq a second time.
_COUNT: Final = """
UPDATE mailbox m SET
    messages = m.messages + n.messages, unseen = m.unseen + n.unseen, octets = m.octets + n.octets,
    uid_next = greatest(m.uid_next, n.uid + 1), highest_modseq = greatest(m.highest_modseq, n.modseq)
FROM unnest(CAST(:mailboxes AS uuid[]), CAST(:messages AS bigint[]), CAST(:unseen AS bigint[]),
            CAST(:octets AS bigint[]), CAST(:uids AS bigint[]), CAST(:modseqs AS bigint[]))
     AS n (id, messages, unseen, octets, uid, modseq)
WHERE m.account_id = :account_id AND m.id = n.id
"""


# They may have changed since their neighbours came: see migration 0025.
_MARK: Final = """
INSERT INTO changed_block AS b (account_id, mailbox_id, block, modseq)
SELECT n.account_id, n.mailbox_id, n.uid >> 7, max(n.modseq)
FROM unnest(CAST(:accounts AS uuid[]), CAST(:mailboxes AS uuid[]), CAST(:uids AS bigint[]), CAST(:modseqs AS bigint[]))
     AS n (account_id, mailbox_id, uid, modseq)
GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
ON CONFLICT (account_id, mailbox_id, block) DO UPDATE SET modseq = greatest(b.modseq, excluded.modseq)
"""


_lines: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


class Line(msgspec.Struct, frozen=True):
    """One row of an export."""

    table: str
    row: dict[str, msgspec.Raw]


async def import_rows(connection: AsyncConnection, lines: bytes) -> dict[str, tuple[int, int]]:
    """Table → (rows that were new, rows that were there). The first and last line of an export may be among them.

    Raises Refused: unknown table or column, no such parent row. Conflict: another row has the same address or name.
    """
    result: dict[str, tuple[int, int]] = {}
    for table, group in groupby(_parsed(lines), key=lambda line: line.table):
        rows = [line.row for line in group]
        new = await _insert(connection, table, rows)
        before = result.get(table, (0, 0))
        result[table] = (before[0] + new, before[1] + len(rows) - new)
    return result


def _parsed(lines: bytes) -> list[Line]:
    try:
        read = _lines.decode_lines(lines)
        if read and "format" in read[0] and msgspec.json.decode(read[0]["format"]) != FORMAT:
            raise Refused(f"this is no export of the form {FORMAT}")
        return [
            Line(
                msgspec.json.decode(line["table"], type=str),
                msgspec.json.decode(line["row"], type=dict[str, msgspec.Raw]),
            )
            for line in read
            if "format" not in line and "end" not in line
        ]
    except (msgspec.MsgspecError, KeyError, ValueError) as error:
        raise Refused(f"a line is no row of an export: {error}") from error


async def _insert(connection: AsyncConnection, name: str, rows: Sequence[dict[str, msgspec.Raw]]) -> int:
    """Insert rows of one table; returns how many are new."""
    table = TABLES.get(name)
    if table is None:
        raise Refused(f"there is no table {name!r} to import")
    known = set((await run(connection, _COLUMNS, name=name)).scalars())
    new = 0
    for columns, group in groupby(rows, key=lambda row: tuple(sorted(row.keys() - set(table.leaves_out)))):
        if unknown := set(columns) - known:
            raise Refused(f"{name} has no column {', '.join(sorted(unknown))}: import it into a newer version")
        if missing := set(table.key) - set(columns):
            raise Refused(f"a row of {name} needs {', '.join(sorted(missing))}")
        wanted = list(group)
        if name == "message":
            await _lock_mailboxes(connection, wanted)
        try:
            inserted = await run(connection, _insert_sql(name, columns), rows=msgspec.json.encode(wanted).decode())
        except IntegrityError as error:
            raise _refused(name, error) from error
        if name == "message":
            new += await _count(connection, list(inserted))
        else:
            new += len(inserted.all())
    if name == "mailbox":
        await run(
            connection,
            "SELECT setval('uid_validity', greatest((SELECT max(uid_validity) FROM mailbox), nextval('uid_validity')))",
        )
    return new


def _refused(name: str, error: IntegrityError) -> StoreError:
    """What is told when a constraint forbids a row (PostgreSQL, appendix A)."""
    constraint = str(getattr(error.orig, "sqlstate", ""))
    if constraint == "23505":
        return Conflict(f"another row of {name} has the same name or address under another id")
    if constraint == "23503":
        return Refused(f"a row of {name} refers to something that isn't there: import that first")
    return Refused(f"a row of {name} is not complete")


def _insert_sql(name: str, columns: tuple[str, ...]) -> str:
    """Column names are those of the catalogue: they were compared with it."""
    listed = ", ".join(f'"{column}"' for column in columns)
    extra, values = ("", "")
    if name == "delivery":
        extra, values = ", state", ", 'held'"
    returning = "account_id, mailbox_id, uid, modseq, octets, flags" if name == "message" else "1"
    key = ", ".join(TABLES[name].key)
    return (
        f"INSERT INTO {name} ({listed}{extra}) SELECT {listed}{values}"
        f" FROM jsonb_populate_recordset(CAST(NULL AS {name}), CAST(:rows AS jsonb))"
        f" ON CONFLICT ({key}) DO NOTHING RETURNING {returning}"
    )


async def _lock_mailboxes(connection: AsyncConnection, rows: Sequence[dict[str, msgspec.Raw]]) -> None:
    """Lock the mailboxes of messages, as everybody does who adds some. Raises Refused: one isn't there."""
    wanted = {
        (msgspec.json.decode(row["account_id"], type=UUID), msgspec.json.decode(row["mailbox_id"], type=UUID))
        for row in rows
    }
    locked = await run(
        connection,
        "SELECT account_id, id FROM mailbox WHERE (account_id, id) IN ("
        " SELECT * FROM unnest(CAST(:accounts AS uuid[]), CAST(:mailboxes AS uuid[])))"
        " ORDER BY account_id, id FOR UPDATE",
        accounts=[account for account, _ in wanted],
        mailboxes=[mailbox for _, mailbox in wanted],
    )
    if wanted - {(row.account_id, row.id) for row in locked}:
        raise Refused("a message's mailbox isn't there: import that first")


async def _count(connection: AsyncConnection, rows: Sequence[Any]) -> int:
    """Add messages that were inserted to the counters of their mailboxes."""
    by_mailbox: dict[tuple[UUID, UUID], list[Any]] = {}
    for row in rows:
        by_mailbox.setdefault((row.account_id, row.mailbox_id), []).append(row)
    for account_id in sorted({account for account, _ in by_mailbox}):
        counted = {mailbox: found for (account, mailbox), found in by_mailbox.items() if account == account_id}
        await run(
            connection,
            _COUNT,
            account_id=account_id,
            mailboxes=list(counted),
            messages=[len(found) for found in counted.values()],
            unseen=[sum("\\Seen" not in row.flags for row in found) for found in counted.values()],
            octets=[sum(row.octets for row in found) for found in counted.values()],
            uids=[max(row.uid for row in found) for found in counted.values()],
            modseqs=[max(row.modseq for row in found) for found in counted.values()],
        )
    await run(
        connection,
        _MARK,
        accounts=[row.account_id for row in rows],
        mailboxes=[row.mailbox_id for row in rows],
        uids=[row.uid for row in rows],
        modseqs=[row.modseq for row in rows],
    )
    await forget(connection, by_mailbox)
    return len(rows)
