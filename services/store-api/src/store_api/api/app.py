"""The application: a public face by FastAPI, and an internal one without it."""

from __future__ import annotations

from typing import Final

from starlette.types import ASGIApp
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from store_api.api.internal import routes as internal_routes
from store_api.api.internal.dispatch import InternalFace
from store_api.api.limits import BodyLimit
from store_api.api.measuring import Measured
from store_api.api.openapi import Described
from store_api.api.problems import add_handlers
from store_api.api.problems import router as problems_router
from store_api.api.rates import AddressRates, Rates
from store_api.api.v1 import routes as v1_routes
from store_api.store import Store

_DESCRIPTION: Final = """Mail as an API: domains, accounts, mailboxes, messages and the outbound queue.

Every call needs `Authorization: Bearer <token>`, or for an account's own data its name and password (HTTP Basic). Who
calls too often is told 429 with `Retry-After`; `RateLimit` says what is left. A POST with an `Idempotency-Key` may be
repeated: it is done once. Lists are paged: pass `next_cursor` as `cursor`.
Errors are `application/problem+json` (RFC 9457), told apart by `type`; 503 means: try again later, nothing was lost.
Parameters and fields that aren't documented are refused.
"""


def create_app(store: Store) -> Described:
    """The public face over a running store."""
    app = Described(title="Postroom", version="0.1.0", description=_DESCRIPTION, redoc_url=None)
    app.state.store = store
    app.state.rates = Rates(store.settings.rate_limit_scale)
    app.add_middleware(BodyLimit)
    app.add_middleware(AddressRates, rates=app.state.rates)
    add_handlers(app)
    app.include_router(v1_routes.router)
    app.include_router(problems_router)
    _make_ready(app)
    return app


def _make_ready(app: Described) -> None:
    """FastAPI prepares routes as it comes past them: a request would hold up all others for a third of a second."""
    for route in app.routes:
        route.matches({"type": "http", "method": "GET", "path": "/v1/none", "root_path": "", "headers": []})


def create_faces(store: Store) -> ASGIApp:
    """Both faces: the public one, and beside it what the frontends call."""
    proxies = store.settings.trusted_proxies
    public = ProxyHeadersMiddleware(create_app(store), proxies)  # type: ignore[arg-type]  # the same by another name
    faces = InternalFace(store, internal_routes.router, public)  # type: ignore[arg-type]
    return Measured(faces)
