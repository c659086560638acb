"""What imap counts."""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

from mail_runtime.measuring import BUCKETS

CONNECTIONS: Final = Gauge("postroom_imap_connections", "Connections open now")
LOGINS: Final = Counter("postroom_imap_logins", "Logins", ["outcome"])
COMMANDS: Final = Histogram(
    "postroom_imap_command_seconds", "Commands: done, refused, unavailable", ["command", "outcome"], buckets=BUCKETS
)
