"""What becomes of a message by who sent it: marked, put into Junk, refused or deferred (RFC 7489 §6.7, §10.3)."""

from __future__ import annotations

from dataclasses import dataclass

import structlog

from mail_proto.authentication.results import Result, render
from mail_proto.authentication.reverse_dns import ReverseName
from mail_proto.smtp.replies import Reply
from smtp_in.checks.dns import Dns
from smtp_in.checks.sender import Findings, examine
from smtp_in.metrics import JUDGED
from smtp_in.policy.reports import Reports, report
from smtp_in.policy.settings import PolicySettings, words
from smtp_in.screening import Refusal

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Decision:
    """`disposition` and `reason` in the words of aggregate reports (RFC 7489 appendix C)."""

    disposition: str = "none"
    reason: str = ""
    refusal: Reply | None = None


class SenderChecks:
    """For one process."""

    def __init__(self, settings: PolicySettings, hostname: str, dns: Dns, reports: Reports) -> None:
        self._settings, self._hostname, self._dns, self._reports = settings, hostname, dns, reports
        self._sealers = frozenset(word.lower() for word in words(settings.trusted_sealers))

    async def judge(
        self, client: str, helo: str, reverse_path: str, message: bytes, name: ReverseName | None
    ) -> tuple[bytes, bool]:
        """Fields for the message, and whether it is for Junk. Raises Refusal."""
        results = [] if name is None else [_of_name(name)]
        if self._settings.sender_checks == "off":
            return (render(self._hostname, results) if results else b""), False
        findings = await examine(self._dns, client, helo, reverse_path, message)
        decision = self._decide(findings)
        told = report(findings, client, reverse_path, decision.disposition, decision.reason)
        if told is not None and findings.dmarc.result in {"pass", "fail"}:
            self._reports.add(told)
        JUDGED.labels("dmarc", decision.disposition).inc()
        log.info(
            "sender_checked",
            spf=findings.spf.result,
            dkim=[one.result for one in findings.dkim],
            arc=findings.arc.result,
            dmarc=findings.dmarc.result,
            domain=findings.dmarc.domain,
            disposition=decision.disposition,
        )
        if decision.refusal is not None:
            raise Refusal(decision.refusal)
        fields = render(self._hostname, [*results, *findings.results()])
        return fields, decision.disposition == "quarantine"

    def _decide(self, findings: Findings) -> _Decision:
        dmarc = findings.dmarc
        if self._settings.sender_checks != "enforce":
            return _Decision(reason="local_policy" if dmarc.policy != "none" else "")
        if dmarc.result == "temperror" and self._settings.on_dns_failure == "defer":
            return _Decision("deferred", "", Reply(451, "4.7.0", "the sender's domain can't be looked up now"))
        if dmarc.result == "permerror" and len(findings.content.named(b"from")) > 1:
            # Which of them a reader is shown, nobody can tell (RFC 5322 §3.6, RFC 7489 §6.6.1).
            return _Decision("reject", "", Reply(550, "5.7.1", "a message has one From field"))
        if dmarc.result != "fail" or dmarc.policy == "none":
            return _Decision()
        if findings.arc.vouches_dmarc(self._sealers):
            return _Decision("none", "trusted_forwarder")
        if dmarc.policy == "quarantine":
            return _Decision("quarantine")
        text = f"refused by the DMARC policy of {dmarc.domain}"
        return _Decision("reject", "", Reply(550, "5.7.1", text))


def _of_name(name: ReverseName) -> Result:
    """RFC 8601 §2.7.3."""
    return Result("iprev", name.result, [("policy.iprev", name.address)], name.name and f"{name.name}")
