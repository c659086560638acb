"""Keys of objects: when they were made, then chance, so that they sort by time and a directory holds 4 s of them."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Final
from uuid import UUID

from store_api.db.ids import uuid7

# A file that was being written when its process ended keeps the suffix.
TEMPORARY: Final = ".tmp"
_KEY: Final = re.compile(r"([0-9a-f]{6})/([0-9a-f]{3})/(\1\2[0-9a-f]{23})(?:\.tmp)?", re.ASCII)


def new_key() -> str:
    """The key of an object to be written now."""
    return _key(uuid7().hex)


def _key(identifier: str) -> str:
    return f"{identifier[:6]}/{identifier[6:9]}/{identifier}"


def made_at(key: str) -> float | None:
    """When the key was made, in seconds since the epoch (RFC 9562 §5.7). None: it isn't one of ours."""
    found = _KEY.fullmatch(key)
    return None if found is None else (UUID(found[3]).int >> 80) / 1000


def first_id(moment: datetime) -> UUID:
    """Sorts before every `uuid7` that is made from `moment` on, and behind those before."""
    return UUID(int=int(moment.timestamp() * 1000) << 80)


def first_key(moment: datetime) -> str:
    """Sorts before every key that is made from `moment` on, and behind those before."""
    return _key(first_id(moment).hex)
