"""Cursors of lists: where the next page starts, signed so that nobody can make one up.

A cursor is the sort key of the last item of a page (keyset paging: no page is skipped or shown twice while rows come
and go), as MessagePack, behind a truncated HMAC-SHA-256 that also covers which list it belongs to.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Final, TypeVar

import msgspec
from fastapi import Query

from store_api.api.problems import Refusal

T = TypeVar("T")
Row = TypeVar("Row")

_MAC_OCTETS: Final = 16
MAX_CURSOR_LENGTH: Final = 2048

Cursor = Annotated[
    str | None,
    Query(
        description="`next_cursor` of the page before; none for the first page",
        max_length=MAX_CURSOR_LENGTH,
        examples=[],
    ),
]


class Cursors:
    """Signs with a key that all replicas share."""

    def __init__(self, secret: str) -> None:
        self._key = hmac.digest(secret.encode(), b"postroom cursors", hashlib.sha256)

    def following(self, of: str, key: Any) -> str:
        """The cursor after the item with this sort key.

        `of` names the list with what selects it, as in `aliases example.test`. `key` is what MessagePack can say:
        a str, int, UUID, datetime, or a tuple of them.
        """
        packed = msgspec.msgpack.encode(key)
        return base64.urlsafe_b64encode(self._mac(of, packed) + packed).decode().rstrip("=")

    def after(self, of: str, cursor: str | None, kind: type[T]) -> T | None:
        """The sort key after which the page starts; None at the beginning. Raises Refusal `invalid-cursor`."""
        if cursor is None:
            return None
        try:
            octets = base64.b64decode(cursor + "=" * (-len(cursor) % 4), b"-_", validate=True)
            mac, packed = octets[:_MAC_OCTETS], octets[_MAC_OCTETS:]
            if not hmac.compare_digest(mac, self._mac(of, packed)):
                raise Refusal("invalid-cursor", "the cursor isn't one of this list's")
            return msgspec.msgpack.decode(packed, type=kind)
        except (binascii.Error, ValueError, msgspec.MsgspecError) as error:
            raise Refusal("invalid-cursor", "the cursor can't be read") from error

    def page(self, of: str, rows: Sequence[Row], limit: int, key: Callable[[Row], Any]) -> tuple[list[Row], str | None]:
        """A page and the cursor of the next one; `rows` were asked for with `limit + 1`: one too many says more."""
        if len(rows) <= limit:
            return list(rows), None
        return list(rows[:limit]), self.following(of, key(rows[limit - 1]))

    def _mac(self, of: str, packed: bytes) -> bytes:
        return hmac.digest(self._key, of.encode() + b"\0" + packed, hashlib.sha256)[:_MAC_OCTETS]
