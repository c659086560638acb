"""What is counted of logins."""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter

# outcome: password, remembered, app_password, scram, token; failed; blocked (nothing was checked).
LOGINS: Final = Counter("postroom_store_logins", "Logins", ["service", "outcome"])
ARGON2_RUNS: Final = Counter("postroom_store_argon2_runs", "Runs of argon2id")
