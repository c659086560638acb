"""Who may call: the service token inside, bearer tokens outside; compared in constant time.

All of these are `async`: FastAPI runs a plain function in a thread, which costs more than the whole call.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Annotated, Literal
from uuid import UUID

from fastapi import Depends, HTTPException, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from store_api.accounts.accounts import find_account
from store_api.accounts.tokens import PREFIX, find_holder
from store_api.store import Store

_bearer = HTTPBearer(auto_error=False, description="a token of /v1/tokens, or the one in POSTROOM_ADMIN_TOKEN")


@dataclass(frozen=True, slots=True)
class Actor:
    """Who calls the public API: the whole system's admin, a domain's, or an account for itself.

    `name` says so in the audit log and to the rate limits. What lies outside of the scope answers 404, as if it
    weren't there; what nobody of that scope may do answers 403. An account's actor has its `domain_id` too.
    """

    scope: Literal["admin", "domain", "account"]
    name: str
    domain_id: UUID | None = None
    account_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class OwnAccount:
    """The account in the path, which the caller may act for."""

    id: UUID
    address: str
    domain_id: UUID


async def store_of(request: Request) -> Store:
    """The store that this application serves."""
    store: Store = request.app.state.store
    return store


TheStore = Annotated[Store, Depends(store_of)]
Credentials = Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]


async def authenticated(store: TheStore, credentials: Credentials) -> Actor:
    """Who calls: the token of the settings, or one of the table. Raises HTTPException 401."""
    if credentials is not None and credentials.credentials.startswith(PREFIX):
        found = await find_holder(store.database, credentials.credentials)
        if found is not None:
            name, holder = found
            return Actor(holder.scope, name, holder.domain_id, holder.account_id)
    _require(credentials, store.settings.admin_token)
    return Actor("admin", "admin")


TheActor = Annotated[Actor, Depends(authenticated)]


async def require_admin(actor: TheActor) -> Actor:
    """Raises HTTPException 403: only the system's admin may."""
    if actor.scope != "admin":
        raise HTTPException(403, "only an admin token may do this")
    return actor


async def require_domain_admin(actor: TheActor) -> Actor:
    """An admin, or the admin of some domain: what it may see is filtered by `actor.domain_id`.

    Raises HTTPException 403: an account's token can't administer.
    """
    if actor.scope == "account":
        raise HTTPException(403, "only an admin's or a domain admin's token may do this")
    return actor


Admin = Annotated[Actor, Depends(require_admin)]
DomainAdmin = Annotated[Actor, Depends(require_domain_admin)]


async def own_account(store: TheStore, actor: TheActor, address: str) -> OwnAccount:
    """The account named in the path. Raises NotFound: there is none, or it isn't the caller's to see."""
    account = await find_account(store.database, address, domain_id=actor.domain_id, account_id=actor.account_id)
    return OwnAccount(account.id, account.address, account.domain_id)


TheAccount = Annotated[OwnAccount, Depends(own_account)]


def _require(credentials: HTTPAuthorizationCredentials | None, token: str) -> None:
    given = credentials.credentials if credentials else ""
    if not secrets.compare_digest(given.encode(), token.encode()):
        raise HTTPException(401, "a valid bearer token is needed", {"WWW-Authenticate": "Bearer"})
