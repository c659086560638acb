"""`postroom queue`: mail on its way to other servers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import Annotated, Any, Final

import typer

from postroom_cli.command import CommandError, Context, command
from postroom_cli.rest import segment
from postroom_cli.values import given

_app: Final = typer.Typer(no_args_is_help=True, help="Mail on its way to other servers.")

Domain = Annotated[str | None, typer.Option(help="of the recipients")]
Recipient = Annotated[str | None, typer.Option(help="one recipient")]
Sender = Annotated[str | None, typer.Option(help="the reverse path")]
Account = Annotated[str | None, typer.Option(help="an account of ours that sent or forwarded it")]
Ids = Annotated[list[str] | None, typer.Argument(help="ids of deliveries, see list")]

_COLUMNS: Final = ("id", "state", "sender", "recipient", "attempts", "next_attempt_at", "last_reply")


class State(StrEnum):
    QUEUED = "queued"
    SENDING = "sending"
    DEFERRED = "deferred"
    HELD = "held"
    DELIVERED = "delivered"
    FAILED = "failed"
    CANCELLED = "cancelled"


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(_app, name="queue")


@command(_app, "list")
async def list_deliveries(
    context: Context,
    state: Annotated[State | None, typer.Option()] = None,
    domain: Domain = None,
    recipient: Recipient = None,
    sender: Sender = None,
    account: Account = None,
    most: Annotated[int, typer.Option("--limit", min=1, help="how many, newest first")] = 100,
) -> None:
    """Deliveries, newest first: one for each recipient."""
    query = given(state=state, domain=domain, recipient=recipient, sender=sender, account=account)
    rows: list[dict[str, Any]] = []
    async for row in context.rest.items("/queue", query):
        rows.append(row)
        if len(rows) == most:
            break
    context.out.rows(rows, _COLUMNS)


@command(_app, "show")
async def show_delivery(context: Context, delivery_id: Annotated[str, typer.Argument(help="see list")]) -> None:
    """One delivery with every attempt and the remote's words."""
    delivery = await context.rest.call("GET", f"/queue/{segment(delivery_id)}")
    if context.out.as_json:
        context.out.item(delivery)
        return
    history = delivery.pop("history")
    context.out.item(delivery)
    context.out.line("")
    context.out.rows(history, ("at", "result", "remote", "address", "tls", "status", "reply"))


def _action(name: str, done: str, help_text: str) -> Callable[..., Awaitable[None]]:
    async def act(
        context: Context,
        ids: Ids = None,
        domain: Domain = None,
        recipient: Recipient = None,
        sender: Sender = None,
        account: Account = None,
    ) -> None:
        chosen = given(ids=ids or None, domain=domain, recipient=recipient, sender=sender, account=account)
        if not chosen:
            raise CommandError("say which deliveries: ids, --domain, --recipient, --sender or --account")
        changed = (await context.rest.call("POST", f"/queue/{name}", chosen))["changed"]
        context.out.done(f"{changed} deliveries {done}", {"changed": changed})

    act.__doc__ = help_text
    return command(_app, name)(act)


retry = _action("retry", "are tried now", "Try now what waits for its next attempt.")
hold = _action("hold", "are held", "Hold: nothing is tried until they are released.")
release = _action("release", "are released", "Release what is held.")
cancel = _action("cancel", "are cancelled", "Cancel: they aren't sent, and not bounced.")
