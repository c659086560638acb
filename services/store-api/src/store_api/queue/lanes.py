"""Lanes: each domain that mail goes to has one, so that none waits for another.

Of each lane only so many deliveries are with the relay at a time: a domain that is slow fills its own window. A domain
of which no server can be reached rests, longer each time, and then gets one message to see whether it is back; the rest
of its mail stays here meanwhile, however much it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncConnection

from store_api.db.engine import fetch, run
from store_api.queue.retries import Ended

# Lanes looked at in one round; the next round goes on behind the last of them.
LANES: Final = 1000
# Deliveries that one lane gets in one round, so that a round has some of every lane.
LANE_ROUND: Final = 50
LONGEST_REST_S: Final = 600.0
# No connection, no answer from DNS (RFC 3463 §3.5).
UNREACHABLE: Final = frozenset({"4.4.1", "4.4.3"})

# A loose index scan: one probe of delivery_lane for each domain that has something waiting.
_LANES: Final = """
WITH RECURSIVE lane AS (
    (SELECT domain, 1 AS n FROM delivery
     WHERE state = 'queued' AND NOT in_flight AND domain > :after ORDER BY domain LIMIT 1)
    UNION ALL
    SELECT (SELECT d.domain FROM delivery d WHERE d.state = 'queued' AND NOT d.in_flight AND d.domain > lane.domain
            ORDER BY d.domain LIMIT 1), n + 1
    FROM lane WHERE lane.domain IS NOT NULL AND n < :lanes
) SELECT domain FROM lane WHERE domain IS NOT NULL ORDER BY n
"""

_DUE: Final = """
WITH room AS (
    SELECT lane.domain,
           CASE WHEN down.until IS NULL THEN :window WHEN down.until > now() THEN 0 ELSE 1 END
           - (SELECT count(*) FROM (SELECT FROM delivery f WHERE f.state = 'queued' AND f.in_flight
                                    AND f.domain = lane.domain LIMIT :window) AS flying) AS free
    FROM unnest(CAST(:names AS text[])) AS lane (domain) LEFT JOIN down_domain down ON down.name = lane.domain
), first AS (
    SELECT due.transmission_id, room.domain
    FROM room CROSS JOIN LATERAL (
        SELECT d.transmission_id, row_number() OVER (ORDER BY d.publish_after) AS place FROM delivery d
        WHERE d.domain = room.domain AND d.state = 'queued' AND NOT d.in_flight AND d.publish_after <= now()
        ORDER BY d.publish_after LIMIT least(greatest(room.free, 0), :lane_round)) AS due
    WHERE room.free > 0 ORDER BY due.place LIMIT :batch
)
SELECT d.id, d.transmission_id, d.domain, d.attempts, d.published,
       (SELECT lower(substring(t.reverse_path FROM '[^@]*$')) FROM transmission t WHERE t.id = d.transmission_id)
           AS sender_domain,
       (SELECT t.traceparent FROM transmission t WHERE t.id = d.transmission_id) AS traceparent,
       EXISTS (SELECT FROM suppression s
               WHERE s.domain_id = d.domain_id AND s.address = lower(d.recipient)) AS suppressed
FROM (SELECT DISTINCT transmission_id, domain FROM first) AS chosen
JOIN delivery d ON d.transmission_id = chosen.transmission_id AND d.domain = chosen.domain
WHERE d.state = 'queued' AND NOT d.in_flight AND d.publish_after <= now()
FOR UPDATE OF d SKIP LOCKED
"""

# A job that nobody claimed, or whose worker died: it is due again.
_LOST: Final = """
UPDATE delivery SET in_flight = false WHERE id IN (
    SELECT id FROM delivery WHERE state = 'queued' AND in_flight AND publish_after <= now()
    ORDER BY id LIMIT 1000 FOR UPDATE SKIP LOCKED)
"""

_PUBLISHED: Final = """
UPDATE delivery
SET in_flight = true, published = published + 1, publish_after = now() + make_interval(secs => :pause_s)
WHERE id = ANY (CAST(:ids AS uuid[]))
"""

# What fails while a domain rests already doesn't lengthen its rest.
_DOWN: Final = """
INSERT INTO down_domain AS down (name, failures, until)
SELECT name, 1, now() + make_interval(secs => :first_s) FROM unnest(CAST(:names AS text[])) AS t (name) ORDER BY name
ON CONFLICT (name) DO UPDATE SET
    failures = down.failures + 1,
    until = now() + make_interval(secs => least(:longest_s, :first_s * 2.0 ^ least(down.failures, 30)))
WHERE down.until <= now()
"""

_RESTING: Final = """
UPDATE delivery SET in_flight = false, publish_after = next_attempt_at WHERE id IN (
    SELECT id FROM delivery
    WHERE state = 'queued' AND in_flight AND domain = ANY (CAST(:names AS text[]))
      AND (lease IS NULL OR lease_until < now())
    ORDER BY id FOR UPDATE SKIP LOCKED)
"""


async def lost(connection: AsyncConnection) -> None:
    """Make due again what was published and never heard of."""
    await fetch(connection, _LOST)


async def due(connection: AsyncConnection, window: int, batch: int, after: str) -> tuple[list[Any], str]:
    """Locked rows that may be published now, and the lane behind which the next round starts ("": the first).

    `window`: how many deliveries of a lane may be with the relay. Recipients of one message in one domain come
    together, which may be more than `window` and `batch`.
    """
    names = [row.domain for row in await fetch(connection, _LANES, after=after, lanes=LANES)]
    rows = await fetch(connection, _DUE, names=names, window=window, batch=batch, lane_round=LANE_ROUND)
    return rows, names[-1] if len(names) == LANES else ""


async def published(connection: AsyncConnection, rows: Sequence[Any], pause_s: float) -> None:
    """Note that rows of `due` are with the relay; nobody publishes them again for so long."""
    await fetch(connection, _PUBLISHED, ids=[row.id for row in rows], pause_s=float(pause_s))


def unreachable_domains(ended: Sequence[Ended]) -> set[str]:
    """Domains of which no server could be reached."""
    return {e.row.domain for e in ended if e.outcome.result == "deferred" and e.outcome.status in UNREACHABLE}


async def learn_unreachable(connection: AsyncConnection, ended: Sequence[Ended], first_s: float) -> None:
    """Let domains rest that couldn't be reached. The rest is `first_s`, doubling, until one of them answers."""
    names = sorted(unreachable_domains(ended))
    if names:
        await run(connection, _DOWN, names=names, first_s=first_s, longest_s=LONGEST_REST_S)
        await run(connection, _RESTING, names=names)
