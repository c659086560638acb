"""The internal routes without the machinery around them.

FastAPI's matching, dependencies and middleware were a third of what a message costs the store
(docs/decisions/0006-internal-dispatch.md). The routes are declared as usual, and read from their
`APIRouter` once: a path is found by its segments, arguments by the names and types of the function.
"""

from __future__ import annotations

import inspect
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, get_type_hints
from urllib.parse import parse_qsl

import msgspec
from fastapi import APIRouter
from fastapi.routing import iter_route_contexts
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from store_api.api.problems import answer
from store_api.store import Store

PREFIX: Final = "/internal/"

Convert = Callable[[str], Any]


@dataclass(frozen=True, slots=True)
class _Endpoint:
    """A route: its function, and where each of its arguments comes from."""

    call: Callable[..., Any]
    wants_request: bool
    path: tuple[tuple[str, Convert], ...]
    query: tuple[tuple[str, Convert, bool], ...]

    async def run(self, store: Store, request: Request, values: list[str]) -> Response:
        arguments = {name: convert(value) for (name, convert), value in zip(self.path, values, strict=True)}
        if self.query:
            arguments.update(self._queried(request.scope["query_string"]))
        if self.wants_request:
            arguments["request"] = request
        result = await self.call(store=store, **arguments)
        return result if isinstance(result, Response) else Response(status_code=204)

    def _queried(self, query: bytes) -> Iterator[tuple[str, Any]]:
        given = dict(parse_qsl(query.decode("latin-1"), keep_blank_values=True))
        for name, convert, is_required in self.query:
            if name in given:
                yield name, convert(given[name])
            elif is_required:
                raise _Invalid(f"{name} is missing")


@dataclass(slots=True)
class _Node:
    """What may stand at one place of a path."""

    literal: dict[str, _Node] = field(default_factory=dict)
    variable: _Node | None = None
    endpoints: dict[str, _Endpoint] = field(default_factory=dict)


class _Invalid(Exception):
    """An argument in the path or the query isn't what the route wants."""


class InternalFace:
    """Answers what is under /internal/ itself, for the service token only; `outer` answers the rest."""

    def __init__(self, store: Store, router: APIRouter, outer: ASGIApp) -> None:
        self._store, self._outer = store, outer
        self._authorization = f"Bearer {store.settings.service_token}".encode()
        self._root = _tree(router)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(PREFIX) or self._is_public(scope):
            await self._outer(scope, receive, send)
            return
        request = Request(scope, receive)
        try:
            response = await self._answer(request)
        except _Invalid as error:
            response = PlainTextResponse(str(error), 422)
        except Exception as error:
            response = await answer(request, error)
        await response(scope, receive, send)

    def _is_public(self, scope: Scope) -> bool:
        """Did it come in by the port for the outside? The socket says so, nothing that a client sends."""
        port = self._store.settings.public_port
        return port != 0 and scope["server"][1] == port

    async def _answer(self, request: Request) -> Response:
        given = next((value for name, value in request.scope["headers"] if name == b"authorization"), b"")
        if not secrets.compare_digest(given, self._authorization):
            return PlainTextResponse("the service token is needed", 401, {"WWW-Authenticate": "Bearer"})
        node, values = self._root, []
        for segment in request.scope["path"][len(PREFIX) :].split("/"):
            following = node.literal.get(segment)
            if following is None:
                if node.variable is None or not segment:
                    return PlainTextResponse("there is no such route", 404)
                following = node.variable
                values.append(segment)
            node = following
        endpoint = node.endpoints.get(request.scope["method"])
        if endpoint is None:
            return PlainTextResponse("this route has other methods", 405 if node.endpoints else 404)
        request.scope["endpoint"] = endpoint.call
        return await endpoint.run(self._store, request, values)


def _tree(router: APIRouter) -> _Node:
    root = _Node()
    for route in iter_route_contexts(router.routes):
        path = str(route.path)
        assert path.startswith(PREFIX), path
        node = root
        for segment in path[len(PREFIX) :].split("/"):
            if segment.startswith("{"):
                node.variable = node.variable or _Node()
                node = node.variable
            else:
                node = node.literal.setdefault(segment, _Node())
        assert route.endpoint is not None
        endpoint = _endpoint(route.endpoint, path)
        node.endpoints.update(dict.fromkeys(route.methods or (), endpoint))
    return root


def _endpoint(call: Callable[..., Any], path: str) -> _Endpoint:
    types = get_type_hints(call)
    in_path = [segment[1:-1] for segment in path.split("/") if segment.startswith("{")]
    parameters = inspect.signature(call).parameters
    query = tuple(
        (name, _converter(name, types[name]), parameter.default is inspect.Parameter.empty)
        for name, parameter in parameters.items()
        if name not in {"store", "request", *in_path}
    )
    converters = tuple((name, _converter(name, types[name])) for name in in_path)
    return _Endpoint(call, "request" in parameters, converters, query)


def _converter(name: str, kind: Any) -> Convert:
    def convert(value: str) -> Any:
        try:
            return msgspec.convert(value, kind, strict=False)
        except msgspec.ValidationError as error:
            raise _Invalid(f"{name}: {error}") from error

    return convert
