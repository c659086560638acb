"""The REST API, as the commands call it: retried, paged, its problems as exceptions (RFC 9457, RFC 6585)."""

from __future__ import annotations

import asyncio
import io
import json as json_library
import os
import random
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import quote

import aiohttp

DEFAULT_URL: Final = "http://127.0.0.1:8080"
LOCAL_TOKEN: Final = Path("var/admin-token")
CONNECT_TIMEOUT_S: Final = 10.0
# Between two pieces of an answer: a large body may take longer than this in all.
READ_TIMEOUT_S: Final = 60.0
ATTEMPTS: Final = 6
FIRST_PAUSE_S: Final = 0.25
LONGEST_PAUSE_S: Final = 30.0
PAGE: Final = 500
# Larger bodies are sent piece by piece.
WHOLE_OCTETS: Final = 256 * 1024
_WORTH_REPEATING: Final = frozenset({429, 502, 503, 504})


class RestError(Exception):
    """The API refused, or can't be reached; the text says what to do. `status` is 0 without an answer."""

    def __init__(self, text: str, status: int = 0) -> None:
        super().__init__(text)
        self.status = status


def segment(text: str) -> str:
    """A value as one segment of a path (RFC 3986 §3.3)."""
    return quote(text, safe="@")


def find_token(given: str | None) -> str:
    """The token that was given, or that of the environment, or that of a Postroom started in this directory.

    Raises RestError: there is none.
    """
    if given:
        return given
    file = os.environ.get("POSTROOM_TOKEN_FILE")
    path = Path(file) if file else LOCAL_TOKEN
    try:
        return path.read_text().strip()
    except OSError as error:
        raise RestError(
            "no token: set POSTROOM_TOKEN or POSTROOM_TOKEN_FILE, give --token,"
            f" or run this where `make run` was started ({path}: {error.strerror})"
        ) from error


class Rest:
    """Use as `async with Rest(url, token) as rest`. Safe for concurrent calls.

    Calls that may be repeated (GET, PUT, DELETE, those with an idempotency key, and where the caller says so) are,
    with growing pauses, while the API asks to wait or is away; not before it has answered once, as then the address
    is likely wrong.
    """

    def __init__(self, url: str, token: str) -> None:
        self.url = url.rstrip("/")
        self._token = token
        self._http: aiohttp.ClientSession | None = None
        self._has_answered = False

    async def __aenter__(self) -> Self:
        self._http = aiohttp.ClientSession(
            headers={"Authorization": f"Bearer {self._token}"},
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S, sock_read=READ_TIMEOUT_S),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._http is not None
        await self._http.close()

    async def octets(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str | int] | None = None,
        json: Any = None,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        repeatable: bool = False,
    ) -> bytes:
        """Call and return the body of the answer. Raises RestError."""
        repeatable |= method in {"GET", "PUT", "DELETE"} or "Idempotency-Key" in (headers or {})
        for attempt in range(ATTEMPTS):
            try:
                return await self._once(method, path, query, json, body, headers)
            except _TryAgain as again:
                if not repeatable or attempt == ATTEMPTS - 1:
                    raise again.error from again
                await asyncio.sleep(again.pause_s or _pause_s(attempt))
        raise AssertionError("unreachable")

    async def _once(
        self,
        method: str,
        path: str,
        query: Mapping[str, str | int] | None,
        json: Any,
        body: bytes | None,
        headers: Mapping[str, str] | None,
    ) -> bytes:
        assert self._http is not None, "use `async with`"
        data = io.BytesIO(body) if body is not None and len(body) > WHOLE_OCTETS else body
        try:
            async with self._http.request(
                method, f"{self.url}/v1{path}", params=query, json=json, data=data, headers=headers
            ) as response:
                octets = await response.read()
                self._has_answered = True
                if response.status < 300:
                    return octets
                error = RestError(await _sentence(response), response.status)
                if response.status in _WORTH_REPEATING:
                    raise _TryAgain(error, _retry_after_s(response.headers.get("Retry-After")))
                raise error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            unreachable = RestError(
                f"{self.url} doesn't answer ({type(error).__name__}): is Postroom running, and is --url right?"
            )
            if not self._has_answered:
                raise unreachable from error
            raise _TryAgain(unreachable) from error

    async def call(self, method: str, path: str, json: Any = None, **options: Any) -> Any:
        """Call and return the decoded JSON of the answer, None when it is empty. Raises RestError."""
        octets = await self.octets(method, path, json=json, **options)
        return _decode(octets) if octets else None

    async def items(self, path: str, query: Mapping[str, str | int] | None = None) -> AsyncIterator[Any]:
        """All items of a list, page by page. Raises RestError."""
        page: dict[str, Any] = {"next_cursor": ""}
        while page["next_cursor"] is not None:
            cursor = {"cursor": page["next_cursor"]} if page["next_cursor"] else {}
            page = await self.call("GET", path, query={**(query or {}), "limit": PAGE, **cursor})
            page.setdefault("next_cursor", None)
            for item in page["items"]:
                yield item


class _TryAgain(Exception):
    def __init__(self, error: RestError, pause_s: float = 0.0) -> None:
        super().__init__(str(error))
        self.error, self.pause_s = error, pause_s


def _decode(octets: bytes) -> Any:
    return json_library.loads(octets)


def _pause_s(attempt: int) -> float:
    longest = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0**attempt)
    return longest * random.uniform(0.5, 1.0)  # noqa: S311


def _retry_after_s(text: str | None) -> float:
    return min(LONGEST_PAUSE_S, float(text)) if text is not None and text.isdigit() else 0.0


async def _sentence(response: aiohttp.ClientResponse) -> str:
    """What the problem document says (RFC 9457 §3.1)."""
    octets = await response.read()
    try:
        detail = _decode(octets)["detail"]
    except (ValueError, KeyError, TypeError):
        detail = octets[:200].decode("utf-8", "replace") or response.reason
    if response.status == 401:
        return f"the token isn't accepted ({detail}): see POSTROOM_TOKEN"
    return f"{detail} ({response.status} on {response.method} {response.url.path})"
