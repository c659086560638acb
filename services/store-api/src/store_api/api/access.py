"""Who may call: the service token inside; outside bearer tokens, and accounts by their password.

All of these are `async`: FastAPI runs a plain function in a thread, which costs more than the whole call.
"""

from __future__ import annotations

import base64
import math
import secrets
from dataclasses import dataclass
from typing import Annotated, Final, Literal
from uuid import UUID

from fastapi import Depends, HTTPException, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBasic, HTTPBearer

from mail_runtime.contracts.errors import AuthenticationFailed, TooManyLogins
from store_api.accounts.accounts import find_account
from store_api.accounts.tokens import find_holder
from store_api.api.problems import Refusal
from store_api.api.rates import ACTORS, take_or_refuse
from store_api.store import Store

_BASIC: Final = 'Basic realm="Postroom", charset="UTF-8"'


class _Basic(HTTPBasic):
    """For the OpenAPI document: FastAPI's own reads names and passwords in ASCII only."""

    async def __call__(self, request: Request) -> None:  # type: ignore[override]
        return None


_basic = _Basic(auto_error=False, description="an account with its password, or an app password with scope api")
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


async def actor_of(request: Request) -> Actor:
    """Who calls, counted against its rate once per request. Raises HTTPException 401, Refusal 429, Unavailable."""
    actor: Actor | None = getattr(request.state, "actor", None)
    if actor is None:
        store = await store_of(request)
        scheme, value = _authorization(request)
        if scheme == "basic":
            actor = await _by_password(store, value, _peer(request))
        elif scheme == "bearer":
            actor = await _by_token(store, value)
        else:
            raise _unauthenticated()
        request.state.actor = actor
        request.state.rate = take_or_refuse(request.app.state.rates, ACTORS[actor.scope], actor.name)
    return actor


async def _by_token(store: Store, token: str) -> Actor:
    """The token of the settings, or one of the table."""
    if _is(token, store.settings.admin_token):
        return Actor("admin", "admin")
    if (found := await find_holder(store.database, token)) is None:
        raise _unauthenticated()
    name, holder = found
    return Actor(holder.scope, name, holder.domain_id, holder.account_id)


async def _by_password(store: Store, encoded: str, peer: str) -> Actor:
    """RFC 7617, in UTF-8: the account's password, or an app password for the API."""
    try:
        name, colon, password = base64.b64decode(encoded, validate=True).decode().partition(":")
        if not colon:
            raise _unauthenticated(_BASIC)
        principal = await store.logins.authenticate(name, password, "api", peer)
    except (ValueError, AuthenticationFailed) as error:
        raise _unauthenticated(_BASIC) from error
    except TooManyLogins as error:
        raise _too_many(error) from error
    return Actor("account", f"account {principal.address}", principal.domain_id, principal.account_id)


async def check_own_password(request: Request, address: str, password: str) -> None:
    """The account's own password, no app password. Raises AuthenticationFailed, Refusal 429, Unavailable."""
    store = await store_of(request)
    try:
        await store.logins.check_own_password(address, password, "api", _peer(request))
    except TooManyLogins as error:
        raise _too_many(error) from error


def _peer(request: Request) -> str:
    return request.client.host if request.client else ""


def _too_many(error: TooManyLogins) -> Refusal:
    return Refusal("rate-limited", str(error), {"Retry-After": str(math.ceil(error.retry_after_s))})


def _authorization(request: Request) -> tuple[str, str]:
    """Scheme, in lower case, and what follows it (RFC 9110 §11.6.2)."""
    scheme, _, value = request.headers.get("authorization", "").partition(" ")
    return scheme.lower(), value.strip()


def _is(given: str, token: str) -> bool:
    return secrets.compare_digest(given.encode("utf-8", "surrogateescape"), token.encode())


def _unauthenticated(challenge: str = "Bearer") -> HTTPException:
    what = "name or password is wrong" if challenge == _BASIC else "a valid token, or name and password, is needed"
    return HTTPException(401, what, {"WWW-Authenticate": challenge})


async def authenticated(
    request: Request,
    bearer: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
    basic: Annotated[None, Depends(_basic)],
) -> Actor:
    """Who calls. The schemes stand here for the OpenAPI document. Raises as `actor_of`."""
    return await actor_of(request)


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
