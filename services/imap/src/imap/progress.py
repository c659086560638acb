"""INPROGRESS (RFC 9585): clients that wait for a long command are told now and then that it goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Final, TypeVar

from imap.session import Session
from mail_proto.imap import commands as c
from mail_proto.imap.search_results import quoted

T = TypeVar("T")

# Those that wait for the store as a whole; others show that they go on by what they send.
LONG: Final = frozenset({c.Search, c.SearchMailboxes, c.Sort, c.Thread, c.Copy, c.Expunge})


async def reporting(session: Session, work: Awaitable[T]) -> T:
    """Do the work; every so many seconds the client is told. Raises what the work raises; TimeoutError, OSError."""
    task = asyncio.ensure_future(work)
    try:
        while not (await asyncio.wait({task}, timeout=session.shared.settings.progress_interval_s))[0]:
            await session.send(_still_at_it(session.tag))
            await session.flush()
        return task.result()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _still_at_it(tag: bytes) -> bytes:
    """How far it is, the store doesn't say. A tag may have `]` in it, which ends response codes."""
    shown = b"NIL" if b"]" in tag else quoted(tag)
    return b"* OK [INPROGRESS (%b NIL NIL)] still at it\r\n" % shown
