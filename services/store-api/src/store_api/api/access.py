"""Who may call: bearer tokens, compared in constant time.

All of these are `async`: FastAPI runs a plain function in a thread, which costs more than the whole call.
"""

from __future__ import annotations

import secrets
from typing import Annotated

from fastapi import Depends, HTTPException, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from store_api.store import Store

_bearer = HTTPBearer(auto_error=False, description="the token in POSTROOM_ADMIN_TOKEN")


async def store_of(request: Request) -> Store:
    """The store that this application serves."""
    store: Store = request.app.state.store
    return store


TheStore = Annotated[Store, Depends(store_of)]
Credentials = Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]


async def require_admin(store: TheStore, credentials: Credentials) -> None:
    """Raises HTTPException 401."""
    _require(credentials, store.settings.admin_token)


async def require_service(store: TheStore, credentials: Credentials) -> None:
    """Raises HTTPException 401."""
    _require(credentials, store.settings.service_token)


def _require(credentials: HTTPAuthorizationCredentials | None, token: str) -> None:
    given = credentials.credentials if credentials else ""
    if not secrets.compare_digest(given.encode(), token.encode()):
        raise HTTPException(401, "a valid bearer token is needed", {"WWW-Authenticate": "Bearer"})
