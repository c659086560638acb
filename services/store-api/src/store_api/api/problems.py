"""Errors as the two faces report them: problem+json (RFC 9457) outside, plain text inside."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Final

import msgspec
import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, PlainTextResponse, Response

from mail_runtime.contracts.errors import STATUS_OF, StoreError
from mail_runtime.contracts.framing import FramingError

log = structlog.get_logger()

RETRY_AFTER_S: Final = 5


class Problem(BaseModel):
    """What went wrong (RFC 9457)."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str


PROBLEMS: Final[dict[int | str, dict[str, Any]]] = {
    status: {
        "model": Problem,
        "description": HTTPStatus(status).phrase,
        "content": {"application/problem+json": {}},
    }
    for status in (401, 404, 409, 422, 503)
}


def _answer(request: Request, status: int, detail: str, headers: dict[str, str] | None = None) -> Response:
    if status == 503:
        headers = {"Retry-After": str(RETRY_AFTER_S), **(headers or {})}
    if request.url.path.startswith("/internal/"):
        return PlainTextResponse(detail, status, headers)
    return problem(status, detail, headers)


def problem(status: int, detail: str, headers: dict[str, str] | None = None) -> Response:
    """A problem document as a response."""
    content = Problem(title=HTTPStatus(status).phrase, status=status, detail=detail)
    return JSONResponse(content.model_dump(), status, headers, "application/problem+json")


async def _store_error(request: Request, error: Exception) -> Response:
    status = STATUS_OF.get(type(error), 503) if isinstance(error, StoreError) else 503
    if status == 503:
        log.warning("unavailable", path=request.url.path, error=str(error), cause=repr(error.__cause__))
    return _answer(request, status, str(error))


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return _answer(request, error.status_code, str(error.detail), dict(error.headers or {}))


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"])
    return _answer(request, 422, f"{place}: {first['msg']}")


async def _malformed(request: Request, error: Exception) -> Response:
    return _answer(request, 400, f"the body can't be read: {error}")


async def _bug(request: Request, error: Exception) -> Response:
    log.error("request_failed", path=request.url.path, exc_info=error)
    return _answer(request, 500, "an internal error; it is in the log")


def add_handlers(app: FastAPI) -> None:
    """Answer every error in the form of the face that was called."""
    app.add_exception_handler(StoreError, _store_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(msgspec.MsgspecError, _malformed)
    app.add_exception_handler(FramingError, _malformed)
    app.add_exception_handler(Exception, _bug)
