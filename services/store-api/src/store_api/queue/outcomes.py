"""How attempts ended: delivered, to be tried again, or bounced (RFC 5321 §4.5.4.1, §6.1)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final
from uuid import UUID

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from mail_proto.dsn import RecipientReport
from mail_runtime.contracts.errors import Conflict
from mail_runtime.contracts.store import Outcome, Outcomes
from mail_runtime.together import Together
from store_api.blobs.blobs import Blobs
from store_api.db.engine import Database, Row
from store_api.ingest.incoming import Group, Stored
from store_api.ingest.own import store_own
from store_api.ingest.planning import Rules
from store_api.queue.lanes import learn_unreachable, unreachable_domains
from store_api.queue.notifying import ended_report, notification
from store_api.queue.recording import Reported, record, recorded
from store_api.queue.retries import Ended, Retries, judge
from store_api.queue.suppression import count_bounced

MAX_REPLY_LENGTH: Final = 2000

# `lease` is what the delivery has now, `reported` what the report came with.
_READ: Final = """
SELECT d.id, d.recipient, d.domain, d.attempts, d.expires_at, d.lease, d.account_id, d.domain_id, d.notify, d.orcpt,
       t.id AS transmission_id, t.reverse_path, t.octets, t.ret, t.envid, t.created_at, t.traceparent, t.tls_wish,
       r.retry_first_s, r.retry_longest_s, coalesce(r.defer_permanent, false) AS defer_permanent,
       o.lease AS reported,
       EXISTS (SELECT FROM delivery_attempt a WHERE a.delivery_id = d.id AND a.lease = o.lease) AS recorded
FROM unnest(CAST(:ids AS uuid[]), CAST(:leases AS uuid[])) AS o (id, lease)
JOIN delivery d ON d.id = o.id JOIN transmission t ON t.id = d.transmission_id
LEFT JOIN remote_domain r ON r.name = d.domain
ORDER BY d.id
"""


class Reporting:
    """Use `report()` from any number of requests: what comes together is read, and recorded, together."""

    def __init__(self, database: Database, blobs: Blobs, retries: Retries, rules: Rules) -> None:
        self._database, self._blobs, self._retries, self._rules = database, blobs, retries, rules
        self._reading = Together(partial(_read, database))
        self._recording = Together(partial(recorded, database))

    async def report(self, outcomes: Outcomes) -> tuple[Group, list[Stored]]:
        """Record outcomes; what the sender wants to know is told in the same transaction. Returns the DSN and its rows.

        Repeating a report changes nothing. Raises Conflict: the lease was lost, and nothing counts that was lost.
        """
        by_id = {outcome.delivery_id: _clean(outcome) for outcome in outcomes.outcomes}
        rows = await self._reading.ask(outcomes)
        if any(row.lease != outcomes.lease and not row.recorded for row in rows) or len(rows) != len(by_id):
            raise Conflict("the lease was lost")
        rows = [row for row in rows if not row.recorded]
        if not rows:
            return (), []
        # The lease fences: until it changes, so do neither attempts nor state.
        ended = judge(rows, by_id, self._retries)
        reports = [told for each in ended if (told := ended_report(each)) is not None]
        if reports:
            return await self._told(outcomes.lease, ended, reports)
        await self._recording.ask(Reported(outcomes.lease, ended))
        if unreachable_domains(ended) or any(each.outcome.result == "failed" for each in ended):
            async with self._database.transaction() as connection:
                await self._learn(connection, ended)
        return (), []

    async def _told(
        self, lease: UUID, ended: Sequence[Ended], reports: Sequence[RecipientReport]
    ) -> tuple[Group, list[Stored]]:
        message = await notification(self._database, self._blobs, self._rules, ended[0].row, reports)

        async def work(connection: AsyncConnection) -> None:
            await record(connection, Reported(lease, ended))
            await self._learn(connection, ended)

        return await store_own(self._database, self._blobs, self._rules, message, work)

    async def _learn(self, connection: AsyncConnection, ended: Sequence[Ended]) -> None:
        await learn_unreachable(connection, ended, self._retries.first_s)
        await count_bounced(connection, [e.outcome for e in ended])


async def _read(database: Database, reports: Sequence[Outcomes]) -> list[list[Row]]:
    """The deliveries of each report, in order of their ids. Raises Unavailable."""
    asked = dict.fromkeys((outcome.delivery_id, each.lease) for each in reports for outcome in each.outcomes)
    ids, leases = [delivery_id for delivery_id, _ in asked], [lease for _, lease in asked]
    found = {(row.id, row.reported): row for row in await database.fetch(_READ, ids=ids, leases=leases)}
    wanted = ([(outcome.delivery_id, each.lease) for outcome in each.outcomes] for each in reports)
    return [[found[key] for key in sorted(set(keys)) if key in found] for keys in wanted]


def _clean(outcome: Outcome) -> Outcome:
    """The remote's words as text that Postgres can keep."""
    return msgspec.structs.replace(
        outcome,
        reply=_text(outcome.reply, MAX_REPLY_LENGTH),
        remote=_text(outcome.remote, 255),
        address=_text(outcome.address, 64),
        tls=_text(outcome.tls, 100),
    )


def _text(words: str, length: int) -> str:
    return words.replace("\0", "").encode("utf-8", "replace").decode()[:length]
