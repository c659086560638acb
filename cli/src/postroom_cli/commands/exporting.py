"""`postroom export`: the mail of an account into Maildirs or mbox files."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from postroom_cli.command import CommandError, Context, command
from postroom_cli.output import Advance
from postroom_cli.rest import segment
from postroom_cli.targets.maildir import MaildirTarget
from postroom_cli.targets.mbox import MboxTarget
from postroom_cli.targets.target import ExportedMessage, Target

CONCURRENCY: Final = 8


class Format(StrEnum):
    """How the mail is written."""

    MAILDIR = "maildir"
    MBOX = "mbox"


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    command(app, "export")(export_mail)


async def export_mail(
    context: Context,
    address: Annotated[str, typer.Argument(help="address of the account")],
    folder: Annotated[Path, typer.Argument(help="where to write; made when it isn't there")],
    kind: Annotated[Format, typer.Option("--format")] = Format.MAILDIR,
    mailbox: Annotated[list[str] | None, typer.Option(help="only this mailbox; repeatable")] = None,
) -> None:
    """Export an account with its mailboxes, flags and dates.

    What is there already stays: when it is stopped, run it again. An mbox is written once; remove it to have it anew.
    """
    path = f"/accounts/{segment(address)}/mailboxes"
    found = (await context.rest.call("GET", path))["items"]
    chosen = [box for box in found if not mailbox or box["name"] in mailbox]
    if mailbox and len(chosen) < len(set(mailbox)):
        missing = set(mailbox) - {box["name"] for box in chosen}
        raise CommandError(f"{address} has no mailbox {', '.join(sorted(missing))}")
    folder.mkdir(parents=True, exist_ok=True)
    written = 0
    with context.out.progress("exporting", sum(box["messages"] for box in chosen)) as advance:
        for box in chosen:
            advance(0, what=box["name"])
            opened: Target = (MaildirTarget if kind is Format.MAILDIR else MboxTarget)(folder, box["name"])
            with opened as target:
                written += await _export_mailbox(context, address, box["id"], target, advance)
    context.out.done(f"{written} messages written to {folder}", {"written": written, "mailboxes": len(chosen)})


async def _export_mailbox(context: Context, address: str, mailbox_id: str, target: Target, advance: Advance) -> int:
    """Fetch a few at a time, write them in order."""
    written = 0
    async for batch in _batches(context, address, mailbox_id):
        new = [message for message in batch if not target.has(message)]
        bodies = await asyncio.gather(*[_raw(context, address, message.id) for message in new])
        for message, octets in zip(new, bodies, strict=True):
            await asyncio.to_thread(target.write, message, octets)
        written += len(new)
        advance(len(batch))
    return written


async def _batches(context: Context, address: str, mailbox_id: str) -> AsyncIterator[list[ExportedMessage]]:
    batch: list[ExportedMessage] = []
    async for item in context.rest.items(f"/accounts/{segment(address)}/mailboxes/{mailbox_id}/messages"):
        batch.append(_message(item))
        if len(batch) == CONCURRENCY:
            yield batch
            batch = []
    yield batch


def _message(item: dict[str, Any]) -> ExportedMessage:
    return ExportedMessage(item["id"], item["uid"], tuple(item["flags"]), datetime.fromisoformat(item["received_at"]))


async def _raw(context: Context, address: str, message_id: str) -> bytes:
    return await context.rest.octets("GET", f"/accounts/{segment(address)}/messages/{message_id}/raw")
