"""What pop3 counts."""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

from mail_runtime.measuring import BUCKETS

CONNECTIONS: Final = Gauge("postroom_pop3_connections", "Connections open now")
LOGINS: Final = Counter("postroom_pop3_logins", "Logins", ["outcome"])
RETRIEVED: Final = Counter("postroom_pop3_retrieved", "Messages retrieved")
# What isn't answered from memory: LogIn, Authenticate, SaslResponse, Send (RETR, TOP), Update (QUIT), StartTls.
STEPS: Final = Histogram(
    "postroom_pop3_step_seconds", "Steps: done, refused, unavailable", ["step", "outcome"], buckets=BUCKETS
)
