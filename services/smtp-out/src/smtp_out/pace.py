"""How much a destination is given: connections, messages a minute, and less of it when it complains.

Pure: what all replicas share about one destination is a `Shared`, and each step makes a new one. A destination that
pushes back (421, 450, 4.7.x) gets half of its connections and a pause, longer each time; without complaints it gets
a quarter more every `WARM_S` until it has all again.
"""

from __future__ import annotations

from typing import Final

import msgspec

from mail_proto.smtp.client_actions import Verdict

# What a worker holds is free again this long after it was heard of last.
HOLD_S: Final = 60.0
FIRST_PAUSE_S: Final = 10.0
PAUSE_LIMIT_S: Final = 600.0
WARM_S: Final = 30.0
MINUTE_S: Final = 60.0


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of one destination, for all replicas together. `messages_per_minute` 0: as many as come."""

    connections: int = 10
    messages_per_connection: int = 100
    messages_per_minute: int = 0

    def __post_init__(self) -> None:
        if self.connections < 1 or self.messages_per_connection < 1 or self.messages_per_minute < 0:
            raise ValueError("limits start at 1, messages_per_minute at 0")


class Holding(msgspec.Struct, frozen=True):
    """Connections of one worker, until when (seconds since the epoch)."""

    connections: int
    until: float


class Shared(msgspec.Struct, frozen=True, kw_only=True):
    """What replicas know of a destination. `share` is the part of the limit that it is given now."""

    holdings: dict[str, Holding] = {}
    share: float = 1.0
    complaints: int = 0
    paused_until: float = 0.0
    warmed_at: float = 0.0
    minute: int = 0
    sent: int = 0


class Busy(Exception):
    """Not now; try again after `delay_s`."""

    def __init__(self, delay_s: float) -> None:
        super().__init__(f"busy for {delay_s:.1f} s")
        self.delay_s = delay_s


BUSY_DELAY_S: Final = 1.0


def connected(shared: Shared, worker: str, connections: int, limits: Limits, now: float) -> Shared:
    """One more connection for `worker`, which has so many then. Raises Busy."""
    if shared.paused_until > now:
        raise Busy(shared.paused_until - now)
    shared = warmed(shared, now)
    elsewhere = sum(
        theirs.connections for name, theirs in shared.holdings.items() if theirs.until > now and name != worker
    )
    if elsewhere + connections > max(1, int(limits.connections * shared.share)):
        raise Busy(BUSY_DELAY_S)
    return held(shared, worker, connections, now)


def held(shared: Shared, worker: str, connections: int, now: float) -> Shared:
    """`worker` has so many connections; also how it shows that it lives."""
    others = {name: theirs for name, theirs in shared.holdings.items() if theirs.until > now and name != worker}
    mine = {worker: Holding(connections, now + HOLD_S)} if connections else {}
    return msgspec.structs.replace(shared, holdings={**others, **mine})


def counted(shared: Shared, limits: Limits, now: float) -> Shared:
    """One more message in this minute. Raises Busy."""
    if not limits.messages_per_minute:
        return shared
    minute = int(now // MINUTE_S)
    sent = shared.sent if shared.minute == minute else 0
    if sent >= limits.messages_per_minute:
        raise Busy((minute + 1) * MINUTE_S - now)
    return msgspec.structs.replace(shared, minute=minute, sent=sent + 1)


def slowed(shared: Shared, now: float) -> Shared:
    """The destination complained. What several connections are told at the same time counts once."""
    if shared.paused_until > now:
        return shared
    pause_s = min(PAUSE_LIMIT_S, FIRST_PAUSE_S * 2.0 ** min(shared.complaints, 10))
    return msgspec.structs.replace(
        shared,
        share=shared.share / 2 if shared.share > 0.01 else shared.share,
        complaints=shared.complaints + 1,
        paused_until=now + pause_s,
        warmed_at=now + pause_s,
    )


def warmed(shared: Shared, now: float) -> Shared:
    """A little more, when it didn't complain for a while."""
    if (shared.share >= 1.0 and not shared.complaints) or now < shared.warmed_at + WARM_S:
        return shared
    return msgspec.structs.replace(
        shared,
        share=min(1.0, shared.share * 1.25),
        complaints=max(0, shared.complaints - 1),
        warmed_at=now,
    )


def is_complaint(verdict: Verdict) -> bool:
    """The remote asks for less, or for later; what concerns one mailbox (X.1.x, X.2.x) is no such thing."""
    if verdict.result != "deferred":
        return False
    code, subject = verdict.reply[:3], verdict.status[:4]
    if not code.startswith("4"):
        return False  # our own words
    return code == "421" or subject == "4.7." or (code == "450" and subject not in {"4.1.", "4.2."})
