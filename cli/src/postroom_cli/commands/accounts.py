"""`postroom accounts`: who has mail."""

from __future__ import annotations

import sys
from typing import Annotated, Any, Final

import typer

from postroom_cli.command import CommandError, Context, command
from postroom_cli.rest import segment
from postroom_cli.values import given, human, limits

_app: Final = typer.Typer(no_args_is_help=True, help="Who has mail.")

Address = Annotated[str, typer.Argument(help="its address")]
Password = Annotated[str | None, typer.Option(help="`-` reads it from standard input; asked for when left out")]
Octets = Annotated[str | None, typer.Option(help="500M, 2G; none: what the domain gives")]
Messages = Annotated[str | None, typer.Option(help="a number; none: what the domain gives")]


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(_app, name="accounts")


def _password(option: str | None) -> str:
    if option == "-":
        return sys.stdin.readline().rstrip("\n")
    if option is not None:
        return option
    asked: str = typer.prompt("password", hide_input=True, confirmation_prompt=True, err=True)
    return asked


@command(_app, "list")
async def list_accounts(
    context: Context, domain: Annotated[str | None, typer.Option(help="only of this domain")] = None
) -> None:
    """Accounts, by address."""
    rows = [row async for row in context.rest.items("/accounts", given(domain=domain))]
    if not context.out.as_json:
        rows = [_for_eyes(row) for row in rows]
    context.out.rows(rows, ["address", "state", "display_name", "messages", "size", "quota", "forward_to"])


def _for_eyes(row: dict[str, Any]) -> dict[str, Any]:
    quota = row["quota_octets"]
    return {
        **row,
        "messages": row["used"]["messages"],
        "size": human(row["used"]["octets"]),
        "quota": None if quota is None else human(quota),
    }


@command(_app, "show")
async def show_account(context: Context, address: Address) -> None:
    """One account."""
    context.out.item(await context.rest.call("GET", f"/accounts/{segment(address)}"))


@command(_app, "create")
async def create_account(
    context: Context,
    address: Address,
    password: Password = None,
    display_name: Annotated[str | None, typer.Option()] = None,
    quota_octets: Octets = None,
    quota_messages: Messages = None,
) -> None:
    """Create an account with its first mailboxes. Its domain must exist."""
    new = {
        "address": address,
        "password": _password(password),
        **given(display_name=display_name),
        **limits(quota_octets=quota_octets, quota_messages=quota_messages),
    }
    made = await context.rest.call("POST", "/accounts", new)
    context.out.done(f"{made['address']} was created", made)


@command(_app, "set")
async def set_account(
    context: Context,
    address: Address,
    display_name: Annotated[str | None, typer.Option()] = None,
    quota_octets: Octets = None,
    quota_messages: Messages = None,
    forward_to: Annotated[list[str] | None, typer.Option(help="repeatable; none ends it")] = None,
    forward_keeps_copy: Annotated[bool | None, typer.Option("--keep-copy/--no-keep-copy")] = None,
    detail_to_mailbox: Annotated[
        bool | None, typer.Option("--detail-to-mailbox/--no-detail-to-mailbox", help="address+work@ goes into `work`")
    ] = None,
    disabled: Annotated[bool | None, typer.Option("--disable/--enable")] = None,
) -> None:
    """Change an account; what isn't given stays."""
    changes = {
        **given(
            display_name=display_name,
            forward_keeps_copy=forward_keeps_copy,
            detail_to_mailbox=detail_to_mailbox,
            state=None if disabled is None else "disabled" if disabled else "active",
        ),
        **limits(quota_octets=quota_octets, quota_messages=quota_messages),
    }
    if forward_to:
        changes["forward_to"] = [] if forward_to == ["none"] else forward_to
    if not changes:
        raise CommandError("give what is to be changed: see --help")
    changed = await context.rest.call("PATCH", f"/accounts/{segment(address)}", changes)
    context.out.done(f"{changed['address']} was changed", changed)


@command(_app, "password")
async def set_password(context: Context, address: Address, password: Password = None) -> None:
    """Give an account another password; what was logged in with the old one must log in again."""
    await context.rest.call("PUT", f"/accounts/{segment(address)}/password", {"password": _password(password)})
    context.out.done(f"{address} has a new password")


@command(_app, "delete")
async def delete_account(
    context: Context, address: Address, yes: Annotated[bool, typer.Option("--yes", help="don't ask")] = False
) -> None:
    """Remove an account with all its mail."""
    if not yes:
        typer.confirm(f"remove {address} with all its mail, for good?", abort=True, err=True)
    await context.rest.call("DELETE", f"/accounts/{segment(address)}")
    context.out.done(f"{address} was removed")
