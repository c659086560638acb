"""What the replicas of smtp-in count together."""

from __future__ import annotations

from typing import Any

import msgspec


class Stranger(msgspec.Struct, frozen=True, kw_only=True):
    """Who wants to deliver what to whom. The answer: seconds until it may come again; 0: it may come in."""

    network: str
    reverse_path: str
    recipient: str
    delay_s: float


class Spend(msgspec.Struct, frozen=True, kw_only=True):
    """So much of what `name` may do: `allowed` in `window_s`. The answer says whether there was as much left."""

    name: str
    cost: int
    allowed: int
    window_s: float


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """An event that a frontend saw; `type` begins with `dmarc.`."""

    type: str
    content: dict[str, Any]
