"""What the routes of the public API share."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import Query

Limit = Annotated[int, Query(ge=1, le=1000, description="how many items at most")]

# Tags group the routes in the documentation.
DIRECTORY: Final = "directory"
MESSAGES: Final = "messages"
QUEUE: Final = "queue"
