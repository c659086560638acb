"""Settings of sender checks, limits and filters."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

from mail_runtime.settings import SettingsError, setting

SenderChecks = Literal["off", "mark", "enforce"]
ReverseDns = Literal["off", "mark", "require"]
OnFailure = Literal["defer", "accept"]


@dataclass(frozen=True)
class PolicySettings:
    """Read once at start by `read_settings`. Lists are separated by commas."""

    sender_checks: str = setting(
        "POSTROOM_SENDER_CHECKS",
        "SPF, DKIM, ARC and DMARC on MX: off, mark (Authentication-Results), enforce (do what DMARC policies ask for)",
        "mark",
    )
    trusted_networks: str = setting(
        "POSTROOM_TRUSTED_NETWORKS",
        "clients that are spared checks, limits, lists and greylisting; `none` for nobody",
        "127.0.0.0/8,::1",
    )
    trusted_sealers: str = setting(
        "POSTROOM_TRUSTED_SEALERS",
        "domains whose ARC seals are believed: what they saw pass DMARC isn't refused (mailing lists, forwarders)",
        "",
    )
    dns_server: str = setting("POSTROOM_DNS_SERVER", "host:port; empty: the system's resolvers", "")
    dns_timeout_s: float = setting("POSTROOM_DNS_TIMEOUT_S", "seconds for one look-up with its retries", 5.0)
    on_dns_failure: str = setting(
        "POSTROOM_DNS_FAILURE",
        "defer (451) or accept, where checks are enforced or a reverse name required and the DNS doesn't answer",
        "defer",
    )
    reverse_dns: str = setting(
        "POSTROOM_REVERSE_DNS", "off, mark or require: clients on MX have a name that leads back to them", "mark"
    )
    strict_helo: bool = setting(
        "POSTROOM_STRICT_HELO", "on MX, refuse names in HELO that are no host's name, or ours", False
    )
    blocklists: str = setting("POSTROOM_DNS_BLOCKLISTS", "DNS block lists (RFC 5782), as zen.spamhaus.org", "")
    greylist_s: float = setting("POSTROOM_GREYLIST_S", "seconds that unknown senders must wait; 0: none must", 0.0)
    client_connections: int = setting(
        "POSTROOM_SMTP_CLIENT_CONNECTIONS", "connections of one address to one process; 0: any number", 50
    )
    client_messages_per_minute: int = setting(
        "POSTROOM_SMTP_CLIENT_MESSAGES_PER_MINUTE", "of one address on MX, at one process; 0: any number", 600
    )
    account_recipients_per_day: int = setting(
        "POSTROOM_ACCOUNT_RECIPIENTS_PER_DAY", "that one account may write to, at all processes; 0: any number", 5_000
    )
    tarpit_s: float = setting(
        "POSTROOM_SMTP_TARPIT_S",
        "each refusal after the third takes so much longer than the one before, up to 20 s",
        1.0,
    )
    rspamd_url: str = setting("POSTROOM_RSPAMD_URL", "as http://rspamd:11333; empty: no rspamd", "")
    rspamd_password: str = setting("POSTROOM_RSPAMD_PASSWORD", "for rspamd's worker", "", secret=True)
    clamav: str = setting("POSTROOM_CLAMAV", "clamd: host:port, or the path of its socket; empty: none", "")
    filter_timeout_s: float = setting("POSTROOM_FILTER_TIMEOUT_S", "seconds that a filter may take", 60.0)
    on_filter_failure: str = setting(
        "POSTROOM_FILTER_FAILURE", "defer (451) or accept mail while a filter is down", "defer"
    )

    def __post_init__(self) -> None:
        """Raises SettingsError."""
        _one_of("POSTROOM_SENDER_CHECKS", self.sender_checks, get_args(SenderChecks))
        _one_of("POSTROOM_REVERSE_DNS", self.reverse_dns, get_args(ReverseDns))
        _one_of("POSTROOM_DNS_FAILURE", self.on_dns_failure, get_args(OnFailure))
        _one_of("POSTROOM_FILTER_FAILURE", self.on_filter_failure, get_args(OnFailure))
        _ = self.networks
        if self.dns_server and not self.dns_server.rpartition(":")[2].isdigit():
            raise SettingsError("POSTROOM_DNS_SERVER: write address:port")

    @cached_property
    def networks(self) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
        if self.trusted_networks.lower() == "none":
            return ()
        try:
            return tuple([ipaddress.ip_network(word) for word in words(self.trusted_networks)])
        except ValueError as error:
            raise SettingsError(f"POSTROOM_TRUSTED_NETWORKS: {error}: write networks, with commas") from None


def words(text: str) -> list[str]:
    """The items of a list."""
    return [word.strip() for word in text.split(",") if word.strip()]


def _one_of(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise SettingsError(f"{name}={value!r}: write one of {', '.join(choices)}")
