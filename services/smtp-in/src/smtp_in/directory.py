"""News of the directory, by which what is remembered of it is dropped."""

from __future__ import annotations

import structlog

from mail_runtime.bus import Bus, BusUnavailable, Msg
from mail_runtime.contracts.subjects import DIRECTORY_CHANGED
from smtp_in.recipients import Recipients

log = structlog.get_logger()


def watch_directory(bus: Bus, recipients: Recipients) -> None:
    """Forget recipients whenever the directory changes, and after each time when one couldn't hear of it."""
    is_subscribed = False

    async def changed(message: Msg) -> None:
        recipients.forget_all()

    async def connected() -> None:
        nonlocal is_subscribed
        recipients.forget_all()
        if is_subscribed:
            return
        try:
            await bus.subscribe(DIRECTORY_CHANGED, changed)
            is_subscribed = True
        except BusUnavailable as error:
            log.info("directory_unwatched", error=str(error))

    bus.on_connect(connected)
