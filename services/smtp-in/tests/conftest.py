"""A smtp-in of one test, with settings of its own, beside the one that runs: another replica to the store."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from mail_runtime.store_client import StoreClient
from mail_testkit.running import RunningPostroom
from smtp_in.connection import Shared
from smtp_in.recipients import Recipients
from smtp_in.server import serve
from smtp_in.settings import Settings

START_TIMEOUT_S = 20.0
Replica = Callable[..., dict[str, int]]


@contextmanager
def running_replica(postroom: RunningPostroom, **changes: Any) -> Iterator[dict[str, int]]:
    """Its ports by name."""
    wanted: dict[str, Any] = {
        "service_token": postroom.service_token,
        "store_url": postroom.api_url,
        "smtp_port": 0,
        "submission_port": 0,
        "submissions_port": 0,
        "lmtp_port": 0,
        "tls_certificate": str(postroom.certificate),
        "tls_key": str(postroom.certificate.with_suffix(".key")),
        "plaintext_login_on_loopback": True,
        **changes,
    }
    settings = Settings(**wanted)
    ports: dict[str, int] = {}
    loop, up, down = asyncio.new_event_loop(), threading.Event(), asyncio.Event()

    async def run() -> None:
        async with StoreClient(settings.store_url, settings.service_token, settings.lookup_timeout_s) as store:
            shared = Shared(settings, store, Recipients(store))
            async with serve(settings, shared) as found:
                ports.update(found)
                up.set()
                await down.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(run()), name="replica")
    thread.start()
    try:
        assert up.wait(START_TIMEOUT_S)
        yield ports
    finally:
        loop.call_soon_threadsafe(down.set)
        thread.join(START_TIMEOUT_S)
        loop.close()


@pytest.fixture
def replica(postroom: RunningPostroom) -> Iterator[Replica]:
    """`replica(setting=value)` starts one and gives its ports."""
    with ExitStack() as stack:
        yield lambda **changes: stack.enter_context(running_replica(postroom, **changes))
