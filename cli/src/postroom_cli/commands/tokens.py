"""`postroom tokens`: secrets that act for an admin, a domain's admin, or an account."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Final

import typer

from postroom_cli.command import CommandError, Context, command
from postroom_cli.rest import segment
from postroom_cli.values import given

_app: Final = typer.Typer(no_args_is_help=True, help="Tokens of the REST API.")


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(_app, name="tokens")


@command(_app, "list")
async def list_tokens(context: Context) -> None:
    """Tokens that you may revoke, without their secrets."""
    rows = [row async for row in context.rest.items("/tokens")]
    context.out.rows(rows, ["id", "name", "scope", "domain", "account", "expires_at", "last_used_at"])


@command(_app, "create")
async def create_token(
    context: Context,
    name: Annotated[str, typer.Argument(help="what uses it")],
    domain: Annotated[str | None, typer.Option(help="acts as the admin of this domain")] = None,
    account: Annotated[str | None, typer.Option(help="acts for this account")] = None,
    admin: Annotated[bool, typer.Option("--admin", help="acts as the admin of everything")] = False,
    days: Annotated[int | None, typer.Option(min=1, help="how long it is valid; for ever when left out")] = None,
) -> None:
    """Create a token. Its secret is shown once."""
    if [domain is not None, account is not None, admin].count(True) != 1:
        raise CommandError("say for whom it acts: one of --domain, --account and --admin")
    scope = "admin" if admin else "domain" if domain else "account"
    expires = None if days is None else (datetime.now(UTC) + timedelta(days=days)).isoformat()
    new = {"name": name, "scope": scope, **given(domain=domain, account=account, expires_at=expires)}
    made = await context.rest.call("POST", "/tokens", new)
    if context.out.as_json:
        context.out.item(made)
    else:
        context.out.note("the secret is shown this once:")
        context.out.line(made["secret"])


@command(_app, "revoke")
async def revoke_token(context: Context, token_id: Annotated[str, typer.Argument(help="its id, see list")]) -> None:
    """Revoke a token: the next call with it is refused."""
    await context.rest.call("DELETE", f"/tokens/{segment(token_id)}")
    context.out.done(f"{token_id} was revoked")
