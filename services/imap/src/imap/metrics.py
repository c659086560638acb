"""What imap counts."""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter, Gauge

CONNECTIONS: Final = Gauge("postroom_imap_connections", "Connections open now")
LOGINS: Final = Counter("postroom_imap_logins", "Logins", ["outcome"])
COMMANDS: Final = Counter("postroom_imap_commands", "Commands", ["command", "outcome"])
