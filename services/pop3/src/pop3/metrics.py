"""What pop3 counts."""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter, Gauge

CONNECTIONS: Final = Gauge("postroom_pop3_connections", "Connections open now")
LOGINS: Final = Counter("postroom_pop3_logins", "Logins", ["outcome"])
RETRIEVED: Final = Counter("postroom_pop3_retrieved", "Messages retrieved")
