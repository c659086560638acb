"""What the directory says of addresses, many in one statement.

An address is looked for as it is written, then without its `+detail` (RFC 5233 §1), then as the catch-all of its
domain; each in its own domain first and then in the one that its domain is an alias of.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final, Literal
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from store_api.db.engine import fetch

Kind = Literal["alias", "list", "catch_all"]
WhoMayPost = Literal["anyone", "members", "domain"]


@dataclass(frozen=True, slots=True)
class FoundAccount:
    """An account that an address means. `mailbox_id`: that of the detail where the account wants it, or INBOX.

    `has_quota`: it or its domain may run out of room.
    """

    id: UUID
    address: str
    domain_id: UUID
    is_active: bool
    forward_to: tuple[str, ...]
    keeps_copy: bool
    mailbox_id: UUID
    has_quota: bool


@dataclass(frozen=True, slots=True)
class FoundAlias:
    """An alias, list or catch-all that an address means; targets as they were written."""

    id: UUID
    address: str
    domain_id: UUID
    kind: Kind
    who_may_post: WhoMayPost
    targets: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """`domain_id` None: another server's. Else the domain of ours, aliases of domains followed."""

    domain_id: UUID | None
    found: FoundAccount | FoundAlias | None = None


_FIND: Final = """
SELECT q.n, coalesce(q.alias_of, q.domain_id) AS domain_id, a.id AS account_id, l.id AS alias_id,
       coalesce(a.address, l.address) AS address, coalesce(a.domain_id, l.domain_id) AS found_domain_id,
       a.state, a.forward_to, a.forward_keeps_copy, l.kind, l.who_may_post,
       coalesce((SELECT m.id FROM mailbox m
                 WHERE f.is_base AND a.detail_to_mailbox AND m.account_id = a.id AND lower(m.name) = q.detail),
                i.id) AS mailbox_id,
       (SELECT array_agg(t.target ORDER BY t.target) FROM alias_target t WHERE t.alias_id = l.id) AS targets,
       a.id IS NOT NULL AND (a.quota_octets IS NOT NULL OR a.quota_messages IS NOT NULL OR EXISTS (
           SELECT 1 FROM domain o WHERE o.id = a.domain_id
             AND coalesce(o.quota_octets, o.quota_messages, o.account_quota_octets, o.account_quota_messages)
                 IS NOT NULL)) AS has_quota
FROM (
    SELECT t.n, t.local, t.base, t.detail, t.domain, d.id AS domain_id, d.alias_of, c.name AS canonical
    FROM unnest(CAST(:locals AS text[]), CAST(:bases AS text[]), CAST(:details AS text[]), CAST(:domains AS text[]))
         WITH ORDINALITY AS t (local, base, detail, domain, n)
    JOIN domain d ON d.name = t.domain
    LEFT JOIN domain c ON c.id = d.alias_of
) q
LEFT JOIN LATERAL (
    SELECT a.id AS account_id, l.id AS alias_id, k.rank IN (3, 4) AS is_base
    FROM (VALUES (1, q.local || '@' || q.domain), (2, q.local || '@' || q.canonical),
                 (3, q.base || '@' || q.domain), (4, q.base || '@' || q.canonical),
                 (5, '@' || q.domain), (6, '@' || q.canonical)) AS k (rank, address)
    LEFT JOIN account a ON a.address = k.address
    LEFT JOIN alias l ON l.address = k.address
    WHERE a.id IS NOT NULL OR l.id IS NOT NULL
    ORDER BY k.rank LIMIT 1
) f ON true
LEFT JOIN account a ON a.id = f.account_id
LEFT JOIN alias l ON l.id = f.alias_id AND a.id IS NULL
LEFT JOIN mailbox i ON i.account_id = a.id AND i.name = 'INBOX'
"""

_FOREIGN: Final = Entry(None)


def split(address: str) -> tuple[str, str, str | None, str]:
    """(local part, without its detail, the detail, domain); all in lower case."""
    local, _, domain = address.lower().rpartition("@")
    base, plus, detail = local.partition("+")
    return (local, base, detail, domain) if plus and base else (local, local, None, domain)


async def find(connection: AsyncConnection, addresses: Collection[str]) -> dict[str, Entry]:
    """What each address means."""
    asked = list(addresses)
    parts = [split(address) for address in asked]
    rows = await fetch(
        connection,
        _FIND,
        locals=[local for local, _, _, _ in parts],
        bases=[base for _, base, _, _ in parts],
        details=[detail for _, _, detail, _ in parts],
        domains=[domain for _, _, _, domain in parts],
    )
    entries = dict.fromkeys(asked, _FOREIGN)
    for row in rows:
        entries[asked[row.n - 1]] = Entry(row.domain_id, _found(row))
    return entries


def _found(row: Any) -> FoundAccount | FoundAlias | None:
    if row.account_id is not None and row.mailbox_id is not None:
        return FoundAccount(
            row.account_id,
            row.address,
            row.found_domain_id,
            row.state == "active",
            tuple(row.forward_to),
            row.forward_keeps_copy,
            row.mailbox_id,
            row.has_quota,
        )
    if row.alias_id is not None:
        return FoundAlias(
            row.alias_id, row.address, row.found_domain_id, row.kind, row.who_may_post, tuple(row.targets or ())
        )
    return None
