"""How many calls there are, how they end and how long they take, by what they ask for (rate, errors, duration)."""

from __future__ import annotations

import time
from typing import Final

from prometheus_client import Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

SECONDS: Final = Histogram(
    "postroom_store_request_seconds",
    "From the call's header until its answer begins: what streams is not measured to its end",
    ["face", "call", "status"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
INTERNAL: Final = "/internal/"


class Measured:
    """Around both faces. `call` is the name of the function that answers: paths hold names of people."""

    def __init__(self, inner: ASGIApp) -> None:
        self._inner = inner

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._inner(scope, receive, send)
            return
        start = time.perf_counter()

        async def measured_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                endpoint = scope.get("endpoint")
                SECONDS.labels(
                    "internal" if scope["path"].startswith(INTERNAL) else "v1",
                    getattr(endpoint, "__name__", "none"),
                    f"{message['status'] // 100}xx",
                ).observe(time.perf_counter() - start)
            await send(message)

        await self._inner(scope, receive, measured_send)
