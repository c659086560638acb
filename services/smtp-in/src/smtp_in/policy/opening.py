"""The policy that settings describe, with what it needs at work."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from mail_runtime.background import keep_running
from mail_runtime.store_client import StoreClient
from smtp_in.checks.dns import Dns
from smtp_in.policy.clamav import Clamav
from smtp_in.policy.filters import Filter
from smtp_in.policy.limits import ClientLimits
from smtp_in.policy.reports import Reports
from smtp_in.policy.rspamd import Rspamd
from smtp_in.policy.screen import Policy
from smtp_in.policy.senders import SenderChecks
from smtp_in.policy.settings import PolicySettings


@asynccontextmanager
async def policy_of(settings: PolicySettings, hostname: str, store: StoreClient) -> AsyncIterator[Policy]:
    """At work while the block runs."""
    async with AsyncExitStack() as stack:
        filters: list[Filter] = []
        if settings.rspamd_url:
            rspamd = Rspamd(settings.rspamd_url, settings.rspamd_password, settings.filter_timeout_s)
            filters.append(await stack.enter_async_context(rspamd))
        if settings.clamav:
            filters.append(Clamav(settings.clamav, settings.filter_timeout_s))
        dns, reports = Dns(settings.dns_server, settings.dns_timeout_s), Reports(store)
        telling = asyncio.get_running_loop().create_task(keep_running("dmarc-reports", reports.run))
        try:
            yield Policy(
                settings,
                hostname,
                store,
                dns,
                ClientLimits(settings.client_connections, settings.client_messages_per_minute),
                SenderChecks(settings, hostname, dns, reports),
                reports,
                tuple(filters),
            )
        finally:
            telling.cancel()
            await asyncio.gather(telling, return_exceptions=True)
