"""API tokens."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter
from pydantic import AwareDatetime, BaseModel, Field

from store_api.accounts.accounts import find_account
from store_api.accounts.tokens import Holder, Scope, create_token, list_tokens, revoke_token
from store_api.api.access import Actor, TheActor, TheStore
from store_api.api.idempotency import Idempotent
from store_api.api.problems import Refusal
from store_api.api.v1.common import Input, Limit
from store_api.api.v1.cursors import Cursor
from store_api.directory.domains import find_domain_id
from store_api.store import Store

router = APIRouter(route_class=Idempotent, prefix="/tokens", tags=["credentials"])

Name = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]+$")]


class NewToken(Input):
    """`domain` goes with scope `domain`, `account` with scope `account`; an account's own token may leave it out."""

    name: Name = Field(description="for people: what uses it", examples=["nightly export"])
    scope: Scope = Field(examples=["domain"])
    domain: str | None = Field(None, max_length=253, examples=["example.test"])
    account: str | None = Field(None, max_length=320, examples=[None])
    expires_at: AwareDatetime | None = Field(None, examples=["2027-01-01T00:00:00Z"])


class Token(BaseModel):
    id: UUID
    name: str
    scope: Literal["admin", "domain", "account"]
    domain: str | None
    account: str | None
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None = Field(description="to the minute")


class CreatedToken(Token):
    secret: str = Field(description="shown this once: send it as `Authorization: Bearer <secret>`")


class Tokens(BaseModel):
    items: list[Token]
    next_cursor: str | None = None


def _viewer(actor: Actor) -> Holder:
    return Holder(actor.scope, actor.domain_id, actor.account_id)


async def _holder(store: Store, actor: Actor, new: NewToken) -> Holder:
    """Raises Refusal: that scope isn't the caller's to give, or the body doesn't fit it. NotFound."""
    ranks = {"account": 0, "domain": 1, "admin": 2}
    if ranks[new.scope] > ranks[actor.scope]:
        raise Refusal("forbidden", f"a token of scope {actor.scope} can't make one of scope {new.scope}")
    if (new.domain is not None) != (new.scope == "domain"):
        raise Refusal("refused", "`domain` belongs to scope `domain`, and only there")
    if new.account is not None and new.scope != "account":
        raise Refusal("refused", "`account` belongs to scope `account`")
    if new.domain is not None:
        return Holder("domain", await find_domain_id(store.database, new.domain, within=actor.domain_id))
    if new.scope == "admin":
        return Holder("admin")
    if new.account is None and actor.account_id is None:
        raise Refusal("refused", "say which `account`")
    if new.account is None:
        return Holder("account", actor.domain_id, actor.account_id)
    row = await find_account(store.database, new.account, domain_id=actor.domain_id, account_id=actor.account_id)
    return Holder("account", row.domain_id, row.id)


def _values(row: Any) -> dict[str, Any]:
    return Token.model_validate(row, from_attributes=True).model_dump()


@router.post("", status_code=201)
async def post_token(store: TheStore, actor: TheActor, new: NewToken) -> CreatedToken:
    """Create a token. A domain's admin can for its domain and accounts, an account for itself."""
    holder = await _holder(store, actor, new)
    token_id, secret = await create_token(store.database, actor.name, holder, new.name, new.expires_at)
    (row,) = await list_tokens(store.database, Holder("admin"), token_id=token_id)
    return CreatedToken(**_values(row), secret=secret)


@router.get("")
async def get_tokens(store: TheStore, actor: TheActor, limit: Limit = 100, cursor: Cursor = None) -> Tokens:
    """The tokens that the caller could revoke, oldest first; without their secrets."""
    after = store.cursors.after("tokens", cursor, UUID)
    rows = await list_tokens(store.database, _viewer(actor), after=after, limit=limit + 1)
    rows, following = store.cursors.page("tokens", rows, limit, lambda row: row.id)
    return Tokens(items=[Token(**_values(row)) for row in rows], next_cursor=following)


@router.delete("/{token_id}", status_code=204)
async def delete_token(store: TheStore, actor: TheActor, token_id: UUID) -> None:
    """Revoke a token: the next call with it is refused."""
    await revoke_token(store.database, actor.name, _viewer(actor), token_id)
