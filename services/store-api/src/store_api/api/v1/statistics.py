"""Statistics of domains by day."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from store_api.api.access import DomainAdmin, TheStore
from store_api.api.v1.common import ADMINISTRATION, Limit
from store_api.api.v1.cursors import Cursor
from store_api.directory.domains import find_domain_id
from store_api.events.statistics import Period, list_statistics

router = APIRouter(tags=[ADMINISTRATION])


class Statistic(BaseModel):
    """Events of one type on one day (UTC). `domain` null: of no domain of ours, or of one that was removed."""

    domain: str | None = Field(examples=["example.test"])
    day: date
    type: str = Field(examples=["message.delivered"])
    events: int = Field(examples=[4711])
    octets: int = Field(description="of the messages", examples=[38_112_044])


class Statistics(BaseModel):
    items: list[Statistic]
    next_cursor: str | None = None


@router.get("/statistics")
async def get_statistics(
    store: TheStore,
    actor: DomainAdmin,
    domain: Annotated[str | None, Query(max_length=253)] = None,
    since: Annotated[date | None, Query(description="first day")] = None,
    until: Annotated[date | None, Query(description="last day")] = None,
    type: Annotated[str | None, Query(max_length=100, examples=["message.delivered"])] = None,
    limit: Limit = 1000,
    cursor: Cursor = None,
) -> Statistics:
    """Events by day, domain and type."""
    only = actor.domain_id
    if domain is not None:
        only = await find_domain_id(store.database, domain, within=actor.domain_id)
    of = f"statistics {only} {since} {until} {type}"
    after = store.cursors.after(of, cursor, tuple[datetime, UUID, str])
    place = None if after is None else (after[0].date(), after[1], after[2])
    async with store.database.transaction() as connection:
        rows = await list_statistics(connection, only, Period(since, until), type, place, limit + 1)
    rows, following = store.cursors.page(
        of, rows, limit, lambda row: (datetime.combine(row.day, datetime.min.time()), row.domain_id, row.type)
    )
    return Statistics(
        items=[Statistic.model_validate(row, from_attributes=True) for row in rows], next_cursor=following
    )
