"""An imap of one test, with settings of its own, beside the one that runs: another replica to the store."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from typing import Any

import pytest

from imap.server import serve
from imap.session import Shared
from imap.settings import Settings
from imap.watches import Watches
from mail_runtime.bus import Bus
from mail_runtime.store_client import StoreClient
from mail_testkit.replicas import Replica, in_thread
from mail_testkit.running import RunningPostroom


@asynccontextmanager
async def served(postroom: RunningPostroom, **changes: Any) -> AsyncIterator[dict[str, int]]:
    """Its ports by name."""
    settings = Settings(
        service_token=postroom.service_token,
        store_url=postroom.api_url,
        nats_url=postroom.nats_url,
        imap_port=0,
        imaps_port=0,
        plaintext_login_on_loopback=True,
        **changes,
    )
    async with (
        StoreClient(settings.store_url, settings.service_token) as store,
        Bus(settings.nats_url, "imap-replica") as bus,
    ):
        shared = Shared.of(settings, store, Watches(bus, settling_s=0.0))
        await bus.wait_connected()
        async with serve(settings, shared) as ports:
            yield ports


@pytest.fixture
def replica(postroom: RunningPostroom) -> Iterator[Replica]:
    """`replica(setting=value)` starts one and gives its ports."""
    with ExitStack() as stack:
        yield lambda **changes: stack.enter_context(in_thread(served(postroom, **changes)))


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The last word of each path that a replica of this process asks for."""
    made: list[str] = []
    ask = StoreClient._call

    async def counted(
        store: StoreClient, method: str, path: str, body: bytes | None = None, timeout_s: float | None = None
    ) -> bytes:
        made.append(path.partition("?")[0].rpartition("/")[2])
        return await ask(store, method, path, body, timeout_s)

    monkeypatch.setattr(StoreClient, "_call", counted)
    return made
