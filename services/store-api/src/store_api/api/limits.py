"""How large a request to the public API may be: checked before anything of it is read."""

from __future__ import annotations

import re
from typing import Final

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from store_api.api.problems import problem

MAX_JSON_OCTETS: Final = 1_048_576
# Some ten thousand rows of a backup.
MAX_ROWS_OCTETS: Final = 16 * 1_048_576
# What frames add to the largest message.
FRAME_OCTETS: Final = 65_536
# Routes whose body is a message.
_SENDING: Final = re.compile(r"/v1/accounts/[^/]+/send")
_MESSAGES: Final = re.compile(r"/v1/accounts/[^/]+/mailboxes/[^/]+/messages")


def body_limit(path: str, max_message_octets: int) -> int:
    """How many octets a request to that path may have."""
    if path == "/v1/import/rows":
        return MAX_ROWS_OCTETS
    if path == "/v1/import/blobs":
        return max_message_octets + FRAME_OCTETS
    if _MESSAGES.fullmatch(path):
        return max_message_octets
    if _SENDING.fullmatch(path):  # Base64 in JSON
        return max_message_octets * 4 // 3 + MAX_JSON_OCTETS
    return MAX_JSON_OCTETS


class BodyLimit:
    """Refuses bodies under /v1 that are too large or don't say how large they are (RFC 9110 §15.5.12, §15.5.14)."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith("/v1/"):
            headers = Headers(scope=scope)
            if "transfer-encoding" in headers:
                await problem(411, "say the length of the body: Content-Length")(scope, receive, send)
                return
            limit = body_limit(scope["path"], scope["app"].state.store.settings.max_message_octets)
            if int(headers.get("content-length", "0")) > limit:
                detail = f"the body may have {limit} octets"
                await problem(413, detail, {"Connection": "close"})(scope, receive, send)
                return
        await self._app(scope, receive, send)
