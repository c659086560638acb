"""How many calls there are, how they end and how long they take, by what they ask for (rate, errors, duration).

Each call of the public face begins a trace or continues the caller's; of the internal face those do that bring one.
"""

from __future__ import annotations

import time
from typing import Final

from prometheus_client import Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mail_runtime import tracing

SECONDS: Final = Histogram(
    "postroom_store_request_seconds",
    "From the call's header until its answer begins: what streams is not measured to its end",
    ["face", "call", "status"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
INTERNAL: Final = "/internal/"
_TRACEPARENT: Final = tracing.HEADER.encode()


class Measured:
    """Around both faces. `call` is the name of the function that answers: paths hold names of people."""

    def __init__(self, inner: ASGIApp) -> None:
        self._inner = inner

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._inner(scope, receive, send)
            return
        internal = scope["path"].startswith(INTERNAL)
        parent = _parent(scope)
        if internal and parent is None:
            await self._measured(scope, receive, send, "internal")
            return
        with tracing.span("store_api", parent, "server") as span:
            await self._measured(scope, receive, send, "internal" if internal else "v1")
            span.name = f"store_api.{_call(scope)}"

    async def _measured(self, scope: Scope, receive: Receive, send: Send, face: str) -> None:
        start = time.perf_counter()

        async def measured_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                SECONDS.labels(face, _call(scope), f"{message['status'] // 100}xx").observe(time.perf_counter() - start)
            await send(message)

        await self._inner(scope, receive, measured_send)


def _call(scope: Scope) -> str:
    return getattr(scope.get("endpoint"), "__name__", "none")


def _parent(scope: Scope) -> tracing.Trace | None:
    for name, value in scope["headers"]:
        if name == _TRACEPARENT:
            return tracing.parse(value.decode("latin-1"))
    return None
