"""One part of a message, decoded as it is read: only its octets come from storage, a piece at a time."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from mail_proto.message.body_structure import DescribedPart, describe_part
from mail_proto.message.leaves import file_name
from mail_proto.message.sections import find_part
from mail_proto.message.structure import Part
from mail_proto.message.text import MAX_PART_HEADER_OCTETS, transfer_encoding
from mail_proto.message.transfer import Decoder
from mail_runtime.contracts.errors import NotFound
from store_api.blobs.blobs import Blobs
from store_api.blobs.places import Place
from store_api.blobs.reading import PIECE_OCTETS, read_range

# Types that browsers show without running anything of them.
_SHOWN: Final = frozenset({"image/gif", "image/jpeg", "image/png", "image/webp", "text/plain"})
_CHARSET: Final = re.compile(rb"[A-Za-z0-9_.:-]{1,40}")


@dataclass(frozen=True, slots=True)
class OpenPart:
    """A part whose header has been read."""

    described: DescribedPart

    @property
    def content_type(self) -> str:
        """The declared type; of its parameters only the charset of a text."""
        media_type = self.described.part.media_type
        charset = self.described.media_type.parameter(b"charset")
        if media_type.startswith("text/") and charset and _CHARSET.fullmatch(charset):
            return f"{media_type}; charset={charset.decode('ascii')}"
        return media_type

    @property
    def content_disposition(self) -> str:
        """To be saved, unless a browser can show it without harm; with the name where there is one (RFC 6266)."""
        shown = "inline" if self.described.part.media_type in _SHOWN else "attachment"
        name = file_name(self.described)
        return f"{shown}; filename*=UTF-8''{quote(name, safe='')}" if name else shown


def leaf_at(root: Part, path: tuple[int, ...]) -> Part:
    """Raises NotFound: no part has that number, or one that only contains others."""
    part = find_part(root, path)
    if part is None or part.is_multipart:
        raise NotFound("the message has no such part")
    return part


async def open_part(blobs: Blobs, place: Place, part: Part) -> OpenPart:
    """Raises NotFound, Unavailable."""
    end = min(part.body_start, part.header_start + MAX_PART_HEADER_OCTETS)
    return OpenPart(describe_part(part, await read_range(blobs, place, part.header_start, end)))


async def read_part(blobs: Blobs, place: Place, opened: OpenPart) -> AsyncIterator[bytes]:
    """The decoded octets. Raises NotFound, Unavailable."""
    part = opened.described.part
    decoder = Decoder(transfer_encoding(opened.described.values))
    for at in range(part.body_start, part.body_end, PIECE_OCTETS):
        yield decoder.add(await read_range(blobs, place, at, min(at + PIECE_OCTETS, part.body_end)))
    yield decoder.end()
