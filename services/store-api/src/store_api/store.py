"""The parts of a running store, as the routes use them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from mail_runtime.contracts.store import Outcomes
from store_api.accounts.passwords import Passwords
from store_api.api.v1.cursors import Cursors
from store_api.blobs.blobs import Blobs
from store_api.db.engine import Database, run
from store_api.directory.removal import Removal
from store_api.events.notifier import Notifier
from store_api.events.publisher import Publisher
from store_api.ingest.coalescer import Coalescer
from store_api.ingest.incoming import Incoming, Stored
from store_api.queue.dispatcher import Dispatcher
from store_api.queue.outcomes import Retries, report
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
    passwords: Passwords = field(default_factory=Passwords)
    coalescer: Coalescer = field(init=False)
    retries: Retries = field(init=False)
    cursors: Cursors = field(init=False)
    removal: Removal = field(init=False)

    def __post_init__(self) -> None:
        self.coalescer = Coalescer(self.database, self.blobs, self._committed)
        self.retries = Retries(self.settings.retry_first_s, self.settings.queue_lifetime_s, self.settings.hostname)
        self.dispatcher.report = self.report
        self.removal = Removal(self.database)
        self.cursors = Cursors(self.settings.service_token)

    async def report(self, outcomes: Outcomes) -> None:
        """How attempts ended. Raises Conflict: the lease was lost."""
        await self.notify(await report(self.database, self.blobs, self.retries, outcomes))
        self.dispatcher.wake()

    async def ready(self) -> None:
        """Raises Unavailable: the database or the object storage doesn't answer."""
        async with self.database.transaction() as connection:
            await run(connection, "SELECT 1 FROM domain LIMIT 1")
        await self.blobs.check()

    async def _committed(self, messages: Sequence[Incoming], results: list[list[Stored]]) -> None:
        await self.notify(rows for stored in results for rows in stored)
        if any(incoming.outbound and incoming.outbound.recipients for incoming in messages):
            self.dispatcher.wake()

    async def notify(self, stored: Iterable[Stored]) -> None:
        """Tell who watches these mailboxes, once for each."""
        newest = {(row.account_id, row.mailbox_id): row.modseq for row in stored}
        for (account_id, mailbox_id), modseq in newest.items():
            await self.notifier.mailbox_changed(account_id, mailbox_id, modseq)

    async def close(self) -> None:
        self.passwords.close()
        self.blobs.close()
        await self.database.close()
