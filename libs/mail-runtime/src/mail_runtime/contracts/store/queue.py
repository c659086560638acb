"""Deliveries to other servers."""

from __future__ import annotations

from typing import Literal
from uuid import UUID

import msgspec


class RelayJob(msgspec.Struct, frozen=True, kw_only=True):
    """Payload on `relay.<lane>`: deliveries of one transmission to one domain that are due together."""

    transmission_id: UUID
    domain: str
    delivery_ids: list[UUID]


class ClaimDeliveries(msgspec.Struct, frozen=True, kw_only=True):
    """Ask for the right to send. `lease` is made by the worker: it fences outcomes of earlier claims."""

    delivery_ids: list[UUID]
    lease: UUID
    lease_s: int


class ClaimedDelivery(msgspec.Struct, frozen=True, kw_only=True):
    id: UUID
    recipient: str
    attempts: int


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """Deliveries that are now the worker's; those that were done or are leased elsewhere are left out."""

    transmission_id: UUID
    reverse_path: str
    blob_id: UUID
    octets: int
    smtputf8: bool
    deliveries: list[ClaimedDelivery]


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How one attempt ended. `reply` is the remote's words or our reason; `remote` the host that spoke."""

    delivery_id: UUID
    result: Literal["delivered", "deferred", "failed"]
    reply: str
    remote: str = ""
    status: str = ""  # enhanced status code, "5.1.1" (RFC 3463)


class Outcomes(msgspec.Struct, frozen=True, kw_only=True):
    lease: UUID
    outcomes: list[Outcome]
