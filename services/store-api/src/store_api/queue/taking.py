"""What workers take to send it: claims, and with them the octets as they leave, signed by their domains.

One answer for many messages: a call, three statements and few reads of the object storage for all of them together.
What would make it too large, or can't be read now, the worker asks for by itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final
from uuid import UUID

import msgspec
import structlog

from mail_runtime.contracts.errors import Conflict, StoreError
from mail_runtime.contracts.store import Claim, ClaimDeliveries
from store_api.blobs.blobs import Blobs
from store_api.blobs.reading import read_many
from store_api.db.engine import Database
from store_api.queue.claims import claim_all
from store_api.queue.leaving import Leaving, leaving

log = structlog.get_logger()

# A message goes with a claim up to this size: a call less for most, and a small answer still.
ENCLOSED_OCTETS: Final = 256 * 1024
# Of messages in one answer: hundreds of usual ones. They are in memory here and at the worker.
ANSWER_OCTETS: Final = 4 * 1024 * 1024


async def take(
    database: Database, blobs: Blobs, hostname: str, wanted: Sequence[ClaimDeliveries]
) -> list[Claim | None]:
    """In order; None: nothing can be had. Raises Unavailable: what was claimed stays so until its lease runs out."""
    claims = [None if isinstance(each, Conflict) else each for each in await claim_all(database, wanted)]
    enclosed = _enclosed(wanted, claims)
    try:
        messages = await _messages(database, blobs, hostname, list(dict.fromkeys(enclosed.values())))
    except StoreError as error:
        # Whoever fetches one is told why.
        log.info("messages_not_enclosed", error=str(error))
        return claims
    return [
        msgspec.structs.replace(claim, message=messages.get(enclosed[n])) if claim and n in enclosed else claim
        for n, claim in enumerate(claims)
    ]


def _enclosed(wanted: Sequence[ClaimDeliveries], claims: Sequence[Claim | None]) -> dict[int, UUID]:
    """Transmissions whose messages go along, by the claims' places; one to several domains goes with each of them."""
    chosen, left = {}, ANSWER_OCTETS
    for n, (each, claim) in enumerate(zip(wanted, claims, strict=True)):
        if claim and each.with_message and claim.octets <= min(left, ENCLOSED_OCTETS):
            left -= claim.octets
            chosen[n] = claim.transmission_id
    return chosen


async def _messages(
    database: Database, blobs: Blobs, hostname: str, transmission_ids: Sequence[UUID]
) -> Mapping[UUID, bytes]:
    """Those that there are, by transmission. Raises NotFound, Unavailable."""
    if not transmission_ids:
        return {}
    found = zip(transmission_ids, await leaving(database, transmission_ids), strict=True)
    there = [(each, message) for each, message in found if isinstance(message, Leaving)]
    # In the order in which they lie in the object storage: neighbours are read at once.
    there.sort(key=lambda each: (each[1].place.object_key, each[1].place.object_offset))
    bodies = await read_many(blobs, [message.place for _, message in there])
    return {
        transmission_id: await message.on_top(blobs, hostname, octets) + octets
        for (transmission_id, message), octets in zip(there, bodies, strict=True)
    }
