"""Events as they happen, as Server-Sent Events (WHATWG HTML §9.2)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Final

from fastapi import APIRouter, Header, Query
from starlette.responses import StreamingResponse

from store_api.api.access import TheActor, TheStore
from store_api.api.v1.common import EVENTS, EventType
from store_api.events.streaming import Interest, Told

router = APIRouter(tags=[EVENTS])

RETRY_MS: Final = 3000
MAX_S: Final = 3600
_HEADERS: Final = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
_EXAMPLE: Final = (
    'retry: 3000\n\nid: 1042\nevent: message.delivered\ndata: {"id":"…","source":"//mail.example.test/store-api",'
    '"type":"message.delivered","time":"…","data":{"recipient":"bill@elsewhere.test"},"specversion":"1.0"}\n\n'
)

# Before OpenAPI 3.2 the schema of a stream describes each of its events.
_STREAM: Final = {
    "text/event-stream": {
        "schema": {
            "type": "object",
            "required": ["data"],
            "properties": {
                "id": {"type": "string", "description": "for Last-Event-ID"},
                "event": {"type": "string", "description": "the type"},
                "data": {"type": "string", "description": "CloudEvents 1.0 as JSON"},
                "retry": {"type": "integer"},
            },
        },
        "example": _EXAMPLE,
    }
}


@router.get(
    "/events",
    response_class=StreamingResponse,
    responses={200: {"description": "a stream of events (HTML Living Standard §9.2)", "content": _STREAM}},
)
async def get_events(
    store: TheStore,
    actor: TheActor,
    type: Annotated[
        list[EventType] | None, Query(max_length=50, description="only these, as `message.bounced` or `message.*`")
    ] = None,
    last_event_id: Annotated[
        int | None, Header(alias="Last-Event-ID", ge=0, lt=2**63, description="go on after this `id`")
    ] = None,
    after: Annotated[
        int | None, Query(ge=0, lt=2**63, description="as Last-Event-ID, for the first request; 0: all that is kept")
    ] = None,
    for_s: Annotated[int, Query(ge=1, le=MAX_S, description="end the stream after so many seconds")] = MAX_S,
) -> StreamingResponse:
    """Events that the caller may see, from now on or after a place; each a CloudEvent in JSON.

    The stream ends after an hour at most: clients come back with the last `id`, and miss nothing of the last seven
    days. Comments keep the connection open meanwhile.
    """
    interest = Interest(
        None if actor.scope == "account" else actor.domain_id, actor.account_id, tuple(dict.fromkeys(type or ()))
    )
    place = last_event_id if last_event_id is not None else after
    told = await store.streams.listen(interest, place, float(for_s))
    return StreamingResponse(_lines(told), media_type="text/event-stream", headers=_HEADERS)


async def _lines(told: AsyncIterator[Told | None]) -> AsyncIterator[bytes]:
    yield b"retry: %d\n\n" % RETRY_MS
    async for event in told:
        if event is None:
            yield b": nothing yet\n\n"
        else:
            yield b"id: %d\nevent: %s\ndata: %s\n\n" % (event.sequence, event.type.encode(), event.body)
