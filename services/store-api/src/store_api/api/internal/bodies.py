"""Request and response bodies of the internal interface: MessagePack and frames."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar

import msgspec
from fastapi import Request
from starlette.responses import Response, StreamingResponse

from mail_runtime.contracts.errors import TooLarge
from mail_runtime.contracts.framing import pack_stream
from store_api.api.internal.envelope import Envelope
from store_api.blobs import Octets
from store_api.blobs.blobs import Blobs
from store_api.blobs.places import Place
from store_api.blobs.reading import PIECE_OCTETS, framed, read, read_many, stream

T = TypeVar("T")

# What an envelope of a thousand recipients needs, with room.
MAX_HEADER_OCTETS: Final = 1024 * 1024
# A request about uids of a whole mailbox: a million of them.
MAX_VALUE_OCTETS: Final = 8 * 1024 * 1024
OCTETS: Final = "application/octet-stream"

_encode: Final = msgspec.msgpack.Encoder().encode


async def read_bounded(request: Request, limit: int) -> bytes:
    """The request's body. Raises TooLarge as soon as it is longer than `limit`."""
    pieces: list[bytes] = []
    total = 0
    async for piece in request.stream():
        total += len(piece)
        if total > limit:
            raise TooLarge(f"the request is larger than {limit} octets")
        pieces.append(piece)
    return b"".join(pieces)


async def read_value(request: Request, kind: type[T]) -> T:
    return msgspec.msgpack.decode(await read_bounded(request, MAX_VALUE_OCTETS), type=kind)


@asynccontextmanager
async def received_message(
    request: Request, kind: type[T], max_octets: int, blobs: Blobs
) -> AsyncIterator[tuple[T, Octets]]:
    """(header, message) of an enveloped message, for the block. A large message is a mapped file.

    Waits while too much is on its way in. Raises TooLarge, FramingError, Unavailable.
    """
    limit = max_octets + MAX_HEADER_OCTETS
    announced = request.headers.get("content-length", "")
    length = int(announced) if announced.isdecimal() else limit
    if length > limit:
        raise TooLarge(f"the request is larger than {limit} octets")
    async with blobs.receiving.take(length):
        envelope = Envelope(length, blobs.policy.spool)
        try:
            async for piece in request.stream():
                await envelope.add(piece)
                if envelope.length > limit:
                    raise TooLarge(f"the request is larger than {limit} octets")
            header, octets = envelope.ended()
        finally:
            envelope.close()
        yield msgspec.msgpack.decode(header, type=kind), octets


async def body_response(blobs: Blobs, place: Place, on_top: bytes = b"") -> Response:
    """A whole message behind the fields `on_top`; a large one is streamed."""
    media_type = "message/rfc822"
    if place.length <= PIECE_OCTETS:
        return Response(on_top + await read(blobs, place), media_type=media_type)
    return streamed(_behind(on_top, stream(blobs, place)), len(on_top) + place.length, media_type)


async def framed_response(blobs: Blobs, places: Sequence[Place], first: Sequence[bytes] = ()) -> Response:
    """A stream of `contracts.framing`: what comes `first`, then bodies; in one piece unless they are much together.

    Raises NotFound, Unavailable.
    """
    octets = sum(place.length for place in places)
    if octets <= PIECE_OCTETS:
        return Response(b"".join(pack_stream([*first, *await read_many(blobs, places)])), media_type=OCTETS)
    before = b"".join(pack_stream(first))
    return streamed(_behind(before, framed(blobs, places)), len(before) + octets + 4 * len(places), OCTETS)


async def _behind(on_top: bytes, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    if on_top:
        yield on_top
    async for piece in pieces:
        yield piece


def streamed(pieces: AsyncIterator[bytes], length: int, media_type: str) -> Response:
    """With the length said beforehand, a stream that breaks off in the middle is noticed."""
    return StreamingResponse(pieces, media_type=media_type, headers={"Content-Length": str(length)})


def packed(value: Any) -> Response:
    return Response(_encode(value), media_type="application/vnd.msgpack")
