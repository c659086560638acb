"""Master keys of encryption at rest: each body has a data key of its own, wrapped by one of these (RFC 3394)."""

from __future__ import annotations

import base64
import binascii
import os
import re
from dataclasses import dataclass, field
from typing import Final

from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap, aes_key_wrap

from mail_runtime.contracts.errors import Unavailable

KEY_OCTETS: Final = 32  # AES-256
_ENTRY: Final = re.compile(r"([A-Za-z0-9._-]{1,64}):([A-Za-z0-9+/_-]+={0,2})", re.ASCII)


@dataclass(frozen=True, slots=True)
class DataKey:
    """The key of one body, and as it is kept: wrapped by the master key `key_id`."""

    key: bytes = field(repr=False)
    wrapped: bytes = field(repr=False)
    key_id: str


class Keyring:
    """Master keys by id. The first one wraps; the others unwrap what was wrapped before a rotation."""

    def __init__(self, keys: dict[str, bytes]) -> None:
        self._keys = keys
        self.current_id = next(iter(keys), None)

    @classmethod
    def parse(cls, text: str) -> Keyring:
        """From `id:base64` entries, separated by white space or commas; none: nothing is encrypted.

        Raises ValueError: the text says which entry is wrong, without its key.
        """
        keys: dict[str, bytes] = {}
        for number, entry in enumerate(re.split(r"[\s,]+", text.strip()) if text.strip() else [], 1):
            found = _ENTRY.fullmatch(entry)
            key = _decoded(found[2]) if found else b""
            if found is None or len(key) != KEY_OCTETS:
                raise ValueError(f"key {number} is not `id:` and {KEY_OCTETS} octets in base64")
            if found[1] in keys:
                raise ValueError(f"key id {found[1]!r} is there twice")
            keys[found[1]] = key
        return cls(keys)

    def new_data_key(self) -> DataKey | None:
        """For one body. None: nothing is to be encrypted."""
        return None if self.current_id is None else self._wrapped(os.urandom(KEY_OCTETS))

    def _wrapped(self, key: bytes) -> DataKey:
        assert self.current_id is not None
        return DataKey(key, aes_key_wrap(self._keys[self.current_id], key), self.current_id)

    def unwrap(self, wrapped: bytes, key_id: str) -> bytes:
        """The data key. Raises Unavailable: the master key isn't here, or isn't the one that wrapped it."""
        if (master := self._keys.get(key_id)) is None:
            raise Unavailable(f"the stored message needs the master key {key_id!r}, which isn't set")
        try:
            return aes_key_unwrap(master, wrapped)
        except InvalidUnwrap as error:
            raise Unavailable(f"the master key {key_id!r} isn't the one that was used") from error

    def rewrap(self, wrapped: bytes, key_id: str) -> DataKey:
        """The same data key under the current master key. Raises Unavailable, as `unwrap`."""
        return self._wrapped(self.unwrap(wrapped, key_id))


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text.replace("-", "+").replace("_", "/") + "=" * (-len(text) % 4))
    except binascii.Error:
        return b""
