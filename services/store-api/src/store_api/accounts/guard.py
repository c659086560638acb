"""Against guessing passwords: failures are counted in Postgres for all replicas, and followed by growing pauses.

Counted are failures of one account from one network, of one network for whatever account, and of one account from
networks that it doesn't know. A network that the account has logged in from lately is known to it: there only the
account's own failures from there count, with many free tries and short pauses. So nobody can lock out a user from
elsewhere, and a neighbour behind the same address can't for longer than `KNOWN.cap_s`.

An attempt is counted before it is checked and taken back when it was right: a thousand attempts at the same moment
get no further than one after the other.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, replace
from typing import Any, Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from mail_runtime.contracts.errors import TooManyLogins
from store_api.db.engine import run

# What a subscriber usually has: one attacker doesn't get a fresh count with each address.
IPV4_PREFIX: Final = 24
IPV6_PREFIX: Final = 64
# Failures that long ago don't count; so long a network stays known; so often that is written down.
WINDOW_S: Final = 3_600.0
KNOWN_FOR_S: Final = 30 * 86_400.0
KNOWN_EVERY_S: Final = 3_600.0
# So many failures from unknown networks say that an account is being attacked from many places: then each of them has
# one try. It stays one: the user may be on the way, and the first try is always checked.
ATTACKED: Final = 100


@dataclass(frozen=True, slots=True)
class Limit:
    """`free` failures without a pause, then `first_s`, twice that, … up to `cap_s` between attempts."""

    free: int
    first_s: float
    cap_s: float

    def wait_s(self, failures: int, since_s: float) -> float:
        """How long to wait yet, `since_s` after the last of so many failures."""
        if failures < self.free or since_s >= WINDOW_S:
            return 0.0
        return max(0.0, min(self.cap_s, self.first_s * 2.0 ** min(failures - self.free, 20)) - since_s)


PAIR: Final = Limit(5, 5.0, 900.0)
PAIR_UNDER_ATTACK: Final = Limit(1, 60.0, 900.0)
KNOWN: Final = Limit(20, 1.0, 10.0)
NETWORK: Final = Limit(100, 5.0, 60.0)
COUNTED_ONLY: Final = Limit(1 << 62, 0.0, 0.0)


def network_of(peer: str) -> str:
    """The network of an address, as counted; what is no address counts as one network."""
    try:
        address = ipaddress.ip_address(peer.partition("%")[0])
    except ValueError:
        return "unknown"
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is None:
            return str(ipaddress.ip_network((address, IPV6_PREFIX), strict=False))
        address = address.ipv4_mapped
    return str(ipaddress.ip_network((address, IPV4_PREFIX), strict=False))


@dataclass(frozen=True, slots=True)
class Attempt:
    """One login under way. `everywhere`: recent failures of this account from networks that it doesn't know.

    `wait_s`: how long nothing is checked yet.
    """

    login: str
    network: str
    is_known: bool
    everywhere: int = 0
    wait_s: float = 0.0

    @property
    def limits(self) -> dict[tuple[str, str], Limit]:
        """Rows that count it, in the order in which they are locked."""
        if self.is_known:
            return {(self.login, self.network): KNOWN}
        pair = PAIR_UNDER_ATTACK if self.everywhere >= ATTACKED else PAIR
        rows = {("", self.network): NETWORK, (self.login, ""): COUNTED_ONLY, (self.login, self.network): pair}
        return dict(sorted(rows.items()))


_FAILURES: Final = """
SELECT account, network, failures, CAST(extract(epoch FROM clock_timestamp() - last_at) AS float8) AS since_s
FROM login_failure WHERE (account, network) IN (('', :network), (:login, ''), (:login, :network))
"""


async def look(connection: AsyncConnection, login: str, network: str, *, is_known: bool) -> Attempt:
    """An attempt as things stand; nothing is counted."""
    rows = (await run(connection, _FAILURES, login=login, network=network)).all()
    everywhere = sum(row.failures for row in rows if row.network == "" and row.since_s < WINDOW_S)
    attempt = Attempt(login, network, is_known, everywhere)
    limits = attempt.limits
    waits_s = [
        limits[row.account, row.network].wait_s(row.failures, row.since_s)
        for row in rows
        if (row.account, row.network) in limits
    ]
    return replace(attempt, wait_s=max(waits_s, default=0.0))


def require_patience(wait_s: float) -> None:
    """Raises TooManyLogins."""
    if wait_s > 0:
        raise TooManyLogins("too many failed logins; try again later", wait_s)


_COUNT: Final = """
INSERT INTO login_failure AS f (account, network, failures)
SELECT account, network, 1 FROM unnest(CAST(:accounts AS text[]), CAST(:networks AS text[])) AS t (account, network)
ORDER BY account, network
ON CONFLICT (account, network) DO UPDATE SET
    failures = CASE WHEN f.last_at < clock_timestamp() - make_interval(secs => :window_s) THEN 1
                    ELSE f.failures + 1 END,
    before_at = f.last_at, last_at = clock_timestamp()
RETURNING account, network, failures - 1 AS failures,
    coalesce(CAST(extract(epoch FROM last_at - before_at) AS float8), 0) AS since_s
"""


async def count(connection: AsyncConnection, attempt: Attempt) -> None:
    """Count it as failed before it is checked. Raises TooManyLogins: others were first; roll back."""
    limits = attempt.limits
    rows = await run(
        connection,
        _COUNT,
        accounts=[account for account, _ in limits],
        networks=[network for _, network in limits],
        window_s=WINDOW_S,
    )
    waits_s = [limits[row.account, row.network].wait_s(row.failures, row.since_s) for row in rows]
    require_patience(max(waits_s))


_TAKE_BACK: Final = """
WITH held AS (
    SELECT account, network FROM login_failure
    WHERE (account, network) IN (SELECT * FROM unnest(CAST(:accounts AS text[]), CAST(:networks AS text[])))
    ORDER BY account, network FOR UPDATE
)
UPDATE login_failure f
SET failures = CASE WHEN f.account = :login AND f.network = :network THEN 0 ELSE greatest(f.failures - 1, 0) END
FROM held WHERE held.account = f.account AND held.network = f.network
"""


async def take_back(connection: AsyncConnection, attempt: Attempt) -> None:
    """It was right: the account starts afresh from this network, the others lose this one failure."""
    await run(
        connection,
        _TAKE_BACK,
        accounts=[account for account, _ in attempt.limits],
        networks=[network for _, network in attempt.limits],
        login=attempt.login,
        network=attempt.network,
    )


async def remember_network(connection: AsyncConnection, account_id: UUID, network: str) -> None:
    """The account has logged in from there."""
    await run(
        connection,
        "INSERT INTO login_network (account_id, network) VALUES (:account_id, :network)"
        " ON CONFLICT (account_id, network) DO UPDATE SET last_at = now()",
        account_id=account_id,
        network=network,
    )


async def forget_old(connection: AsyncConnection) -> Any:
    """Remove what no longer counts."""
    await run(
        connection,
        "DELETE FROM login_failure WHERE last_at < now() - make_interval(secs => :window_s)",
        window_s=WINDOW_S,
    )
    await run(
        connection,
        "DELETE FROM login_network WHERE last_at < now() - make_interval(secs => :known_for_s)",
        known_for_s=KNOWN_FOR_S,
    )
