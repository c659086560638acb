"""What the routes of the public API share."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import Query
from pydantic import BaseModel, ConfigDict

Limit = Annotated[int, Query(ge=1, le=1000, description="how many items at most")]


class Input(BaseModel):
    """Base of all bodies that are sent to us: a field that isn't documented is refused, as it may be a typing error."""

    model_config = ConfigDict(extra="forbid")


# Tags group the routes in the documentation.
DIRECTORY: Final = "directory"
MESSAGES: Final = "messages"
QUEUE: Final = "queue"
