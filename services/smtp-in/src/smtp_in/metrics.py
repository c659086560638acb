"""What smtp-in counts for Prometheus."""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

from mail_runtime.measuring import BUCKETS

CONNECTIONS: Final = Gauge("postroom_smtp_in_connections", "Open connections", ["listener"])
TRANSMISSIONS: Final = Counter("postroom_smtp_in_transmissions_total", "DATA, by outcome", ["listener", "outcome"])
LOGINS: Final = Counter("postroom_smtp_in_logins_total", "AUTH, by outcome", ["outcome"])
LOOKUPS: Final = Counter("postroom_smtp_in_dns_lookups_total", "Questions to the DNS, by outcome", ["outcome"])
JUDGED: Final = Counter(
    "postroom_smtp_in_judged_total", "Messages and clients that policy refused or marked", ["why", "outcome"]
)
# What isn't answered from memory: Greeted, CheckSender (MAIL), CheckRecipient (RCPT), Deliver (DATA), Authenticate, …
STEPS: Final = Histogram(
    "postroom_smtp_in_step_seconds", "Steps: done, refused, unavailable", ["step", "outcome"], buckets=BUCKETS
)
