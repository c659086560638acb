"""Transmissions that a frontend hands over together, for what a request costs; each is accepted or not by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

import structlog

from mail_runtime import tracing
from mail_runtime.contracts.errors import STATUS_OF, Refused, StoreError
from mail_runtime.contracts.store import Answer, Handed
from store_api.blobs import Octets
from store_api.ingest.coalescer import Coalescer
from store_api.ingest.submission import accept

log = structlog.get_logger()

# Ours: more than frontends send (`mail_runtime.handing_over`).
MAX_TOGETHER: Final = 1000

_ACCEPTED: Final = Answer(status=200)


async def accept_all(
    coalescer: Coalescer, handed: Sequence[Handed], messages: Sequence[Octets], *, max_octets: int
) -> list[Answer]:
    """What became of each, in order, when all are committed or refused. Raises Refused: the set makes no sense."""
    if not 0 < len(handed) == len(messages) <= MAX_TOGETHER:
        raise Refused(f"1 to {MAX_TOGETHER} transmissions are accepted together, each with its message")
    pairs = zip(handed, messages, strict=True)
    return await asyncio.gather(*(_answered(coalescer, one, octets, max_octets) for one, octets in pairs))


async def _answered(coalescer: Coalescer, handed: Handed, octets: Octets, max_octets: int) -> Answer:
    """In a task of its own: each has its trace."""
    try:
        await _accept(coalescer, handed, octets, max_octets)
    except StoreError as error:
        status = next((STATUS_OF[kind] for kind in type(error).__mro__ if kind in STATUS_OF), 503)
        if status == 503:
            log.warning(
                "unavailable", path="/internal/transmission-sets", error=str(error), cause=repr(error.__cause__)
            )
        return Answer(status=status, text=str(error))
    except Exception:
        log.exception("request_failed", path="/internal/transmission-sets")
        return Answer(status=500, text="an internal error; it is in the log")
    return _ACCEPTED


async def _accept(coalescer: Coalescer, handed: Handed, octets: Octets, max_octets: int) -> None:
    parent = tracing.parse(handed.traceparent)
    if parent is None:
        await accept(coalescer, handed.transmission, octets, max_octets=max_octets)
        return
    with tracing.span("store_api.post_transmission", parent, "server"):
        await accept(coalescer, handed.transmission, octets, max_octets=max_octets)
