"""The parts of a running store, as the routes use them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from uuid import UUID

from mail_proto.srs import Srs
from mail_runtime.contracts.store import Claim, ClaimDeliveries, Outcomes, Resolution
from mail_runtime.contracts.store.screening import Spend
from mail_runtime.together import Together
from store_api.accounts.issuers import Issuers
from store_api.accounts.logins import Logins
from store_api.accounts.passwords import Passwords
from store_api.api.v1.cursors import Cursors
from store_api.blobs.blobs import Blobs
from store_api.blobs.collector import Collector, Windows
from store_api.db.engine import Database, run
from store_api.directory.questions import Question, recipients
from store_api.directory.removal import Removal
from store_api.events.notifier import Changed, Notifier
from store_api.events.publisher import Publisher
from store_api.events.streaming import EventStreams
from store_api.events.telling import Teller
from store_api.ingest.coalescer import Coalescer
from store_api.ingest.incoming import Group, Stored
from store_api.ingest.planning import Rules
from store_api.mailboxes.kept import KeptMailboxes
from store_api.mailboxes.retention import Retention
from store_api.queue.claims import claim_all
from store_api.queue.dispatcher import Dispatcher
from store_api.queue.leaving import Leaving, leaving
from store_api.queue.outcomes import Reporting
from store_api.queue.overdue import expire, tell_delays
from store_api.queue.retries import Retries
from store_api.screening.allowances import spend
from store_api.search.indexer import Indexer
from store_api.settings import Settings


@dataclass(slots=True)
class Store:
    """Everything a request can need; one per process."""

    settings: Settings
    database: Database
    blobs: Blobs
    notifier: Notifier
    dispatcher: Dispatcher
    publisher: Publisher
    indexer: Indexer
    passwords: Passwords = field(init=False)
    logins: Logins = field(init=False)
    kept_mailboxes: KeptMailboxes = field(default_factory=KeptMailboxes)
    coalescer: Coalescer = field(init=False)
    claiming: Together[ClaimDeliveries, Claim] = field(init=False)
    leaving: Together[UUID, Leaving] = field(init=False)
    resolving: Together[Question, list[Resolution]] = field(init=False)
    spending: Together[Spend, bool] = field(init=False)
    reporting: Reporting = field(init=False)
    rules: Rules = field(init=False)
    cursors: Cursors = field(init=False)
    streams: EventStreams = field(init=False)
    teller: Teller = field(init=False)
    removal: Removal = field(init=False)
    retention: Retention = field(init=False)
    collector: Collector = field(init=False)

    def __post_init__(self) -> None:
        self.passwords = Passwords(self.settings.service_token)
        issuers = Issuers(self.settings.issuer_urls, self.settings.oauth_audience)
        self.logins = Logins(self.database, self.passwords, issuers)
        secret = self.settings.srs_secret or f"srs {self.settings.service_token}"
        self.rules = Rules(
            Srs(secret.encode()),
            self.settings.hostname,
            self.settings.queue_lifetime_s,
            self.settings.queue_delay_notice_s,
        )
        self.coalescer = Coalescer(self.database, self.blobs, self.rules, self.committed)
        self.indexer.give_way = self.coalescer.pace.give_way
        self.claiming = Together(partial(claim_all, self.database))
        self.leaving = Together(partial(leaving, self.database))
        self.resolving = Together(partial(recipients, self.database, self.rules.srs))
        self.spending = Together(partial(spend, self.database))
        retries = Retries(self.settings.retry_first_s)
        self.reporting = Reporting(self.database, self.blobs, retries, self.rules)
        self.dispatcher.report = self.report
        self.removal = Removal(self.database)
        self.retention = Retention(self.database, self.notifier, self.settings.tombstone_days)
        self.collector = Collector(
            self.blobs, Windows(self.settings.undelete_days * 86_400, self.settings.blob_grace_hours * 3600)
        )
        self.streams = EventStreams(self.publisher.bus)
        self.teller = Teller(self.database, private=self.settings.webhooks_private)
        self.cursors = Cursors(self.settings.service_token)

    async def report(self, outcomes: Outcomes) -> None:
        """How attempts ended. Raises Conflict: the lease was lost."""
        group, stored = await self.reporting.report(outcomes)
        await self.committed([group], [stored])
        self.dispatcher.wake()

    async def report_overdue(self) -> None:
        """Tell senders of delays, end what is too old. Raises Unavailable."""
        for group, stored in await tell_delays(self.database, self.blobs, self.rules):
            await self.committed([group], [stored])
        await expire(self.database, self.report)

    async def ready(self) -> None:
        """Raises Unavailable: the database or the object storage doesn't answer."""
        async with self.database.transaction() as connection:
            await run(connection, "SELECT 1 FROM domain LIMIT 1")
        await self.blobs.check()

    async def committed(self, groups: Sequence[Group], stored: Iterable[Iterable[Stored]]) -> None:
        """Tell who watches that these messages were stored just now."""
        await self.notify(row for rows in stored for row in rows)
        if any(incoming.outbound and incoming.outbound.recipients for group in groups for incoming in group):
            self.dispatcher.wake()

    async def notify(self, stored: Iterable[Stored]) -> None:
        """Tell who watches these mailboxes, once for each."""
        changed = Changed()
        for row in stored:
            changed.note(row.account_id, row.mailbox_id, row.modseq)
        await self.notifier.announce(changed)

    async def close(self) -> None:
        self.passwords.close()
        self.blobs.close()
        await self.database.close()
