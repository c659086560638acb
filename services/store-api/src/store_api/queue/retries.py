"""When a deferred delivery is tried again, and what counts as a failure for good (RFC 5321 §4.5.4.1)."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec

from mail_runtime.contracts.store import Outcome

# Pauses grow to this, unless a domain has its own.
LONGEST_PAUSE_S: Final = 4 * 3600.0
# A pause is this much shorter or longer, by chance: what failed together doesn't come back together.
JITTER: Final = 0.2


@dataclass(frozen=True, slots=True)
class Retries:
    """The pause before the second attempt is `first_s`; it doubles with each attempt."""

    first_s: float

    def pause(self, attempts: int, chance: float, domain: Any = None) -> timedelta:
        """`chance` is in [0, 1): equal ones give equal pauses. `domain` has what is different there."""
        first_s = self._own(domain, "retry_first_s", self.first_s)
        longest_s = self._own(domain, "retry_longest_s", LONGEST_PAUSE_S)
        pause_s = min(longest_s, first_s * 2.0 ** min(attempts - 1, 30))
        return timedelta(seconds=pause_s * (1 + JITTER * (2 * chance - 1)))

    @staticmethod
    def _own(domain: Any, name: str, otherwise: float) -> float:
        value: float | None = getattr(domain, name, None)
        return otherwise if value is None else value


@dataclass(frozen=True, slots=True)
class Ended:
    """One delivery with the outcome that counts. `next_attempt_at` is set when it stays queued."""

    outcome: Outcome
    row: Any
    next_attempt_at: datetime | None = None

    @property
    def recipient(self) -> str:
        return str(self.row.recipient)


def judge(rows: list[Any], outcomes: dict[Any, Outcome], retries: Retries) -> list[Ended]:
    """What becomes of deliveries that were tried together; those that wait wait equally long, to travel together."""
    chance = random.random()  # noqa: S311 - spreads attempts, guards nothing
    return [_judge(row, outcomes[row.id], retries, chance) for row in rows]


def _judge(row: Any, outcome: Outcome, retries: Retries, chance: float) -> Ended:
    """A deferred delivery whose time is over has failed (RFC 3463 §3.5: X.4.7)."""
    if outcome.result == "failed" and outcome.remote and row.defer_permanent:
        outcome = msgspec.structs.replace(outcome, result="deferred")
    if outcome.result != "deferred":
        return Ended(outcome, row)
    next_attempt_at = datetime.now(UTC) + retries.pause(row.attempts, chance, row)
    if next_attempt_at < row.expires_at:
        return Ended(outcome, row, next_attempt_at)
    words = f"gave up after {row.attempts} attempts; the last answer was: {outcome.reply}"
    return Ended(msgspec.structs.replace(outcome, result="failed", reply=words, status="4.4.7"), row)
