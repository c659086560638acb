"""The OpenAPI document: what FastAPI derives from the routes, and the problems that the form of each route implies.

One place, so that no route can forget to document an answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from threading import Lock
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.dependencies.models import Dependant
from fastapi.routing import iter_route_contexts
from starlette.types import Receive, Scope, Send

from store_api.api.problems import KINDS, Refusal, example

_PROBLEM: Final = {"$ref": "#/components/schemas/Problem"}
_METHODS: Final = frozenset({"get", "put", "post", "delete", "patch", "head"})


def _implied(path: str, method: str, operation: dict[str, Any]) -> Iterator[str]:
    """Kinds of problems that any route of this form can answer with."""
    places = {(parameter["in"], parameter["name"].lower()) for parameter in operation.get("parameters", [])}
    if path.startswith("/v1/"):
        yield from ("unauthenticated", "forbidden", "invalid-request", "refused", "rate-limited", "unavailable")
    if any(place == "path" for place, _ in places) or ("query", "domain") in places or "requestBody" in operation:
        yield "not-found"
    if ("query", "cursor") in places:
        yield "invalid-cursor"
    if method != "get":
        yield "conflict"
    if ("header", "idempotency-key") in places:
        yield from ("request-under-way", "idempotency-key-reused")
    if ("header", "if-match") in places:
        yield "precondition-failed"
    if "requestBody" in operation:
        yield from ("malformed-request", "length-required", "too-large", "invalid-request")


def _document(path: str, method: str, operation: dict[str, Any]) -> None:
    responses = operation.setdefault("responses", {})
    if "422" in responses and "application/json" in responses["422"].get("content", {}):
        del responses["422"]  # FastAPI's own form of it, which nobody gets to see
    for kind in _implied(path, method, operation):
        status, title = KINDS[kind]
        response = responses.setdefault(str(status), {"description": title})
        content = response.setdefault("content", {}).setdefault("application/problem+json", {})
        content.setdefault("examples", {}).setdefault(kind, {"value": example(kind)})
    for status, response in responses.items():
        problem = response.get("content", {}).get("application/problem+json")
        if int(status) >= 400 and problem is not None:
            problem["schema"] = _PROBLEM
            # A `model` of ours came with FastAPI's own media type.
            response["content"] = {"application/problem+json": problem}


class Described(FastAPI):
    """An application whose document names every answer."""

    _whole_document: dict[str, Any] | None = None

    def __init__(self, **options: Any) -> None:
        self._making = Lock()
        super().__init__(**options)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Making the document takes a second: a thread does, while the loop answers others."""
        if self._whole_document is None and scope["type"] == "http" and scope["path"] == self.openapi_url:
            await asyncio.to_thread(self.openapi)
        await super().__call__(scope, receive, send)

    def openapi(self) -> dict[str, Any]:
        with self._making:
            if self._whole_document is None:
                document = super().openapi()
                for path, item in document["paths"].items():
                    for method, operation in item.items():
                        if method in _METHODS:
                            _document(path, method, operation)
                for unused in ("HTTPValidationError", "ValidationError"):
                    document.get("components", {}).get("schemas", {}).pop(unused, None)
                self._whole_document = document
            return self._whole_document

    def query_names(self) -> dict[Any, frozenset[str]]:
        """Names of the query parameters of each endpoint; without the document, which takes a while to make."""
        if not hasattr(self.state, "query_names"):
            self.state.query_names = {
                context.endpoint: frozenset(_query_names(context.dependant))
                for context in iter_route_contexts(self.routes)
                if hasattr(context, "dependant")
            }
        names: dict[Any, frozenset[str]] = self.state.query_names
        return names


def _query_names(dependant: Dependant) -> Iterator[str]:
    """Of a route, and of all that it depends on."""
    for parameter in dependant.query_params:
        yield parameter.alias
    for other in dependant.dependencies:
        yield from _query_names(other)


async def known_parameters(request: Request) -> None:
    """Raises Refusal `invalid-request`: a query parameter that the route doesn't know; it may be a typing error."""
    if request.query_params:
        app: Described = request.app
        known = app.query_names().get(request.scope["endpoint"], frozenset())
        for name in request.query_params:
            if name not in known:
                raise Refusal("invalid-request", f"there is no query parameter {name!r}")
