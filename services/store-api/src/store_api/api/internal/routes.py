"""The internal interface: what the frontends call. It is dispatched by `internal.dispatch`."""

from __future__ import annotations

import asyncio
from uuid import UUID

import structlog
from fastapi import APIRouter, Request
from starlette.responses import Response

from mail_runtime import tracing
from mail_runtime.contracts import store as wire
from mail_runtime.contracts.errors import STATUS_OF, StoreError
from mail_runtime.contracts.framing import unpack_stream
from store_api.api.access import TheStore
from store_api.api.internal import logins, mailboxes, maildrops, screening, search
from store_api.api.internal.bodies import body_response, packed, read_value, received_message
from store_api.api.internal.handed import accept_all, append_each
from store_api.directory.questions import Question, check_sender
from store_api.ingest.submission import accept
from store_api.mailboxes.plain_flags import store_plainly
from store_api.queue.taking import take
from store_api.store import Store

log = structlog.get_logger()

router = APIRouter(prefix="/internal")
router.include_router(mailboxes.router)
router.include_router(maildrops.router)
router.include_router(logins.router)
router.include_router(screening.router)
router.include_router(search.router)


@router.get("/ready", status_code=204)
async def get_ready(store: TheStore) -> None:
    await store.ready()


@router.post("/resolve")
async def post_resolve(
    store: TheStore, request: Request, reverse_path: str = "", submitted_by: UUID | None = None
) -> Response:
    question = Question(await read_value(request, list[str]), reverse_path, submitted_by)
    return packed(await store.resolving.ask(question))


@router.post("/accounts/{account_id}/sender", status_code=204)
async def post_sender(store: TheStore, account_id: UUID, request: Request) -> None:
    address = await read_value(request, str)
    async with store.database.transaction() as connection:
        await check_sender(connection, account_id, address)


@router.post("/transmissions")
async def post_transmission(store: TheStore, request: Request) -> Response:
    limit = store.settings.max_message_octets
    async with received_message(request, wire.Transmission, limit, store.blobs) as (transmission, octets):
        await accept(store.coalescer, transmission, octets, max_octets=limit)
    return packed(wire.Accepted(transmission_id=transmission.id))


@router.post("/transmission-sets")
async def post_transmissions(store: TheStore, request: Request) -> Response:
    """Several at once, each as if it had come alone (`api.internal.handed`)."""
    limit = store.settings.max_message_octets
    async with received_message(request, list[wire.Handed], 2 * limit, store.blobs) as (handed, octets):
        return packed(await accept_all(store.coalescer, handed, unpack_stream(octets[:]), max_octets=limit))


@router.post("/append-sets")
async def post_appends(store: TheStore, request: Request) -> Response:
    """Messages for several mailboxes, each as if it had come alone (`api.internal.handed`)."""
    limit = store.settings.max_message_octets
    async with received_message(request, list[wire.HandedAppend], 2 * limit, store.blobs) as (handed, octets):
        return packed(await append_each(store.coalescer, handed, unpack_stream(octets[:]), max_octets=limit))


@router.post("/flag-sets")
async def post_flag_sets(store: TheStore, request: Request) -> Response:
    """Changes of several mailboxes: what became of each, None where it has to come alone."""
    return packed(await store_plainly(store.database, store.notifier, await read_value(request, list[wire.FlagSet])))


@router.get("/transmissions/{transmission_id}/message")
async def get_transmission_message(store: TheStore, transmission_id: UUID) -> Response:
    """The message as it leaves: with the signatures of its domain on top."""
    message = await store.leaving.ask(transmission_id)
    return await body_response(store.blobs, message.place, await message.on_top(store.blobs, store.settings.hostname))


@router.post("/deliveries/claim")
async def post_claim(store: TheStore, request: Request) -> Response:
    return packed(await store.claiming.ask(await read_value(request, wire.ClaimDeliveries)))


@router.post("/deliveries/claims")
async def post_claims(store: TheStore, request: Request) -> Response:
    """Many claims: None where there is nothing to be had."""
    wanted = await read_value(request, list[wire.ClaimDeliveries])
    return packed(await take(store.database, store.blobs, store.settings.hostname, wanted))


@router.post("/deliveries/reports")
async def post_reports(store: TheStore, request: Request) -> Response:
    """Many reports, each answered with the status and the words that it would get by itself."""
    reports = await read_value(request, list[wire.Outcomes])
    found = await asyncio.gather(*(_report(store, each) for each in reports), return_exceptions=True)
    return packed([_told(each) for each in found])


async def _report(store: Store, report: wire.Outcomes) -> None:
    with tracing.span("store_api.post_outcomes", tracing.parse(report.traceparent), "server"):
        await store.report(report)


def _told(error: BaseException | None) -> tuple[int, str]:
    if error is None:
        return 204, ""
    if not isinstance(error, StoreError):
        log.error("report_failed", exc_info=error)
        return 500, "an error of ours"
    return STATUS_OF.get(type(error), 503), str(error)


@router.post("/deliveries/outcomes", status_code=204)
async def post_outcomes(store: TheStore, request: Request) -> None:
    await store.report(await read_value(request, wire.Outcomes))
