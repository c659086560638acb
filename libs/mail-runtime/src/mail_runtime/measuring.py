"""How long commands of a protocol take: counted by the frontends, one histogram each."""

from __future__ import annotations

from typing import Final

# Seconds. Commands are answered from memory, by one call of the store, or by reading bodies; a client that sends or
# reads slowly makes them longer.
BUCKETS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
