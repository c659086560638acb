"""Messages that a frontend hands over together, for what a request costs; each is accepted or not by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

import structlog

from mail_runtime import tracing
from mail_runtime.contracts.errors import STATUS_OF, Refused, StoreError
from mail_runtime.contracts.store import Answer, AppendAnswer, Handed, HandedAppend
from store_api.blobs import Octets
from store_api.ingest.coalescer import Coalescer
from store_api.ingest.submission import accept, append

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


async def append_each(
    coalescer: Coalescer, handed: Sequence[HandedAppend], messages: Sequence[Octets], *, max_octets: int
) -> list[AppendAnswer]:
    """As `accept_all`, for messages that go into mailboxes."""
    if not 0 < len(handed) == len(messages) <= MAX_TOGETHER:
        raise Refused(f"1 to {MAX_TOGETHER} messages are taken together, each with its mailbox")
    pairs = zip(handed, messages, strict=True)
    return await asyncio.gather(*(_appended(coalescer, one, octets, max_octets) for one, octets in pairs))


async def _appended(coalescer: Coalescer, one: HandedAppend, octets: Octets, max_octets: int) -> AppendAnswer:
    try:
        place = (one.account_id, one.mailbox_id, one.header)
        return AppendAnswer(status=200, appended=await append(coalescer, *place, octets, max_octets=max_octets))
    except Exception as error:
        status, text = _told(error, "/internal/append-sets")
        return AppendAnswer(status=status, text=text)


async def _answered(coalescer: Coalescer, handed: Handed, octets: Octets, max_octets: int) -> Answer:
    """In a task of its own: each has its trace."""
    try:
        await _accept(coalescer, handed, octets, max_octets)
    except Exception as error:
        status, text = _told(error, "/internal/transmission-sets")
        return Answer(status=status, text=text)
    return _ACCEPTED


def _told(error: Exception, path: str) -> tuple[int, str]:
    """What whoever handed it over gets to know, as from a request of its own."""
    if not isinstance(error, StoreError):
        log.error("request_failed", path=path, exc_info=error)
        return 500, "an internal error; it is in the log"
    status = next((STATUS_OF[kind] for kind in type(error).__mro__ if kind in STATUS_OF), 503)
    if status == 503:
        log.warning("unavailable", path=path, error=str(error), cause=repr(error.__cause__))
    return status, str(error)


async def _accept(coalescer: Coalescer, handed: Handed, octets: Octets, max_octets: int) -> None:
    parent = tracing.parse(handed.traceparent)
    if parent is None:
        await accept(coalescer, handed.transmission, octets, max_octets=max_octets)
        return
    with tracing.span("store_api.post_transmission", parent, "server"):
        await accept(coalescer, handed.transmission, octets, max_octets=max_octets)
