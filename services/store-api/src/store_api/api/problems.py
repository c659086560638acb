"""Errors as the two faces report them: problem+json (RFC 9457) outside, plain text inside.

Programs tell problems apart by `type`, which never changes; `detail` is for people and may.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
import structlog
from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, PlainTextResponse, Response

from mail_runtime.contracts.errors import STATUS_OF, StoreError
from mail_runtime.contracts.framing import FramingError

log = structlog.get_logger()

RETRY_AFTER_S: Final = 5
MAX_DETAIL_LENGTH: Final = 1000
MAX_ERRORS: Final = 20

# Last part of the `type` → status, title. The first of a status is what a bare status means.
KINDS: Final[dict[str, tuple[int, str]]] = {
    "malformed-request": (400, "The request can't be read"),
    "invalid-cursor": (400, "The cursor was not given out for this list"),
    "unauthenticated": (401, "Valid credentials are needed"),
    "forbidden": (403, "These credentials may not do this"),
    "not-found": (404, "There is no such thing"),
    "method-not-allowed": (405, "The path doesn't know this method"),
    "conflict": (409, "It clashes with what is there"),
    "request-under-way": (409, "The first request with this Idempotency-Key isn't done yet"),
    "length-required": (411, "The length of the body must be said"),
    "precondition-failed": (412, "It changed meanwhile"),
    "too-large": (413, "The body is too large"),
    "unsupported-media-type": (415, "The body has another type than is understood"),
    "range-not-satisfiable": (416, "The range lies outside"),
    "refused": (422, "The rules forbid it"),
    "invalid-request": (422, "Parameters or body are not as documented"),
    "idempotency-key-reused": (422, "This Idempotency-Key came with another request before"),
    "precondition-required": (428, "Say which version is to be changed: If-Match"),
    "rate-limited": (429, "Too many requests"),
    "internal-error": (500, "An error of ours"),
    "unavailable": (503, "Try again later; nothing was lost"),
    "over-quota": (507, "There is no room left"),
}

_KIND_OF_STATUS: Final = {status: kind for kind, (status, _) in reversed(KINDS.items())}


class InvalidPart(BaseModel):
    """One thing that is wrong with a request."""

    location: str = Field(description="where it is: `body.address`, `query.limit`", examples=["body.address"])
    detail: str = Field(examples=["Field required"])


class Problem(BaseModel):
    """What went wrong (RFC 9457)."""

    type: str = Field(description="stable; a page of this server explains it", examples=["/problems/not-found"])
    title: str = Field(examples=["There is no such thing"])
    status: int = Field(examples=[404])
    detail: str = Field(examples=["there is no account nobody@example.test"])
    errors: list[InvalidPart] | None = Field(None, description="with `invalid-request`: each thing that is wrong")


class Refusal(HTTPException):
    """Answered with the problem of that kind, a key of `KINDS`."""

    def __init__(self, kind: str, detail: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(KINDS[kind][0], detail, headers)
        self.kind = kind


def problems(*kinds: str) -> dict[int | str, dict[str, Any]]:
    """What a route can answer besides success, for its `responses`. Those that its form implies are added by itself."""
    found: dict[int | str, dict[str, Any]] = {}
    for kind in kinds:
        status, title = KINDS[kind]
        known = found.setdefault(
            status, {"model": Problem, "description": title, "content": {"application/problem+json": {"examples": {}}}}
        )
        known["content"]["application/problem+json"]["examples"][kind] = {"value": example(kind)}
    return found


def example(kind: str) -> dict[str, Any]:
    """A problem document of that kind, for the documentation."""
    status, title = KINDS[kind]
    return {"type": f"/problems/{kind}", "title": title, "status": status, "detail": "what exactly, for people"}


def problem(
    status: int,
    detail: str,
    headers: dict[str, str] | None = None,
    *,
    kind: str | None = None,
    errors: list[InvalidPart] | None = None,
) -> Response:
    """A problem document as a response; without `kind`, the usual one of that status."""
    kind = kind or _KIND_OF_STATUS.get(status)
    content = Problem(
        type=f"/problems/{kind}" if kind else "about:blank",
        title=KINDS[kind][1] if kind else "Error",
        status=status,
        detail=detail[:MAX_DETAIL_LENGTH],
        errors=errors,
    )
    return JSONResponse(content.model_dump(exclude_none=True), status, headers, "application/problem+json")


def _answer(
    request: Request,
    status: int,
    detail: str,
    headers: dict[str, str] | None = None,
    *,
    kind: str | None = None,
    errors: list[InvalidPart] | None = None,
) -> Response:
    if status == 503:
        headers = {"Retry-After": str(RETRY_AFTER_S), **(headers or {})}
    if request.url.path.startswith("/internal/"):
        return PlainTextResponse(detail, status, headers)
    return problem(status, detail, headers, kind=kind, errors=errors)


async def _store_error(request: Request, error: Exception) -> Response:
    status = next((STATUS_OF[c] for c in type(error).__mro__ if c in STATUS_OF), 503)
    if status == 503:
        log.warning("unavailable", path=request.url.path, error=str(error), cause=repr(error.__cause__))
    return _answer(request, status, str(error))


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    kind = error.kind if isinstance(error, Refusal) else None
    return _answer(request, error.status_code, str(error.detail), dict(error.headers or {}), kind=kind)


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    errors = [
        InvalidPart(location=_printable(".".join(str(part) for part in each["loc"])), detail=_printable(each["msg"]))
        for each in error.errors()[:MAX_ERRORS]
    ]
    if any(each["type"] == "json_invalid" for each in error.errors()):
        return _answer(request, 400, f"the body is no JSON: {errors[0].detail}", kind="malformed-request")
    detail = f"{errors[0].location}: {errors[0].detail}"
    return _answer(request, 422, detail, kind="invalid-request", errors=errors)


def _printable(text: str) -> str:
    """Lone surrogates come through JSON escapes; UTF-8 can't say them."""
    return text.encode("utf-8", "replace").decode()[:MAX_DETAIL_LENGTH]


async def _malformed(request: Request, error: Exception) -> Response:
    return _answer(request, 400, f"the body can't be read: {error}")


async def _bug(request: Request, error: Exception) -> Response:
    log.error("request_failed", path=request.url.path, exc_info=error)
    return _answer(request, 500, "an internal error; it is in the log")


async def answer(request: Request, error: Exception) -> Response:
    """The response to an error that isn't FastAPI's own."""
    if isinstance(error, StoreError):
        return await _store_error(request, error)
    if isinstance(error, (msgspec.MsgspecError, FramingError)):
        return await _malformed(request, error)
    return await _bug(request, error)


def add_handlers(app: FastAPI) -> None:
    """Answer every error in the form of the face that was called."""
    app.add_exception_handler(StoreError, _store_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(msgspec.MsgspecError, _malformed)
    app.add_exception_handler(FramingError, _malformed)
    app.add_exception_handler(Exception, _bug)


class Explanation(BaseModel):
    """What a `type` of problem means."""

    type: str = Field(examples=["/problems/not-found"])
    title: str = Field(examples=["There is no such thing"])
    status: int = Field(examples=[404])


router: Final = APIRouter(tags=["problems"])


@router.get("/problems/{kind}")
async def get_problem(kind: str) -> Explanation:
    """What a `type` of problem means; needs no credentials."""
    if kind not in KINDS:
        raise Refusal("not-found", "there is no such type of problem")
    status, title = KINDS[kind]
    return Explanation(type=f"/problems/{kind}", title=title, status=status)
