"""The plain change of flags: of own mailboxes that nobody else has locked; those of many sessions in one statement.

To change a flag is little work, and took six turns to the database and more for planning than for the change. This
statement locks, changes, counts and answers for any number of mailboxes, is planned once for a connection, and is a
transaction by itself. It never waits: what somebody else holds, and what is less plain, is left to `flags`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import msgspec
import structlog

from mail_runtime.contracts.errors import Conflict, Refused, StoreError
from mail_runtime.contracts.store import Columns, FlagSet, FlagsStored, StoreFlags
from mail_runtime.contracts.store.mailboxes import MOST_TOGETHER
from mail_runtime.contracts.store.uids import joined, spanned
from store_api.db.engine import Database, StatementFailed
from store_api.events.notifier import Changed, Notifier
from store_api.mailboxes.changes import WORDS, columns, numbered
from store_api.mailboxes.flag_names import MAX_FLAGS, SYSTEM_FLAGS, canonical_flags
from store_api.mailboxes.rows import COLUMNS, to_mailbox

log = structlog.get_logger()

_SYSTEM: Final = frozenset(SYSTEM_FLAGS.values())

_LOWERED: Final = "string_to_array(lower(array_to_string(message.flags, ' ')), ' ')"

# The scalar subqueries hide from the planner how many there are: for what it sees it plans anew each time. `held` is as
# the mailbox is now, everything else as it was when the statement began; where that isn't the same nothing is done.
# System flags are compared as they are, keywords whatever their case, which takes longer than to change them. After a
# change that is about \\Seen all its messages are seen, or none.
_STORE: Final = f"""
WITH wanted AS MATERIALIZED (
    SELECT n, account_id, mailbox_id, operation, is_exact,
           string_to_array(flags, ' ') AS flags, string_to_array(lower(flags), ' ') AS lowered
    FROM unnest((SELECT CAST(:accounts AS uuid[])), CAST(:mailboxes AS uuid[]), CAST(:operations AS text[]),
                CAST(:exact AS boolean[]), CAST(:flags AS text[]))
         WITH ORDINALITY AS w (account_id, mailbox_id, operation, is_exact, flags, n)
), held AS MATERIALIZED (
    SELECT n, mailbox.*, mailbox.ctid AS place
    FROM wanted JOIN mailbox ON mailbox.account_id = wanted.account_id AND mailbox.id = mailbox_id
    ORDER BY mailbox.account_id, mailbox.id FOR UPDATE OF mailbox SKIP LOCKED
), ready AS MATERIALIZED (
    SELECT held.* FROM held JOIN mailbox USING (account_id, id) WHERE mailbox.ctid = held.place
), change AS MATERIALIZED (
    SELECT wanted.*, first, last, highest_modseq + 1 AS modseq,
           operation = 'replace' OR '\\Seen' = ANY (flags) AS is_about_seen,
           operation <> 'remove' AND '\\Seen' = ANY (flags) AS is_to_be_seen
    FROM ready JOIN wanted USING (n)
    JOIN unnest((SELECT CAST(:numbers AS bigint[])), CAST(:firsts AS bigint[]), CAST(:lasts AS bigint[]))
         AS r (n, first, last) USING (n)
), before AS MATERIALIZED (
    SELECT n, max(number + CASE operation WHEN 'add' THEN cardinality(flags) ELSE 0 END) AS most_flags,
           count(*) FILTER (WHERE is_about_seen AND is_seen AND NOT is_to_be_seen)
           - count(*) FILTER (WHERE is_about_seen AND NOT is_seen AND is_to_be_seen) AS more_unseen
    FROM change CROSS JOIN LATERAL (
        SELECT cardinality(flags) AS number, '\\Seen' = ANY (flags) AS is_seen FROM message
        WHERE account_id = change.account_id AND mailbox_id = change.mailbox_id AND uid BETWEEN first AND last
        OFFSET 0
    ) AS m
    GROUP BY n
), changed AS (
    UPDATE message SET modseq = c.modseq, flags = CASE
        WHEN operation = 'replace' THEN c.flags
        WHEN operation = 'add' THEN message.flags || CASE
            WHEN is_exact AND NOT message.flags && c.flags OR NOT is_exact AND NOT {_LOWERED} && lowered THEN c.flags
            ELSE ARRAY(SELECT f FROM unnest(c.flags) AS f
                       WHERE lower(f) NOT IN (SELECT lower(x) FROM unnest(message.flags) AS x)) END
        WHEN is_exact AND cardinality(c.flags) = 1 THEN array_remove(message.flags, c.flags[1])
        ELSE ARRAY(SELECT x FROM unnest(message.flags) AS x WHERE lower(x) <> ALL (lowered)) END
    FROM change AS c
    WHERE message.account_id = c.account_id AND message.mailbox_id = c.mailbox_id AND message.uid BETWEEN first AND last
      AND n <> ALL (ARRAY(SELECT n FROM before WHERE most_flags > :max_flags))
      AND CASE operation
          WHEN 'replace' THEN NOT (message.flags @> c.flags AND c.flags @> message.flags)
          WHEN 'add' THEN NOT CASE WHEN is_exact THEN message.flags @> c.flags ELSE {_LOWERED} @> lowered END
          ELSE CASE WHEN is_exact THEN message.flags && c.flags ELSE {_LOWERED} && lowered END END
    RETURNING n, message.*
), done AS MATERIALIZED (
    SELECT n, account_id, mailbox_id, count(*) AS changed, {WORDS}
    FROM (SELECT * FROM changed ORDER BY n, uid) AS c GROUP BY n, account_id, mailbox_id
), counted AS (
    UPDATE mailbox SET highest_modseq = highest_modseq + 1, unseen = unseen + more_unseen
    FROM done JOIN before USING (n) WHERE mailbox.account_id = done.account_id AND mailbox.id = done.mailbox_id
)
SELECT n, {COLUMNS}, coalesce(changed, 0) AS changed, coalesce(more_unseen, 0) AS more_unseen, words, flags,
       coalesce(most_flags, 0) AS most_flags
FROM ready LEFT JOIN before USING (n) LEFT JOIN done USING (n)
"""


@dataclass(frozen=True, slots=True)
class _Change:
    """One that can be done, and its place among the answers."""

    place: int
    wanted: FlagSet
    flags: Sequence[str]
    ranges: Sequence[tuple[int, int]]


def is_plain(change: StoreFlags) -> bool:
    """Whether it may be done together with others, which wait for it."""
    return change.unchanged_since is None and spanned(change.uids) <= MOST_TOGETHER


async def store_plainly(database: Database, notifier: Notifier, wanted: Sequence[FlagSet]) -> list[FlagsStored | None]:
    """What became of each, in order, after commit. None: it isn't plain after all, and has to be asked for alone.

    Changes of the same mailbox are made one after the other. Raises Unavailable.
    """
    answers: list[FlagsStored | None] = [None] * len(wanted)
    for turn in _turns(wanted):
        try:
            rows = await database.fetch(_STORE, **_values(turn))
        except (Conflict, Refused, StatementFailed):
            log.exception("flags_not_stored_together")  # alone it will be told whose fault it is
            continue
        changed = Changed()
        for row in rows:
            change = turn[row.n - 1]
            answers[change.place] = _stored(change.wanted, row, changed)
        await notifier.announce(changed)
    return [
        None if stored is None else await _complete(database, one, stored)
        for one, stored in zip(wanted, answers, strict=True)
    ]


def _turns(wanted: Sequence[FlagSet]) -> list[list[_Change]]:
    """No mailbox is in a turn twice. What is refused is left out."""
    turns: list[list[_Change]] = []
    before: Counter[UUID] = Counter()
    for place, one in enumerate(wanted):
        if not is_plain(one.change):
            continue
        try:
            change = _Change(place, one, canonical_flags(one.change.flags), joined(one.change.uids))
        except Refused:
            continue
        number = before[one.mailbox_id]
        before[one.mailbox_id] += 1
        if number == len(turns):
            turns.append([])
        turns[number].append(change)
    return turns


def _values(turn: Sequence[_Change]) -> dict[str, Any]:
    ranges = [(number, *pair) for number, change in enumerate(turn, 1) for pair in change.ranges]
    return {
        "accounts": [change.wanted.account_id for change in turn],
        "mailboxes": [change.wanted.mailbox_id for change in turn],
        "operations": [change.wanted.change.operation for change in turn],
        "exact": [_SYSTEM.issuperset(change.flags) for change in turn],
        "flags": [" ".join(change.flags) for change in turn],
        "numbers": [number for number, _, _ in ranges],
        "firsts": [first for _, first, _ in ranges],
        "lasts": [last for _, _, last in ranges],
        "max_flags": MAX_FLAGS,
    }


def _stored(wanted: FlagSet, row: Any, changed: Changed) -> FlagsStored | None:
    """The answer, with `changes` if nobody else has changed anything since the frontend looked."""
    if row.most_flags > MAX_FLAGS:  # or may be, as some of the flags may be there
        return None
    before, seen = row.highest_modseq, wanted.change.seen
    modseq = before + 1 if row.changed else before
    if row.changed:
        changed.note(wanted.account_id, wanted.mailbox_id, modseq)
    if seen is None or seen < before:
        return FlagsStored(modseq=modseq)
    mailbox = msgspec.structs.replace(to_mailbox(row), highest_modseq=modseq, unseen=row.unseen + row.more_unseen)
    flag_sets, numbers = numbered(row.flags)
    changes = Columns(
        mailbox=mailbox, is_whole=False, words=row.words or b"", flag_sets=flag_sets, flags=numbers, expunged=[]
    )
    return FlagsStored(modseq=modseq, changes=changes)


async def _complete(database: Database, wanted: FlagSet, stored: FlagsStored) -> FlagsStored:
    """With what others have changed, too, where the frontend is behind; it asks by itself if that can't be read."""
    seen = wanted.change.seen
    if seen is None or stored.changes is not None:
        return stored
    try:
        found = await columns(database, wanted.account_id, wanted.mailbox_id, seen)
    except StoreError:
        return stored
    return msgspec.structs.replace(stored, changes=found)
