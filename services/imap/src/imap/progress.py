"""INPROGRESS (RFC 9585): clients that wait for a long command are told now and then that it goes on, and how far."""

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
    reports: list[asyncio.Task[None]] = []
    interval_s = session.shared.settings.progress_interval_s
    loop = asyncio.get_running_loop()
    # As a rule the work is done before there is anything to report: a timer costs less than a task.
    timer = loop.call_later(interval_s, lambda: reports.append(loop.create_task(_report(session, interval_s))))
    try:
        return await work
    finally:
        timer.cancel()
        for task in reports:
            task.cancel()
            await asyncio.wait({task})
            if not task.cancelled():
                task.result()


async def _report(session: Session, interval_s: float) -> None:
    """Until cancelled. Raises TimeoutError, OSError: the client doesn't read."""
    while True:
        await session.send(_still_at_it(session.tag, session.progress))
        await session.flush()
        await asyncio.sleep(interval_s)


def _still_at_it(tag: bytes, progress: tuple[int, int] | None) -> bytes:
    """As far as it is known: the store doesn't say. A tag may have `]` in it, which ends response codes."""
    shown = b"NIL" if b"]" in tag else quoted(tag)
    done = b"NIL NIL" if progress is None else b"%d %d" % progress
    return b"* OK [INPROGRESS (%b %b)] still at it\r\n" % (shown, done)
