"""Logins of the frontends."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from mail_runtime.contracts import store as wire
from store_api.api.access import TheStore
from store_api.api.internal.bodies import packed, read_value

router = APIRouter()


@router.post("/authenticate")
async def post_authenticate(store: TheStore, request: Request) -> Response:
    given = await read_value(request, wire.Credentials)
    return packed(await store.logins.authenticate(given.username, given.password, given.protocol, given.peer))


@router.post("/scram/start")
async def post_scram_start(store: TheStore, request: Request) -> Response:
    given = await read_value(request, wire.ScramStart)
    return packed(await store.logins.scram_start(given.username))


@router.post("/scram/finish")
async def post_scram_finish(store: TheStore, request: Request) -> Response:
    given = await read_value(request, wire.ScramFinish)
    return packed(
        await store.logins.scram_finish(given.username, given.auth_message, given.proof, given.protocol, given.peer)
    )


@router.post("/authenticate-token")
async def post_authenticate_token(store: TheStore, request: Request) -> Response:
    given = await read_value(request, wire.BearerToken)
    return packed(await store.logins.authenticate_token(given.username, given.token, given.protocol, given.peer))
