"""A smtp-in of one test, with settings of its own, beside the one that runs: another replica to the store."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from typing import Any

import pytest

from mail_runtime.store_client import StoreClient
from mail_testkit.replicas import Replica, in_thread
from mail_testkit.running import RunningPostroom
from smtp_in.connection import Shared
from smtp_in.recipients import Recipients
from smtp_in.server import serve
from smtp_in.settings import Settings


@asynccontextmanager
async def served(postroom: RunningPostroom, **changes: Any) -> AsyncIterator[dict[str, int]]:
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
    async with (
        StoreClient(settings.store_url, settings.service_token, settings.lookup_timeout_s) as store,
        serve(settings, Shared(settings, store, Recipients(store))) as ports,
    ):
        yield ports


@pytest.fixture
def replica(postroom: RunningPostroom) -> Iterator[Replica]:
    """`replica(setting=value)` starts one and gives its ports."""
    with ExitStack() as stack:
        yield lambda **changes: stack.enter_context(in_thread(served(postroom, **changes)))
