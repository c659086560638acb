"""Results of DMARC, told to the store as events: what aggregate reports are made of (RFC 7489 §7.2).

They leave in batches, behind the reply; what can't be told for long is dropped and counted, never in the way of mail.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final, Protocol

import structlog

from mail_proto.authentication.dmarc import Dmarc, Record
from mail_runtime.contracts.errors import StoreError, Unavailable
from mail_runtime.contracts.store.screening import Told
from smtp_in.checks.sender import Findings
from smtp_in.metrics import JUDGED

log = structlog.get_logger()

MAX_WAITING: Final = 5_000
BATCH: Final = 200
PAUSE_S: Final = 1.0


class Events(Protocol):
    """The part of the store client that is used here."""

    async def tell(self, told: list[Told]) -> None: ...


class Reports:
    """Collected by all connections, told by one task (`run`)."""

    def __init__(self, store: Events) -> None:
        self._store = store
        self._waiting: asyncio.Queue[Told] = asyncio.Queue(MAX_WAITING)
        # Being told just now.
        self._batch: list[Told] = []

    def add(self, told: Told) -> None:
        """Never waits."""
        try:
            self._waiting.put_nowait(told)
        except asyncio.QueueFull:
            JUDGED.labels("dmarc-report", "dropped").inc()

    async def run(self) -> None:
        """Tell until cancelled; then once more what is there."""
        try:
            while True:
                self._batch.append(await self._waiting.get())
                self._fill()
                await self._tell()
        finally:
            await self._tell_rest()

    def _fill(self) -> None:
        while len(self._batch) < BATCH and not self._waiting.empty():
            self._batch.append(self._waiting.get_nowait())

    async def _tell(self) -> None:
        """Again and again while the store is away; what it refuses would be refused again."""
        while self._batch:
            try:
                await self._store.tell(self._batch)
                self._batch.clear()
            except Unavailable as error:
                log.info("reports_wait", error=str(error))
                await asyncio.sleep(PAUSE_S)
            except StoreError as error:
                log.error("reports_refused", error=str(error))
                self._drop()

    async def _tell_rest(self) -> None:
        self._fill()
        while self._batch:
            try:
                await self._store.tell(self._batch)
                self._batch.clear()
            except StoreError as error:
                log.warning("reports_dropped", error=str(error))
                self._drop()
            self._fill()

    def _drop(self) -> None:
        JUDGED.labels("dmarc-report", "dropped").inc(len(self._batch))
        self._batch.clear()


def report(findings: Findings, client: str, reverse_path: str, disposition: str, reason: str) -> Told | None:
    """One row of an aggregate report (RFC 7489 appendix C); None: the domain has no policy."""
    dmarc = findings.dmarc
    if dmarc.record is None:
        return None
    content: dict[str, Any] = {
        "source_ip": client,
        "policy_published": _published(dmarc.record),
        "policy_evaluated": {
            "disposition": disposition,
            "dkim": "pass" if dmarc.dkim_aligned else "fail",
            "spf": "pass" if dmarc.spf_aligned else "fail",
            "reason": reason,
        },
        "identifiers": {"header_from": dmarc.domain, "envelope_from": reverse_path.rpartition("@")[2]},
        "auth_results": {
            "dkim": [
                {"domain": one.domain, "selector": one.selector, "result": one.result}
                for one in findings.dkim
                if one.domain
            ],
            "spf": {"domain": findings.spf.domain, "scope": _scope(findings), "result": findings.spf.result},
        },
    }
    return Told(type=f"dmarc.{_outcome(dmarc)}", content=content)


def _outcome(dmarc: Dmarc) -> str:
    return "passed" if dmarc.result == "pass" else "failed" if dmarc.result == "fail" else "undecided"


def _scope(findings: Findings) -> str:
    return "mfrom" if findings.spf.identity == "mailfrom" else "helo"


def _published(record: Record) -> dict[str, Any]:
    return {
        "domain": record.domain,
        "adkim": "s" if record.strict_dkim else "r",
        "aspf": "s" if record.strict_spf else "r",
        "p": record.policy,
        "sp": record.subdomain_policy,
        "pct": record.percent,
        "rua": record.reports,
    }
