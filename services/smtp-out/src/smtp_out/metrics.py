"""Metrics of smtp-out."""

from __future__ import annotations

from collections import Counter as Tally
from typing import Final

from prometheus_client import Counter, Gauge, Histogram

from mail_runtime.measuring import BUCKETS

DELIVERIES: Final = Counter("postroom_relay_deliveries", "Attempts that ended, by result", ["result"])
RUNNING: Final = Gauge("postroom_relay_jobs_running", "Jobs being sent now")
BUSY: Final = Counter("postroom_relay_jobs_busy", "Jobs put back because their destination takes no more now")
# By what was waited for (GREETING, EHLO, MAIL, RCPT, DATA, MESSAGE, …) and the reply's class, or "lost".
COMMANDS: Final = Histogram(
    "postroom_relay_command_seconds",
    "Commands to other servers, until their reply: 2xx, 3xx, 4xx, 5xx, lost",
    ["command", "outcome"],
    buckets=(*BUCKETS, 60, 120, 300),
)
BY_DOMAIN: Final = Counter(
    "postroom_relay_domain_deliveries",
    "Attempts that ended, by the recipient's domain: those that mail goes to most, all else is `other`",
    ["domain", "result"],
)

# Each name is a time series for three results and all replicas: there mustn't be more of them than this.
MAX_DOMAINS: Final = 50
# Attempts after which a domain gets a name of its own, while there are names left.
OFTEN: Final = 20
# Domains that are counted until they have one; what is rare is forgotten, so that memory stays bounded.
MAX_CANDIDATES: Final = 2000
OTHER: Final = "other"


class Domains:
    """Which domains have a name in metrics: the first ones that mail goes to often."""

    def __init__(self) -> None:
        self._named: set[str] = set()
        self._candidates: Tally[str] = Tally()

    def label(self, domain: str) -> str:
        """The name to count an attempt under."""
        if domain in self._named:
            return domain
        if len(self._named) >= MAX_DOMAINS:
            return OTHER
        self._candidates[domain] += 1
        if self._candidates[domain] >= OFTEN:
            self._named.add(domain)
            del self._candidates[domain]
            return domain
        if len(self._candidates) > MAX_CANDIDATES:
            self._candidates = Tally(dict(self._candidates.most_common(MAX_CANDIDATES // 2)))
        return OTHER


_domains: Final = Domains()


def count(domain: str, result: str) -> None:
    """An attempt for one recipient has ended."""
    DELIVERIES.labels(result).inc()
    BY_DOMAIN.labels(_domains.label(domain), result).inc()


UNRECORDED: Final = Histogram(
    "postroom_relay_unrecorded_seconds",
    "From the remote's last word on a message until the store has committed it: who is killed in between sends twice",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
)
