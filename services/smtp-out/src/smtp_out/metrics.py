"""Metrics of smtp-out."""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter, Gauge

DELIVERIES: Final = Counter("postroom_relay_deliveries", "Attempts that ended, by result", ["result"])
RUNNING: Final = Gauge("postroom_relay_jobs_running", "Jobs being sent now")
BUSY: Final = Counter("postroom_relay_jobs_busy", "Jobs put back because their destination takes no more now")
