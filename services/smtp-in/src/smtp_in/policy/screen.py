"""The policy of a site, asked at each point of the dialogue (`smtp_in.screening`).

Clients of trusted networks and mail over LMTP pass unasked; submission is limited by account and filtered.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from typing import Final, Protocol

import structlog

from mail_proto.authentication.results import without_results_of
from mail_proto.authentication.reverse_dns import ReverseName, reverse_name
from mail_proto.smtp.arguments import MailArguments, RcptArguments
from mail_proto.smtp.replies import Reply
from mail_proto.smtp.steps import Envelope
from mail_runtime.contracts.errors import StoreError
from mail_runtime.contracts.store.screening import Spend, Stranger
from smtp_in.checks.dns import Dns
from smtp_in.metrics import JUDGED
from smtp_in.policy.blocklists import listed_in
from smtp_in.policy.filters import Action, Filter, FilterDown
from smtp_in.policy.letter import Letter
from smtp_in.policy.limits import ClientLimits, ip_of, network_of
from smtp_in.policy.reports import Reports
from smtp_in.policy.senders import SenderChecks
from smtp_in.policy.settings import PolicySettings, words
from smtp_in.screening import Refusal, Screened, Visitor

log = structlog.get_logger()

# Refusals that cost nothing, and the longest that one is made to wait.
FREE_ERRORS: Final = 3
MAX_TARPIT_S: Final = 20.0
DAY_S: Final = 86_400.0
# rspamd may ask for greylisting where it is off otherwise.
FILTER_GREYLIST_S: Final = 300.0
# For a client's name; its look-ups begin when it connects and are waited for at the first recipient.
NAME_PATIENCE_S: Final = 10.0
POSTMASTER: Final = "postmaster"
_HOST_NAME: Final = re.compile(
    r"(?=.{4,255}\Z)(?:[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z][A-Za-z0-9-]*\.?"
)
_LITERAL: Final = re.compile(r"\[(?:\d{1,3}(?:\.\d{1,3}){3}|IPv6:[0-9A-Fa-f:.]{2,45})\]", re.IGNORECASE)


class Shares(Protocol):
    """The part of the store client that is used here."""

    async def greylist(self, stranger: Stranger) -> float: ...

    async def spend(self, wanted: Spend) -> bool: ...


@dataclass(frozen=True, slots=True)
class Policy:
    """What all connections of the process use together."""

    settings: PolicySettings
    hostname: str
    store: Shares
    dns: Dns
    limits: ClientLimits
    senders: SenderChecks
    reports: Reports
    filters: tuple[Filter, ...] = ()

    def screen(self) -> Screen:
        """For a new connection."""
        return Screen(self)

    def trusts(self, address: str) -> bool:
        ip = ip_of(address)
        return ip is not None and any(ip in network for network in self.settings.networks)


def refusal(why: str, code: int, status: str, text: str) -> Refusal:
    """A refusal, counted."""
    JUDGED.labels(why, "refused" if code >= 500 else "deferred").inc()
    log.info("refused_by_policy", why=why, code=code)
    return Refusal(Reply(code, status, text))


class Screen:
    """Of one connection."""

    def __init__(self, policy: Policy) -> None:
        self._policy, self._settings = policy, policy.settings
        # Of whom, and whether it is trusted: asked at each command, and another only after XCLIENT.
        self._trust: tuple[str, bool] | None = None
        self._counted: str | None = None
        self._name: asyncio.Task[ReverseName] | None = None
        self._listed: asyncio.Task[str | None] | None = None
        self._recipients = 0

    def _is_spared(self, visitor: Visitor) -> bool:
        if self._trust is None or self._trust[0] != visitor.address:
            self._trust = visitor.address, self._policy.trusts(visitor.address)
        return visitor.listener.lmtp or self._trust[1]

    def _is_mx(self, visitor: Visitor) -> bool:
        return not visitor.listener.submission and not self._is_spared(visitor)

    async def connected(self, visitor: Visitor) -> None:
        """Count the connection, and begin to ask about the client while it introduces itself."""
        self._forget()
        if self._is_spared(visitor):
            return
        if not self._policy.limits.connect(visitor.address):
            raise refusal("client-connections", 421, "4.7.0", "too many connections from your address")
        self._counted = visitor.address
        ip = ip_of(visitor.address)
        if not self._is_mx(visitor) or ip is None:
            return
        loop = asyncio.get_running_loop()
        if self._settings.reverse_dns != "off":
            inquiry = self._policy.dns.conclude(reverse_name(str(ip)), until=loop.time() + NAME_PATIENCE_S)
            self._name = loop.create_task(inquiry, name="reverse-name")
        if zones := words(self._settings.blocklists):
            self._listed = loop.create_task(listed_in(self._policy.dns, str(ip), zones), name="blocklists")

    def _forget(self) -> None:
        if self._counted is not None:
            self._policy.limits.disconnect(self._counted)
            self._counted = None
        for task in (self._name, self._listed):
            if task is not None:
                task.cancel()
        self._name = self._listed = None

    async def greeted(self, visitor: Visitor) -> None:
        """RFC 5321 §4.1.4 forbids to refuse mail because a name doesn't lead to the client; these aren't names."""
        if not self._settings.strict_helo or not self._is_mx(visitor):
            return
        name = visitor.name.lower().rstrip(".")
        if _LITERAL.fullmatch(name) is None and _HOST_NAME.fullmatch(name) is None:
            raise refusal("helo", 550, "5.7.1", "introduce yourself by your host's name")
        if name == self._policy.hostname.lower():
            raise refusal("helo", 550, "5.7.1", "that is our name, not yours")

    async def sender(self, visitor: Visitor, mail: MailArguments) -> None:
        """A message begins."""
        self._recipients = 0

    async def recipient(self, visitor: Visitor, mail: MailArguments, recipient: RcptArguments) -> None:
        """Who is listed or nameless may still write to postmaster (RFC 5321 §4.5.1)."""
        if not self._is_mx(visitor):
            return
        if not mail.reverse_path and self._recipients >= 1:
            # A notification has one recipient (RFC 3464 §2); the others may follow in messages of their own.
            raise refusal("null-sender", 452, "4.5.3", "one recipient for each notification")
        if recipient.forward_path.partition("@")[0].lower() != POSTMASTER:
            await self._require_unlisted()
            await self._require_name()
            if self._settings.greylist_s:
                await self._greylist(visitor, mail.reverse_path, recipient.forward_path, self._settings.greylist_s)
        self._recipients += 1

    async def _require_unlisted(self) -> None:
        zone = await asyncio.shield(self._listed) if self._listed is not None else None
        if zone is not None:
            raise refusal("blocklist", 550, "5.7.1", f"your address is listed by {zone}")

    async def _require_name(self) -> None:
        if self._settings.reverse_dns != "require" or self._name is None:
            return
        found = await asyncio.shield(self._name)
        if found.result == "temperror":
            if self._settings.on_dns_failure == "defer":
                raise refusal("reverse-name", 451, "4.7.25", "your address's name can't be looked up now")
        elif found.result != "pass":
            # RFC 7372 §3.3
            raise refusal("reverse-name", 550, "5.7.25", "your address has no name that leads back to it")

    async def _greylist(self, visitor: Visitor, reverse_path: str, recipient: str, delay_s: float) -> None:
        stranger = Stranger(
            network=network_of(visitor.address), reverse_path=reverse_path, recipient=recipient, delay_s=delay_s
        )
        try:
            wait_s = await self._policy.store.greylist(stranger)
        except StoreError as error:
            raise refusal("greylist", 451, "4.3.0", "who you are can't be looked up now") from error
        if wait_s > 0:
            raise refusal("greylist", 451, "4.7.1", f"greylisted: come again in {max(1, round(wait_s))} seconds")

    async def refused(self, visitor: Visitor) -> None:
        """Hold up who makes errors: guessing addresses takes its time."""
        excess = visitor.errors - FREE_ERRORS
        if excess > 0 and self._settings.tarpit_s and not self._is_spared(visitor):
            await asyncio.sleep(min(excess * self._settings.tarpit_s, MAX_TARPIT_S))

    async def message(self, visitor: Visitor, envelope: Envelope, message: bytes) -> Screened:
        """Raises Refusal."""
        if visitor.listener.lmtp:
            return Screened(message)
        await self._limit(visitor, envelope)
        own = without_results_of(message, self._policy.hostname)
        fields, is_junk = b"", False
        if self._is_mx(visitor):
            name = await asyncio.shield(self._name) if self._name is not None else None
            fields, is_junk = await self._policy.senders.judge(
                visitor.address, envelope.client_name, envelope.mail.reverse_path, message, name
            )
        if self._policy.filters and not self._is_spared(visitor):
            more, suspected = await self._filter(visitor, envelope, fields + own)
            fields, is_junk = more + fields, is_junk or suspected
        return Screened(own, fields, is_junk)

    async def _limit(self, visitor: Visitor, envelope: Envelope) -> None:
        if self._is_mx(visitor) and not self._policy.limits.message(visitor.address):
            raise refusal("client-messages", 451, "4.7.0", "too many messages from your address; try again later")
        allowed = self._settings.account_recipients_per_day
        if visitor.principal is None or not allowed:
            return
        name, count = f"recipients {visitor.principal.account_id}", len(envelope.recipients)
        try:
            had_left = await self._policy.store.spend(Spend(name=name, cost=count, allowed=allowed, window_s=DAY_S))
        except StoreError as error:
            raise refusal("account-recipients", 451, "4.3.0", "the message can't be counted now") from error
        if not had_left:
            raise refusal("account-recipients", 452, "4.7.1", "this account has written to too many recipients today")

    async def _filter(self, visitor: Visitor, envelope: Envelope, message: bytes) -> tuple[bytes, bool]:
        """Fields for the message, and whether it is for Junk. The first filter that refuses decides."""
        principal = visitor.principal
        letter = Letter(
            client=visitor.address,
            helo=envelope.client_name,
            reverse_path=envelope.mail.reverse_path,
            recipients=tuple(recipient.forward_path for recipient in envelope.recipients),
            user=principal.addresses[0] if principal is not None and principal.addresses else "",
            hostname=self._policy.hostname,
            message=message,
        )
        fields, is_junk = b"", False
        for one in self._policy.filters:
            try:
                opinion = await one.judge(letter)
            except FilterDown as error:
                log.warning("filter_down", filter=one.name, error=str(error))
                if self._settings.on_filter_failure == "defer":
                    raise refusal(
                        one.name, 451, "4.7.1", "the message can't be checked now; try again later"
                    ) from error
                continue
            await self._obey(opinion.action, opinion.text, one.name, visitor, envelope)
            fields += opinion.fields
            is_junk = is_junk or (opinion.action == "junk" and principal is None)
        return fields, is_junk

    async def _obey(self, action: Action, text: str, name: str, visitor: Visitor, envelope: Envelope) -> None:
        """Raises Refusal."""
        if action == "reject":
            raise refusal(name, 550, "5.7.1", text or "the message is refused for its contents")
        if action == "defer":
            raise refusal(name, 451, "4.7.1", text or "the message is not accepted now; try again later")
        if action == "greylist" and visitor.principal is None:
            delay_s = self._settings.greylist_s or FILTER_GREYLIST_S
            first = envelope.recipients[0].forward_path
            await self._greylist(visitor, envelope.mail.reverse_path, first, delay_s)

    async def ended(self, visitor: Visitor) -> None:
        """Give back what `connected` took."""
        self._forget()
