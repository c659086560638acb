"""`postroom send`: a message from an account, without a mail client."""

from __future__ import annotations

import base64
import mimetypes
import sys
import uuid
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from postroom_cli.command import CommandError, Context, command
from postroom_cli.rest import segment
from postroom_cli.values import given

STANDARD_INPUT: Final = "-"

Recipients = Annotated[list[str] | None, typer.Option(help="repeatable")]


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    command(app, "send")(send)


async def send(
    context: Context,
    account: Annotated[str, typer.Argument(help="address of the account that sends")],
    to: Recipients = None,
    cc: Recipients = None,
    bcc: Recipients = None,
    sender: Annotated[str | None, typer.Option("--from", help="another address of the account")] = None,
    subject: Annotated[str, typer.Option()] = "",
    text: Annotated[str | None, typer.Option(help="what to say; left out, it is read from standard input")] = None,
    html: Annotated[Path | None, typer.Option(help="a file with the same as HTML", exists=True, dir_okay=False)] = None,
    attach: Annotated[list[Path] | None, typer.Option(help="repeatable", exists=True, dir_okay=False)] = None,
    raw: Annotated[str | None, typer.Option(help="a file with a whole message, or - for standard input")] = None,
    keep_copy: Annotated[bool, typer.Option("--copy/--no-copy", help="put a copy into Sent")] = True,
) -> None:
    """Send a message, and say to whom it went."""
    query: dict[str, Any] = {"keep_copy": str(keep_copy).lower()}
    # A call that is repeated because its answer was lost sends nothing twice.
    headers = {"Idempotency-Key": str(uuid.uuid4())}
    path = f"/accounts/{segment(account)}/send"
    if raw is not None:
        if to or cc or bcc or sender or html or attach or text is not None or subject:
            raise CommandError("--raw has all of it already: leave the other options out")
        octets = sys.stdin.buffer.read() if raw == STANDARD_INPUT else _read(Path(raw))
        headers["Content-Type"] = "message/rfc822"
        sent = await context.rest.call("POST", path, query=query, body=octets, headers=headers)
    else:
        message = {
            "subject": subject,
            "text": sys.stdin.read() if text is None and html is None else text,
            "attachments": [_attachment(file) for file in attach or []],
            **given(to=to, cc=cc, bcc=bcc, html=html and html.read_text()),
            **given(**{"from": sender}),
        }
        sent = await context.rest.call("POST", path, message, query=query, headers=headers)
    context.out.done(f"sent to {', '.join(sent['recipients'])}", sent)


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise CommandError(f"{file}: {error.strerror}") from error


def _attachment(file: Path) -> dict[str, str]:
    kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
    return {"name": file.name, "media_type": kind, "content": base64.b64encode(_read(file)).decode("ascii")}
