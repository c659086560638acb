"""Telling webhooks: each has its own task while something is due, so that one that hangs delays only itself."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import aiohttp
import structlog
from yarl import URL

from mail_runtime.contracts.errors import Refused, Unavailable
from mail_runtime.contracts.events import CLOUDEVENT_TYPE
from store_api.db.engine import Database, run
from store_api.events.addresses import PublicResolver, checked_url
from store_api.events.signing import signed_headers

log = structlog.get_logger()

POLL_S: Final = 1.0
WEBHOOKS_AT_A_TIME: Final = 32
REQUESTS_OF_ONE: Final = 4
BATCH: Final = 40
TIMEOUT_S: Final = 10.0
CONNECT_TIMEOUT_S: Final = 5.0
# Longer than a batch can take: another replica begins anew only with what a dead one left.
LEASE_S: Final = TIMEOUT_S * BATCH / REQUESTS_OF_ONE + 30
MAX_ANSWER_OCTETS: Final = 4096
MAX_SHOWN: Final = 300
# Pauses between attempts: a day and a half in all.
PAUSES_S: Final = (5, 30, 120, 600, 1800, 7200, 14_400, 28_800, 36_000, 43_200)
KEPT_DAYS: Final = 7
CLEAN_EVERY_S: Final = 600.0

_DUE: Final = """
SELECT w.id FROM webhook w WHERE w.active AND EXISTS (
    SELECT FROM webhook_delivery d WHERE d.webhook_id = w.id AND d.state = 'waiting' AND d.next_attempt_at <= now())
"""

_CLAIM: Final = """
UPDATE webhook_delivery AS d
SET attempts = d.attempts + 1, next_attempt_at = now() + make_interval(secs => :lease_s)
FROM webhook w
WHERE w.id = d.webhook_id AND d.webhook_id = :webhook_id AND d.event_id IN (
    SELECT event_id FROM webhook_delivery
    WHERE webhook_id = :webhook_id AND state = 'waiting' AND next_attempt_at <= now()
    ORDER BY next_attempt_at LIMIT :batch FOR UPDATE SKIP LOCKED)
RETURNING d.event_id, d.attempts, d.body, w.url, w.secret
"""

# `attempts` fences: who took it over after the lease has counted on.
_END: Final = """
UPDATE webhook_delivery AS d SET state = o.state, last_answer = o.answer,
    next_attempt_at = now() + make_interval(secs => o.pause_s)
FROM unnest(CAST(:events AS uuid[]), CAST(:attempts AS integer[]), CAST(:states AS text[]), CAST(:answers AS text[]),
            CAST(:pauses AS float8[])) AS o (event_id, attempts, state, answer, pause_s)
WHERE d.webhook_id = :webhook_id AND d.event_id = o.event_id AND d.attempts = o.attempts AND d.state = 'waiting'
"""

_CLEAN: Final = """
DELETE FROM webhook_delivery WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM webhook_delivery
    WHERE state <> 'waiting' AND created_at < now() - make_interval(days => :days) LIMIT 5000))
"""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a webhook said. `gone`: it wants no more (410)."""

    delivered: bool
    text: str
    gone: bool = False


class Teller:
    """One per process; replicas share the work (SKIP LOCKED, then a lease)."""

    def __init__(self, database: Database, *, private: bool) -> None:
        self._database, self._private = database, private
        self._telling: dict[UUID, asyncio.Task[None]] = {}
        self._cleaned = float("-inf")

    async def run(self) -> None:
        """Tell until cancelled."""
        connector = aiohttp.TCPConnector(resolver=PublicResolver(private=self._private), use_dns_cache=False)
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_S, sock_connect=CONNECT_TIMEOUT_S)
        async with (
            aiohttp.ClientSession(
                connector=connector, timeout=timeout, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False
            ) as session,
            asyncio.TaskGroup() as group,
        ):
            while True:
                try:
                    await self._begin(session, group)
                except Unavailable as error:
                    log.info("webhooks_wait", error=str(error))
                await asyncio.sleep(POLL_S)

    async def _begin(self, session: aiohttp.ClientSession, group: asyncio.TaskGroup) -> None:
        """Start tasks for webhooks that have something due; sweep up now and then."""
        async with self._database.transaction() as connection:
            due = list((await run(connection, _DUE)).scalars())
        for webhook_id in due:
            if webhook_id not in self._telling and len(self._telling) < WEBHOOKS_AT_A_TIME:
                task = group.create_task(self._tell_all(session, webhook_id), name=f"webhook-{webhook_id}")
                self._telling[webhook_id] = task
        if time.monotonic() - self._cleaned > CLEAN_EVERY_S:
            await self.clean()
            self._cleaned = time.monotonic()

    async def clean(self) -> None:
        """Forget what was told long ago."""
        async with self._database.transaction() as connection:
            await run(connection, _CLEAN, days=KEPT_DAYS)

    async def _tell_all(self, session: aiohttp.ClientSession, webhook_id: UUID) -> None:
        """All that is due for one webhook."""
        try:
            while await self._tell_some(session, webhook_id) == BATCH:
                pass
        except Unavailable as error:
            log.info("webhook_waits", webhook_id=str(webhook_id), error=str(error))
        finally:
            del self._telling[webhook_id]

    async def _tell_some(self, session: aiohttp.ClientSession, webhook_id: UUID) -> int:
        async with self._database.transaction() as connection:
            claimed = (await run(connection, _CLAIM, webhook_id=webhook_id, lease_s=LEASE_S, batch=BATCH)).all()
        if not claimed:
            return 0
        few = asyncio.Semaphore(REQUESTS_OF_ONE)

        async def tell(row: Any) -> Answer:
            async with few:
                return await self.tell(session, row.url, row.secret, row.event_id, row.body)

        answers = await asyncio.gather(*(tell(row) for row in claimed))
        await self._record(webhook_id, claimed, answers)
        return len(claimed)

    async def tell(self, session: aiohttp.ClientSession, url: str, secret: str, event_id: UUID, body: bytes) -> Answer:
        """One request; its answer, whatever happens."""
        headers = signed_headers(secret, event_id, int(time.time()), body)
        try:
            target = checked_url(url, private=self._private)
            async with session.post(
                URL(target), data=body, allow_redirects=False, headers={"Content-Type": CLOUDEVENT_TYPE, **headers}
            ) as response:
                start = await response.content.read(MAX_ANSWER_OCTETS)
                words = start.decode("utf-8", "replace").replace("\0", "")
                text = f"{response.status} {words}".strip()[:MAX_SHOWN]
                return Answer(200 <= response.status < 300, text, response.status == 410)
        except TimeoutError:
            return Answer(False, f"no answer within {TIMEOUT_S:.0f} s")
        except (aiohttp.ClientError, OSError, Refused, ValueError) as error:
            return Answer(False, f"{type(error).__name__}: {error}".replace("\0", "")[:MAX_SHOWN])

    async def _record(self, webhook_id: UUID, claimed: Sequence[Any], answers: Sequence[Answer]) -> None:
        over = [row.attempts > len(PAUSES_S) or answer.gone for row, answer in zip(claimed, answers, strict=True)]
        async with self._database.transaction() as connection:
            await run(
                connection,
                _END,
                webhook_id=webhook_id,
                events=[row.event_id for row in claimed],
                attempts=[row.attempts for row in claimed],
                states=[
                    "delivered" if answer.delivered else "failed" if ended else "waiting"
                    for answer, ended in zip(answers, over, strict=True)
                ],
                answers=[answer.text for answer in answers],
                pauses=[_pause(row.attempts) for row in claimed],
            )
            if any(answer.gone for answer in answers):
                await run(connection, "UPDATE webhook SET active = false WHERE id = :id", id=webhook_id)


def _pause(attempts: int) -> float:
    """With some chance in it, so that what failed together isn't tried together."""
    return PAUSES_S[min(attempts, len(PAUSES_S)) - 1] * random.uniform(0.8, 1.2)  # noqa: S311 - no secret
