"""Deliveries to other servers."""

from __future__ import annotations

from typing import Literal
from uuid import UUID

import msgspec

from mail_runtime.contracts.store.ingest import Notify, Ret, TlsWish


class RelayJob(msgspec.Struct, frozen=True, kw_only=True):
    """Payload on `relay.<lane>`: deliveries of one transmission to one domain that are due together.

    `sender_domain` is that of the reverse path, in lower case: routes may depend on it.
    """

    transmission_id: UUID
    domain: str
    delivery_ids: list[UUID]
    sender_domain: str = ""


class ClaimDeliveries(msgspec.Struct, frozen=True, kw_only=True):
    """Ask for the right to send. `lease` is made by the worker: it fences outcomes of earlier claims.

    `with_message`: the message may come with the claim.
    """

    delivery_ids: list[UUID]
    lease: UUID
    lease_s: int
    with_message: bool = False


class ClaimedDelivery(msgspec.Struct, frozen=True, kw_only=True):
    """`notify` and `orcpt` as in `DsnRequest`, to be passed on where the next hop offers DSN (RFC 3461 §5.2)."""

    id: UUID
    recipient: str
    attempts: int
    notify: list[Notify] | None = None
    orcpt: str = ""


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """Deliveries that are now the worker's; those that were done or are leased elsewhere are left out.

    `message`: as it leaves, where it was asked for and is small; None: it is to be fetched.
    """

    transmission_id: UUID
    reverse_path: str
    blob_id: UUID
    octets: int
    smtputf8: bool
    deliveries: list[ClaimedDelivery]
    ret: Ret = ""
    envid: str = ""
    tls_wish: TlsWish = ""
    message: bytes | None = None


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How one attempt ended. `reply` is the remote's words or our reason; `remote` the host that spoke.

    `address` is its IP address; `tls` says version and cipher (`TLSv1.3 TLS_AES_256_GCM_SHA384`), empty without TLS.
    `dsn_passed_on`: the next hop was given `notify` and reports success itself (RFC 3461 §5.2.2).
    """

    delivery_id: UUID
    result: Literal["delivered", "deferred", "failed"]
    reply: str
    remote: str = ""
    status: str = ""  # enhanced status code, "5.1.1" (RFC 3463)
    address: str = ""
    tls: str = ""
    dsn_passed_on: bool = False


class Outcomes(msgspec.Struct, frozen=True, kw_only=True):
    """A report. `traceparent`: the trace that it belongs to, where it goes with others."""

    lease: UUID
    outcomes: list[Outcome]
    traceparent: str = ""
