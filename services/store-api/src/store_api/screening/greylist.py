"""Greylisting (RFC 6647): who isn't known is asked to come again, which most senders of spam don't.

Known is a triplet of the client's network, the reverse path and the recipient that came again in time; a network with
several of them is known altogether.
"""

from __future__ import annotations

import hashlib
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from mail_runtime.contracts.store.screening import Stranger
from store_api.db.engine import run

# RFC 6647 §5: who comes back later than this begins anew.
RETRY_WITHIN_S: Final = 86_400.0
# A known triplet that isn't seen for so long is forgotten: lists that write once a month stay known.
KEPT_FOR_S: Final = 36 * 86_400.0
# So many known triplets make their network known.
NETWORK_KNOWN_AT: Final = 5

_SEE: Final = """
INSERT INTO greylist AS g (triplet, network, passed)
VALUES (:triplet, :network, (
    SELECT count(*) >= :known_at
    FROM (SELECT FROM greylist WHERE network = :network AND passed LIMIT :known_at) AS known
))
ON CONFLICT (triplet) DO UPDATE SET
    first_at = CASE WHEN NOT g.passed AND g.first_at < now() - make_interval(secs => :within_s) THEN now()
                    ELSE g.first_at END,
    last_at = now(),
    passed = g.passed OR excluded.passed
             OR g.first_at BETWEEN now() - make_interval(secs => :within_s) AND now() - make_interval(secs => :delay_s)
RETURNING CASE WHEN passed THEN 0 ELSE
    greatest(1, :delay_s - CAST(extract(epoch FROM now() - first_at) AS float8)) END AS wait_s
"""


async def see(connection: AsyncConnection, stranger: Stranger) -> float:
    """Seconds until it may come again; 0: it is known."""
    words = (stranger.network, stranger.reverse_path.lower(), stranger.recipient.lower())
    result = await run(
        connection,
        _SEE,
        triplet=hashlib.sha256("\0".join(words).encode()).digest(),
        network=stranger.network,
        known_at=NETWORK_KNOWN_AT,
        within_s=RETRY_WITHIN_S,
        delay_s=stranger.delay_s,
    )
    return float(result.scalar_one())


async def forget_old(connection: AsyncConnection) -> None:
    """Remove who didn't come again, and who hasn't been seen for long."""
    await run(
        connection,
        "DELETE FROM greylist WHERE last_at < now() - make_interval(secs => :within_s)"
        " AND (NOT passed OR last_at < now() - make_interval(secs => :kept_for_s))",
        within_s=RETRY_WITHIN_S,
        kept_for_s=KEPT_FOR_S,
    )
