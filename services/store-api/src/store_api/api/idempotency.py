"""`Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header-07): a POST that is repeated is done once.

A row of `idempotency_key` is made before the request is worked on and holds its answer afterwards, for a day. The same
key with the same request gets that answer again; with another request 422; while the first one is under way 409.
Refusals aren't kept: nothing was done, so the request may be made again.

A process can die between the commit of the work and that of the answer. Then the request is worked on again once its
lease is over: routes whose rows aren't unique by themselves create them under `CreationId`, which stays the same for
all attempts.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Annotated, Any, Final
from uuid import UUID

import msgspec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from fastapi import Depends, Header, Request
from fastapi.routing import APIRoute
from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response
from starlette.types import Message, Receive

from store_api.api.access import Actor, actor_of, store_of
from store_api.api.limits import body_limit
from store_api.api.problems import Refusal
from store_api.api.spool import spooled
from store_api.blobs import Octets
from store_api.blobs.joining import forget_pages
from store_api.db.engine import Database, run
from store_api.db.ids import uuid7
from store_api.store import Store

KEPT_S: Final = 86_400.0
# A request that takes longer is taken for lost; the largest message over a slow line needs less.
LEASE_S: Final = 300.0
MAX_KEY_LENGTH: Final = 255
MAX_ANSWER_OCTETS: Final = 1_048_576
NONCE_OCTETS: Final = 12
PIECE_OCTETS: Final = 65_536
_KEPT_HEADERS: Final = ("content-type", "location", "etag")

Handler = Callable[[Request], Coroutine[Any, Any, Response]]

_BEGIN: Final = """
INSERT INTO idempotency_key AS k (actor, key, id, request_hash, held_until)
VALUES (:actor, :key, :id, :request_hash, now() + make_interval(secs => :lease_s))
ON CONFLICT (actor, key) DO UPDATE SET held_until = excluded.held_until
    WHERE k.status IS NULL AND k.held_until < now() AND k.request_hash = excluded.request_hash
RETURNING id
"""


async def creation_id(request: Request) -> UUID:
    """The id for what a POST creates: new, or that of the attempt before with the same Idempotency-Key."""
    found: UUID | None = getattr(request.state, "creation_id", None)
    return found or uuid7()


CreationId = Annotated[UUID, Depends(creation_id)]


async def _documented(
    idempotency_key: Annotated[
        str | None,
        Header(
            description="any text of the caller's, such as a UUID: the same request with the same key is done once",
            examples=["2d2f9a7e-5c1b-4f0c-9a37-5b0c8f6f3b11"],
        ),
    ] = None,
) -> None:
    """Only so that the header stands in the OpenAPI document."""


class Idempotent(APIRoute):
    """A route whose POST honours Idempotency-Key: `APIRouter(route_class=Idempotent)`."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        if "POST" in (options.get("methods") or ()):
            options["dependencies"] = [*(options.get("dependencies") or ()), Depends(_documented)]
        super().__init__(path, endpoint, **options)

    def get_route_handler(self) -> Handler:
        work = super().get_route_handler()

        async def handle(request: Request) -> Response:
            key = request.headers.get("idempotency-key")
            if request.method != "POST" or key is None:
                return await work(request)
            return await _once(request, key, work)

        return handle


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    headers: dict[str, str]
    body: bytes


class _Record:
    """The row of one key of one actor. Answers can hold secrets that are shown once: they are kept encrypted."""

    def __init__(self, store: Store, actor: Actor, key: str) -> None:
        self._database: Database = store.database
        self._names = {"actor": actor.name, "key": key}
        self._bound = f"{actor.name}\0{key}".encode()
        secret = store.settings.service_token.encode()
        self._cipher = AESGCM(hmac.digest(secret, b"postroom idempotency answers", hashlib.sha256))
        self._hash_key = hmac.digest(secret, b"postroom idempotency requests", hashlib.sha256)

    async def begin(self, request: Request, body: Octets) -> UUID | _Answer:
        """The id to create under, or the answer of the first time. Raises Refusal."""
        request_hash = await run_in_threadpool(self._hash, request, body)
        async with self._database.transaction() as connection:
            taken = await run(connection, _BEGIN, **self._names, id=uuid7(), request_hash=request_hash, lease_s=LEASE_S)
            found: UUID | None = taken.scalar()
            return found or await self._answer(connection, request_hash)

    def _hash(self, request: Request, body: Octets) -> bytes:
        """Keyed: bodies hold passwords."""
        parts = [request.method, request.url.path, request.url.query, request.headers.get("content-type", "")]
        hashed = hmac.new(self._hash_key, hashlib.sha256("\0".join(parts).encode()).digest(), hashlib.sha256)
        hashed.update(body)
        forget_pages(body)
        return hashed.digest()

    async def _answer(self, connection: AsyncConnection, request_hash: bytes) -> _Answer:
        sql = "SELECT request_hash, status, headers, body FROM idempotency_key WHERE actor = :actor AND key = :key"
        row = (await run(connection, sql, **self._names)).one_or_none()
        if row is None or (row.status is None and row.request_hash == request_hash):
            raise Refusal("request-under-way", "the first request with this key isn't done yet", {"Retry-After": "1"})
        if row.request_hash != request_hash:
            raise Refusal("idempotency-key-reused", "this key came with another request before")
        body = self._cipher.decrypt(row.body[:NONCE_OCTETS], row.body[NONCE_OCTETS:], self._bound)
        return _Answer(row.status, row.headers, body)

    async def keep(self, answer: _Answer) -> None:
        nonce = secrets.token_bytes(NONCE_OCTETS)
        async with self._database.transaction() as connection:
            await run(
                connection,
                "UPDATE idempotency_key SET status = :status, headers = CAST(:headers AS jsonb), body = :body"
                " WHERE actor = :actor AND key = :key",
                **self._names,
                status=answer.status,
                headers=msgspec.json.encode(answer.headers).decode(),
                body=nonce + self._cipher.encrypt(nonce, answer.body, self._bound),
            )

    async def release(self) -> None:
        """It was refused, or it is unknown how it ended: the next attempt is worked on, under the same id."""
        sql = "UPDATE idempotency_key SET held_until = now() - interval '1 second' WHERE actor = :actor AND key = :key"
        async with self._database.transaction() as connection:
            await run(connection, sql, **self._names)


async def _once(request: Request, key: str, work: Handler) -> Response:
    if not (0 < len(key) <= MAX_KEY_LENGTH and key.isascii() and key.isprintable()):
        raise Refusal("invalid-request", f"Idempotency-Key: 1 to {MAX_KEY_LENGTH} printable characters")
    store = await store_of(request)
    record = _Record(store, await actor_of(request), key)
    limit = body_limit(request.url.path, store.settings.max_message_octets)
    async with spooled(request, limit, store.blobs.policy.spool) as body:
        begun = await record.begin(request, body)
        if isinstance(begun, _Answer):
            return Response(begun.body, begun.status, {**begun.headers, "Idempotency-Replayed": "true"})
        request.state.creation_id = begun
        request.state.spooled = body
        try:
            response = await work(Request(request.scope, _again(request, body)))
        except Exception:
            await record.release()
            raise
    await _keep(record, response)
    return response


def _again(request: Request, body: Octets) -> Receive:
    """The body, piece by piece, for those who read it after us (ASGI)."""
    pieces = iter(range(0, max(len(body), 1), PIECE_OCTETS))

    async def receive() -> Message:
        start = next(pieces, None)
        if start is None:
            return await request.receive()
        end = start + PIECE_OCTETS
        return {"type": "http.request", "body": body[start:end], "more_body": end < len(body)}

    return receive


async def _keep(record: _Record, response: Response) -> None:
    body = getattr(response, "body", None)
    if response.status_code < 300 and isinstance(body, bytes) and len(body) <= MAX_ANSWER_OCTETS:
        headers = {name: response.headers[name] for name in _KEPT_HEADERS if name in response.headers}
        await record.keep(_Answer(response.status_code, headers, body))
    else:
        await record.release()


async def forget_old(connection: AsyncConnection) -> None:
    """Remove keys that are older than is promised."""
    await run(
        connection,
        "DELETE FROM idempotency_key WHERE created_at < now() - make_interval(secs => :kept_s)",
        kept_s=KEPT_S,
    )
