"""Searching the messages of an account."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from mail_proto.message.structure import scan
from mail_proto.message.text import searchable
from mail_runtime.contracts.errors import NotFound
from mail_runtime.contracts.store import search as wire
from store_api.api.access import TheAccount, TheStore
from store_api.api.v1.common import MESSAGES
from store_api.api.v1.cursors import Cursor
from store_api.api.v1.message_models import Message
from store_api.api.v1.messages import Before, Flagged, Seen, Since, json, seconds
from store_api.blobs import places, reading
from store_api.messages.showing import list_item
from store_api.search.query import Query as Wanted
from store_api.search.query import parse_query
from store_api.search.ranking import Rank, ranked, rows_of
from store_api.search.snippets import Snippet, snippet
from store_api.store import Store

router = APIRouter(prefix="/accounts/{address}", tags=[MESSAGES])

# Ours: each message of a page is read for its snippet.
MAX_PAGE: Final = 100

PageLimit = Annotated[int, Query(ge=1, le=MAX_PAGE, description="how many items at most")]
QueryText = Annotated[
    str,
    Query(
        alias="q",
        min_length=1,
        max_length=1_000,
        description='words that must occur, `"several as they are"`, `-word` that must not, `from:`, `to:`, `cc:`,'
        " `bcc:`, `subject:`; parts of words count",
        examples=["invoice from:ada -draft"],
    ),
]


class FoundMessage(Message):
    """A message with its rank, and the place where something was found."""

    score: int = Field(description="of each term 8 in the subject, 4 in From, 2 in To or Cc, 1 elsewhere", examples=[9])
    snippet: str = Field(
        description="text around the first term; how the message begins, where only its header has it",
        examples=["… the invoice of March"],
    )
    matches: list[tuple[int, int]] = Field(
        description="where in `snippet` the terms are: from, to (exclusive), in characters", examples=[[[6, 13]]]
    )


class FoundMessages(BaseModel):
    """The best first, the newest of equal ones first."""

    total: int = Field(description="how many there are on all pages", examples=[1])
    items: list[FoundMessage]
    next_cursor: str | None = None


@router.get("/search", responses={200: {"model": FoundMessages}})
async def get_search(
    store: TheStore,
    account: TheAccount,
    q: QueryText,
    mailbox_id: Annotated[UUID | None, Query(description="only in that mailbox")] = None,
    seen: Seen = None,
    flagged: Flagged = None,
    since: Since = None,
    before: Before = None,
    limit: PageLimit = 20,
    cursor: Cursor = None,
) -> Response:
    """Search headers and texts, the best first. A copy is found in each mailbox that it is in."""
    wanted = parse_query(q)
    arrived = wire.Arrived(seconds(since), seconds(before))
    key = wire.AllOf([*_flags(seen, flagged), arrived, wanted.key])
    of = f"search {account.id} {mailbox_id} {key}"
    after = store.cursors.after(of, cursor, Rank)
    found = await ranked(store.database, store.blobs, account.id, mailbox_id, (key, wanted.terms), after, limit + 1)
    page, following = store.cursors.page(of, found.best, limit, lambda rank: rank)
    rows = await rows_of(store.database, account.id, page)
    snippets = await _snippets(store, rows, wanted)
    scores = {rank[1:]: rank.score for rank in page}
    items = []
    for row, found_at in zip(rows, snippets, strict=True):
        item = list_item(row)
        score = scores[row.internal_date, row.email_id, row.mailbox_id, row.uid]
        items.append(item | {"score": score} | _shown(item, found_at))
    return json({"total": found.total, "items": items, "next_cursor": following})


def _flags(seen: bool | None, flagged: bool | None) -> list[wire.SearchKey]:
    keys: list[wire.SearchKey] = []
    for flag, wanted in (("\\Seen", seen), ("\\Flagged", flagged)):
        if wanted is not None:
            keys.append(wire.HasFlag(flag) if wanted else wire.Not(wire.HasFlag(flag)))
    return keys


async def _snippets(store: Store, rows: Sequence[Any], wanted: Wanted) -> list[Snippet | None]:
    async with store.database.transaction() as connection:
        found = await places.find(connection, [row.blob_id for row in rows])
    return await asyncio.gather(*(_snippet(store, found.get(row.blob_id), wanted) for row in rows))


async def _snippet(store: Store, place: places.Place | None, wanted: Wanted) -> Snippet | None:
    if place is None:
        return None
    try:
        async with reading.loaded(store.blobs, place) as octets:
            return await run_in_threadpool(lambda: snippet(searchable(octets, scan(octets)), wanted.terms))
    except NotFound:
        return None


def _shown(item: dict[str, Any], found: Snippet | None) -> dict[str, Any]:
    """Only the header has it: how the message begins."""
    return {"snippet": found.text if found else item["preview"], "matches": found.matches if found else []}
