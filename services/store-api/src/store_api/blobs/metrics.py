"""What Prometheus is told of the object storage."""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

REQUESTS: Final = Counter(
    "postroom_blob_requests", "Attempts at the object storage", ["operation", "outcome"]
)  # outcome: ok, missing, passing (may be tried again), failed
OCTETS: Final = Counter("postroom_blob_octets", "Octets that were moved", ["operation"])
SECONDS: Final = Histogram(
    "postroom_blob_seconds",
    "Time of one attempt",
    ["operation"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0),
)
CIRCUIT_OPEN: Final = Gauge("postroom_blob_circuit_open", "1 while the object storage isn't asked, because it is away")
IN_FLIGHT: Final = Gauge("postroom_blob_in_flight_octets", "Octets of bodies that are held in memory")
BODY_OCTETS: Final = Counter("postroom_body_octets", "Octets of bodies, before encoding and after", ["what"])
COLLECTED: Final = Counter(
    "postroom_collected", "What the collector has removed or rewritten", ["what"]
)  # tombstones, transmissions, blobs, objects, orphans, packs
