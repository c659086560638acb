"""What came of TLS to whom, counted and told as events `tls.counted` once a minute (RFC 8460 §4)."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal
from uuid import uuid4

import msgspec
import structlog
from nats.errors import Error as NatsError

from mail_runtime.bus import Bus, BusUnavailable
from mail_runtime.contracts.events import CLOUDEVENT_TYPE, CloudEvent, event_subject

log = structlog.get_logger()

EVENT_TYPE: Final = "tls.counted"
PERIOD_S: Final = 60.0
# Kinds counted between two events; more than that isn't a report any more.
KINDS_LIMIT: Final = 10_000
PUBLISH_TIMEOUT_S: Final = 5.0

PolicyType = Literal["tlsa", "sts", "no-policy-found"]
POLICY_TYPES: Final[dict[str, PolicyType]] = {"dane": "tlsa", "mta-sts": "sts"}


@dataclass(frozen=True, slots=True)
class Session:
    """One session with one host. `result`: `success`, or a result-type of RFC 8460 §4.3."""

    domain: str
    policy: PolicyType
    host: str
    address: str
    result: str


class TlsReports:
    """One per process; `run` tells."""

    def __init__(self, bus: Bus | None, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._bus, self._clock = bus, clock
        self._counted: Counter[Session] = Counter()
        self._since = clock()

    def note(self, session: Session) -> None:
        """Count it."""
        if session in self._counted or len(self._counted) < KINDS_LIMIT:
            self._counted[session] += 1

    async def run(self, stopping: asyncio.Event) -> None:
        """Tell once a minute and a last time at the end."""
        while not stopping.is_set():
            try:
                async with asyncio.timeout(PERIOD_S):
                    await stopping.wait()
            except TimeoutError:
                pass
            await self.tell()

    async def tell(self) -> None:
        """An event for each kind of session since the last time. What can't be told now is told next time."""
        counted, since, until = self._counted, self._since, self._clock()
        if not counted or self._bus is None:
            return
        self._counted, self._since = Counter(), until
        try:
            jetstream = self._bus.jetstream()
            for session in list(counted):
                event = _event(session, counted[session], since, until)
                await jetstream.publish(
                    event_subject(EVENT_TYPE),
                    msgspec.json.encode(event),
                    timeout=PUBLISH_TIMEOUT_S,
                    headers={"Nats-Msg-Id": str(event.id), "Content-Type": CLOUDEVENT_TYPE},
                )
                del counted[session]
        except (BusUnavailable, NatsError, OSError, TimeoutError) as error:
            log.info("tls_reports_wait", error=repr(error))
            self._counted.update(counted)
            self._since = since


def _event(session: Session, sessions: int, since: datetime, until: datetime) -> CloudEvent:
    """The names of its fields are those of the report's JSON."""
    content = {
        "start-datetime": since,
        "end-datetime": until,
        "policy-domain": session.domain,
        "policy-type": session.policy,
        "receiving-mx-hostname": session.host,
        "receiving-ip": session.address,
        "result-type": session.result,
        "session-count": sessions,
    }
    return CloudEvent(
        id=uuid4(),
        source="smtp-out",
        type=EVENT_TYPE,
        time=until,
        data=msgspec.Raw(msgspec.json.encode(content)),
    )
