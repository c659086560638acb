"""Messages as they leave: where they are, and the keys that sign them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from mail_runtime.contracts.errors import NotFound
from store_api.blobs.blobs import Blobs
from store_api.blobs.places import Place
from store_api.db.engine import Database
from store_api.dkim.signing import keys_for, signatures
from store_api.messages.contents import transmission_places


@dataclass(frozen=True, slots=True)
class Leaving:
    """A message, and rows of the keys of its domain."""

    place: Place
    keys: Sequence[Any]

    async def on_top(self, blobs: Blobs, hostname: str, octets: bytes | None = None) -> bytes:
        """The signatures to be put in front of it; `octets`: it is here already. Raises NotFound, Unavailable."""
        if not self.keys:
            return b""
        return await signatures(blobs, self.place if octets is None else octets, self.keys, hostname)


async def leaving(database: Database, transmission_ids: Sequence[UUID]) -> list[Leaving | NotFound]:
    """Those of many transmissions in two statements, in order. Raises Unavailable."""
    places = await transmission_places(database, transmission_ids)
    keys = await keys_for(database, transmission_ids)
    return [
        Leaving(places[each], keys.get(each, ())) if each in places else NotFound("there is no such transmission")
        for each in transmission_ids
    ]
