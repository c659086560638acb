"""A pop3 of one test, with settings of its own, beside the one that runs: another replica to the store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from typing import Any

import pytest

from mail_runtime.store_client import StoreClient
from mail_testkit.replicas import Replica, in_thread
from mail_testkit.running import RunningPostroom
from pop3.locks import Locks
from pop3.server import serve
from pop3.settings import Settings
from pop3.shared import Shared


@asynccontextmanager
async def served(postroom: RunningPostroom, **changes: Any) -> AsyncIterator[dict[str, int]]:
    """Its ports by name."""
    settings = Settings(
        service_token=postroom.service_token,
        store_url=postroom.api_url,
        pop3_port=0,
        pop3s_port=0,
        tls_certificate=str(postroom.certificate),
        tls_key=str(postroom.certificate.with_suffix(".key")),
        plaintext_login_on_loopback=True,
        **changes,
    )
    async with StoreClient(settings.store_url, settings.service_token) as store:
        locks = Locks(store)
        keeping = asyncio.create_task(locks.run())
        async with serve(settings, Shared(settings, store, locks)) as ports:
            yield ports
        keeping.cancel()


@pytest.fixture
def replica(postroom: RunningPostroom) -> Iterator[Replica]:
    """`replica(setting=value)` starts one and gives its ports."""
    with ExitStack() as stack:
        yield lambda **changes: stack.enter_context(in_thread(served(postroom, **changes)))
