"""`postroom import`: mail from files or from another server into an account."""

from __future__ import annotations

import asyncio
import hashlib
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Annotated, Any, Final

import typer

from postroom_cli.command import CommandError, Context, command
from postroom_cli.journal import Journal, journal_path
from postroom_cli.output import Advance
from postroom_cli.rest import RestError, segment
from postroom_cli.sources.choice import Format, opened
from postroom_cli.sources.source import Source, SourceMessage

CONCURRENCY: Final = 8
WAITING: Final = 32
# Names one message of one source for the API, the same at each run (RFC 9562 §5.5).
_NAMESPACE: Final = uuid.UUID("6f4d4e3c-3b61-5d0f-9a53-6d41d9b6c0de")
_REFUSED: Final = frozenset({400, 413, 422})


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    command(app, "import")(import_mail)


async def import_mail(
    context: Context,
    source: Annotated[str, typer.Argument(help="mbox, Maildir, folder of .eml files, or imaps://user@host")],
    to: Annotated[str, typer.Option("--to", help="address of the account")],
    into: Annotated[str, typer.Option(help="mailbox of messages that come without one")] = "INBOX",
    kind: Annotated[Format, typer.Option("--format", help="what the source is")] = Format.AUTO,
    rename: Annotated[list[str] | None, typer.Option(help="OLD=NEW: another name for a mailbox; repeatable")] = None,
    password: Annotated[
        str, typer.Option(envvar="POSTROOM_SOURCE_PASSWORD", show_envvar=True, help="of the other IMAP server")
    ] = "",
    trusted: Annotated[
        str | None, typer.Option("--ca", help="certificates that the other server is trusted by")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="count, and change nothing")] = False,
) -> None:
    """Import mail into an account, with its mailboxes, flags and dates.

    What was imported before is left out: when it is stopped, run it again. The source isn't changed.
    """
    if source.startswith(("imap://", "imaps://")) and not password:
        password = typer.prompt("password of the other server", hide_input=True, err=True)
    names = _renames(rename or [])
    with (
        opened(source, kind, into, password, trusted) as mail,
        Journal(journal_path(context.rest.url, to, source)) as journal,
    ):
        work = _Import(context, to, names, journal)
        total = await asyncio.to_thread(mail.count)
        if dry_run:
            context.out.done(f"{total} messages would be imported into {to}", {"messages": total})
            return
        with context.out.progress("importing", total) as advance:
            await work.run(mail, advance)
    work.report()


def _renames(pairs: list[str]) -> dict[str, str]:
    renames = dict(pair.partition("=")[::2] for pair in pairs)
    if not all(renames) or not all(renames.values()):
        raise CommandError("--rename needs OLD=NEW")
    return renames


@dataclass
class _Import:
    context: Context
    address: str
    renames: dict[str, str]
    journal: Journal
    imported: int = 0
    skipped: int = 0
    refused: list[dict[str, str]] = field(default_factory=list)
    _mailboxes: dict[str, str] = field(default_factory=dict)
    _creating: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def run(self, source: Source, advance: Advance) -> None:
        """Read in a thread, send concurrently. Raises RestError, SourceFault; what was sent is in the journal."""
        path = f"/accounts/{segment(self.address)}/mailboxes"
        found = await self.context.rest.call("GET", path)
        self._mailboxes = {mailbox["name"]: mailbox["id"] for mailbox in found["items"]}
        waiting: asyncio.Queue[SourceMessage | None] = asyncio.Queue(WAITING)
        async with asyncio.TaskGroup() as tasks:
            for _ in range(CONCURRENCY):
                tasks.create_task(self._send_all(waiting, advance))
            with _in_thread(source.messages, waiting) as ended:
                await ended
            for _ in range(CONCURRENCY):
                await waiting.put(None)

    async def _send_all(self, waiting: asyncio.Queue[SourceMessage | None], advance: Advance) -> None:
        while (message := await waiting.get()) is not None:
            if message.key in self.journal:
                self.skipped += 1
            else:
                await self._send(message)
            advance(what=message.mailbox)

    async def _send(self, message: SourceMessage) -> None:
        octets = await asyncio.to_thread(message.read)
        mailbox_id = await self._mailbox_id(self.renames.get(message.mailbox, message.mailbox))
        query: dict[str, str] = {"flags": " ".join(message.flags)}
        if message.received_at is not None:
            query["received_at"] = message.received_at.isoformat()
        name = hashlib.sha256(f"{self.address}\0{message.key}\0".encode() + octets).hexdigest()
        try:
            await self.context.rest.octets(
                "POST",
                f"/accounts/{segment(self.address)}/mailboxes/{mailbox_id}/messages",
                query=query,
                body=octets,
                headers={"Content-Type": "message/rfc822", "Idempotency-Key": str(uuid.uuid5(_NAMESPACE, name))},
            )
        except RestError as error:
            if error.status not in _REFUSED:
                raise
            self.refused.append({"message": message.key, "why": str(error)})
            return
        self.journal.add(message.key)
        self.imported += 1

    async def _mailbox_id(self, name: str) -> str:
        name = "INBOX" if name.upper() == "INBOX" else name
        async with self._creating:
            if name not in self._mailboxes:
                path = f"/accounts/{segment(self.address)}/mailboxes"
                made = await self.context.rest.call("POST", path, {"name": name})
                self._mailboxes[name] = made["id"]
            return self._mailboxes[name]

    def report(self) -> None:
        """Say what was done. Raises CommandError: some messages were refused."""
        counts: dict[str, Any] = {"imported": self.imported, "skipped": self.skipped, "refused": self.refused}
        before = f", {self.skipped} were there from an earlier run" if self.skipped else ""
        self.context.out.done(f"{self.imported} messages imported into {self.address}{before}", counts)
        if self.refused:
            shown = "\n".join(f"  {one['message']}: {one['why']}" for one in self.refused[:20])
            raise CommandError(f"{len(self.refused)} messages were refused:\n{shown}")


@contextmanager
def _in_thread(
    read: Callable[[], Iterator[SourceMessage]], waiting: asyncio.Queue[SourceMessage | None]
) -> Iterator[asyncio.Future[None]]:
    """Put what the iterator gives into the queue, from a thread; the future ends with it, or with its error."""
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[None] = loop.create_future()
    stopping = threading.Event()

    def finish(error: BaseException | None) -> None:
        if ended.cancelled():
            return
        if error is None:
            ended.set_result(None)
        else:
            ended.set_exception(error)

    def work() -> None:
        error: BaseException | None = None
        try:
            for message in read():
                putting = asyncio.run_coroutine_threadsafe(waiting.put(message), loop)
                while not stopping.is_set():
                    try:
                        putting.result(0.2)
                        break
                    except TimeoutError:
                        continue
                if stopping.is_set():
                    putting.cancel()
                    return
        except Exception as raised:
            error = raised
        loop.call_soon_threadsafe(finish, error)

    thread = threading.Thread(target=work, name="source", daemon=True)
    thread.start()
    try:
        yield ended
    finally:
        stopping.set()
