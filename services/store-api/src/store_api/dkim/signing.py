"""Signing what leaves: the fields that are put on top of a message when the relay fetches it (DKIM, ARC).

The stored octets stay as they are, private keys never leave the store, and a message that waited for a day is signed
with the keys of the moment it goes (docs/decisions/0022-the-store-signs.md).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final
from uuid import UUID

from mail_proto.arc_sealing import Chain, chain_of, message_signature, seal
from mail_proto.dkim import Reading, Signer
from mail_proto.message.address_list import displayed, parse_list
from mail_proto.message.headers import field
from store_api.blobs.blobs import Blobs
from store_api.blobs.places import Place
from store_api.blobs.reading import stream
from store_api.db.engine import Database
from store_api.dkim.secrets import PrivateKey, Sealed, sign, unseal

# Hashing more than this at once would hold up others: it goes to a thread.
INLINE_OCTETS: Final = 65_536

# The domain whose mail it is, and its other names: whoever has an account there writes in all of them.
_KEYS: Final = """
SELECT o.transmission_id, k.id, k.selector, k.algorithm, k.private_key, k.data_key, k.key_id, d.name,
       d.id = o.domain_id AS is_own, t.is_forwarded
FROM (SELECT DISTINCT transmission_id, domain_id FROM delivery
      WHERE transmission_id = ANY (CAST(:ids AS uuid[])) AND domain_id IS NOT NULL) o
JOIN transmission t ON t.id = o.transmission_id
JOIN domain own ON own.id = o.domain_id
JOIN domain d ON coalesce(d.alias_of, d.id) = coalesce(own.alias_of, own.id)
JOIN dkim_key k ON k.domain_id = d.id AND k.state = 'active'
ORDER BY k.algorithm, k.selector
"""


async def keys_for(database: Database, transmission_ids: Sequence[UUID]) -> dict[UUID, list[Any]]:
    """Rows of the keys that may sign each transmission; one without any leaves as it is. Raises Unavailable."""
    found: dict[UUID, list[Any]] = {}
    for row in await database.fetch(_KEYS, ids=list(transmission_ids)):
        found.setdefault(row.transmission_id, []).append(row)
    return found


async def signatures(blobs: Blobs, message: Place | bytes, keys: Sequence[Any], hostname: str) -> bytes:
    """DKIM-Signature fields for the message, to be put in front of it, and an ARC set where it is sent on.

    `hostname`: whose Authentication-Results are ours. Raises NotFound, Unavailable.
    """
    reading = Reading()
    async for piece in _whole(message) if isinstance(message, bytes) else stream(blobs, message):
        if len(piece) > INLINE_OCTETS:
            await asyncio.to_thread(reading.feed, piece)
        else:
            reading.feed(piece)
    reading.end()
    chosen = [(row, unseal(blobs.keyring, row.id, _sealed(row))) for row in _aligned(keys, reading.header)]
    if any(row.algorithm == "rsa-sha256" for row, _ in chosen):
        return await asyncio.to_thread(_on_top, reading, chosen, hostname)
    return _on_top(reading, chosen, hostname)


async def _whole(octets: bytes) -> AsyncIterator[bytes]:
    yield octets


def _sealed(row: Any) -> Sealed:
    return Sealed(row.private_key, row.data_key, row.key_id)


def _aligned(keys: Sequence[Any], header: bytes) -> list[Any]:
    """Keys of the domain that From names (RFC 7489 §3.1.1); else those of the sender's own, which answers for it."""
    author = _author_domain(header)
    return [row for row in keys if row.name == author] or [row for row in keys if row.is_own]


def _author_domain(header: bytes) -> str:
    """Of the first address in From; empty where there is none."""
    listed = displayed(parse_list(field(header, b"from") or b""))
    return next((address.rpartition("@")[2].lower() for _, address in listed if "@" in address), "")


def _on_top(reading: Reading, keys: Sequence[tuple[Any, PrivateKey]], hostname: str) -> bytes:
    signed = _sign(reading, keys)
    if not keys or not keys[0][0].is_forwarded or (chain := chain_of(reading.header, hostname)) is None:
        return signed
    return _arc_set(chain, reading, keys, signed) + signed


def _arc_set(chain: Chain, reading: Reading, keys: Sequence[tuple[Any, PrivateKey]], added: bytes) -> bytes:
    """By one key: that of RSA, which all validators know, if there is one. Empty: there is no From."""
    row, key = max(keys, key=lambda each: each[0].algorithm == "rsa-sha256")
    signer, now_s = Signer(row.name, row.selector, row.algorithm), int(time.time())
    unsigned = message_signature(chain, signer, reading, added, now_s)
    if unsigned is None:
        return b""
    signature = unsigned.field(sign(key, unsigned))
    sealed = seal(chain, signer, signature, now_s)
    return sealed.field(sign(key, sealed)) + signature + chain.results_field


def _sign(reading: Reading, keys: Sequence[tuple[Any, PrivateKey]]) -> bytes:
    signers = [Signer(row.name, row.selector, row.algorithm) for row, _ in keys]
    unsigned = reading.unsigned(signers, int(time.time()))
    return b"".join(each.field(sign(key, each)) for each, (_, key) in zip(unsigned, keys, strict=False))
