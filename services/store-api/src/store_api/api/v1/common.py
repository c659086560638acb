"""What the routes of the public API share."""

from __future__ import annotations

import hashlib
from typing import Annotated, Any, Final

from fastapi import Header, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from store_api.api.problems import Refusal

Limit = Annotated[int, Query(ge=1, le=1000, description="how many items at most")]

# RFC 9110 §13.1.1. Whoever sends it changes only what it has seen.
IfMatch = Annotated[
    str | None,
    Header(alias="If-Match", max_length=1000, description="the ETag that was read: 412 when it has changed since"),
]

# JSON numbers are exact up to here.
MAX_NUMBER: Final = 2**53 - 1
Quota = Annotated[int | None, Field(ge=0, le=MAX_NUMBER, description="null: unlimited", examples=[1_000_000_000])]
Days = Annotated[int | None, Field(ge=1, le=36_500, description="null: kept for ever", examples=[30])]

# `<what>.<outcome>` or `<what>.*`.
EventType = Annotated[str, Field(pattern=r"^[a-z][a-z_]{0,39}\.([a-z][a-z_]{0,39}|\*)$", examples=["message.bounced"])]


class Input(BaseModel):
    """Base of all bodies that are sent to us: a field that isn't documented is refused, as it may be a typing error."""

    model_config = ConfigDict(extra="forbid")

    def changes(self) -> dict[str, Any]:
        """The fields that were sent, for a PATCH: null clears, what is absent stays."""
        return self.model_dump(exclude_unset=True)


def etag_of(shown: BaseModel) -> str:
    """The strong ETag of what is shown (RFC 9110 §8.8.3): equal as long as nothing of it changes."""
    return '"' + hashlib.sha256(shown.model_dump_json().encode()).hexdigest()[:24] + '"'


def require_match(if_match: str | None, shown: BaseModel | str) -> None:
    """Call while the row is locked, with what is shown of it or its ETag.

    Raises Refusal `precondition-failed`: it isn't what the caller has seen.
    """
    if if_match is None or if_match.strip() == "*":
        return
    etag = shown if isinstance(shown, str) else etag_of(shown)
    if etag not in {each.strip() for each in if_match.split(",")}:
        raise Refusal("precondition-failed", "it changed since it was read; read it again")


def require_version(if_match: str | None) -> None:
    """Raises Refusal `precondition-required` (RFC 6585 §3): replacing a whole list needs to say which one was seen."""
    if if_match is None:
        raise Refusal("precondition-required", "send If-Match with the ETag that was read")


def tagged(response: Response, shown: BaseModel, location: str | None = None) -> None:
    """Give the answer its ETag, and the place of what was created."""
    response.headers["ETag"] = etag_of(shown)
    if location is not None:
        response.headers["Location"] = location


# Tags group the routes in the documentation.
DIRECTORY: Final = "directory"
MESSAGES: Final = "messages"
QUEUE: Final = "queue"
EVENTS: Final = "events"
ADMINISTRATION: Final = "administration"
