"""Request and response bodies of the internal interface: MessagePack and frames."""

from __future__ import annotations

from typing import Any, Final, TypeVar

import msgspec
from fastapi import Request
from starlette.responses import Response

from mail_runtime.contracts.errors import TooLarge
from mail_runtime.contracts.framing import unpack_envelope

T = TypeVar("T")

# What an envelope of a thousand recipients needs, with room.
MAX_HEADER_OCTETS: Final = 1024 * 1024
# A request about uids of a whole mailbox: a million of them.
MAX_VALUE_OCTETS: Final = 8 * 1024 * 1024

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


async def read_message(request: Request, kind: type[T], max_octets: int) -> tuple[T, bytes]:
    """(header, message) of an enveloped message. Raises TooLarge, FramingError."""
    header, octets = unpack_envelope(await read_bounded(request, max_octets + MAX_HEADER_OCTETS))
    return msgspec.msgpack.decode(header, type=kind), octets


def packed(value: Any) -> Response:
    return Response(_encode(value), media_type="application/vnd.msgpack")
