"""Settings of imap, from the environment."""

from __future__ import annotations

from dataclasses import dataclass

from mail_runtime.accepting import balancer_networks
from mail_runtime.settings import setting


@dataclass(frozen=True, slots=True)
class Settings:
    """Read once at start by `read_settings`."""

    service_token: str = setting("POSTROOM_SERVICE_TOKEN", "authenticates us to the store", secret=True)
    store_url: str = setting("POSTROOM_STORE_URL", "where the store is", "http://127.0.0.1:8080")
    nats_url: str = setting("NATS_URL", "where NATS is", "nats://127.0.0.1:4222")
    bind: str = setting("POSTROOM_BIND", "address to listen on", "127.0.0.1")
    proxy_protocol_from: str = setting(
        "POSTROOM_PROXY_PROTOCOL_FROM",
        "addresses or networks of balancers, whose connections begin with a PROXY header",
        "",
    )
    drain_s: float = setting(
        "POSTROOM_DRAIN_S", "seconds over which connections end when the service stops; 0: all at once", 0.0
    )
    admin_port: int = setting("POSTROOM_ADMIN_PORT", "health and metrics", 9104)
    imap_port: int = setting("POSTROOM_IMAP_PORT", "IMAP with STARTTLS", 2143)
    imaps_port: int = setting("POSTROOM_IMAPS_PORT", "IMAP over TLS (RFC 8314)", 2993)
    hostname: str = setting("POSTROOM_HOSTNAME", "name in the greeting", "localhost")
    tls_certificate: str = setting("POSTROOM_TLS_CERT", "PEM file; empty: no TLS is offered", "")
    tls_key: str = setting("POSTROOM_TLS_KEY", "PEM file of the private key", "")
    plaintext_login_on_loopback: bool = setting(
        "POSTROOM_PLAINTEXT_LOGIN_ON_LOOPBACK", "development only: passwords in clear on loopback", False
    )
    max_message_octets: int = setting("POSTROOM_MAX_MESSAGE_OCTETS", "larger messages are refused", 52_428_800)
    max_connections: int = setting("POSTROOM_IMAP_MAX_CONNECTIONS", "more are told BYE", 10_000)
    summary_cache_octets: int = setting("POSTROOM_IMAP_SUMMARY_CACHE_OCTETS", "parsed headers kept", 33_554_432)
    field_cache_octets: int = setting(
        "POSTROOM_IMAP_FIELD_CACHE_OCTETS", "header fields kept of small mailboxes that are searched", 16_777_216
    )
    body_cache_octets: int = setting("POSTROOM_IMAP_BODY_CACHE_OCTETS", "messages kept in memory", 100_663_296)
    rendered_cache_octets: int = setting(
        "POSTROOM_IMAP_RENDERED_CACHE_OCTETS", "lists of flags, uids and sizes kept as they are sent", 8_388_608
    )
    login_failure_delay_s: float = setting(
        "POSTROOM_LOGIN_FAILURE_DELAY_S", "seconds before a failed login is answered; doubles each time", 1.0
    )
    login_timeout_s: float = setting(
        "POSTROOM_IMAP_LOGIN_TIMEOUT_S", "seconds that a client has to log in: all of its time before that", 60.0
    )
    idle_timeout_s: float = setting(
        "POSTROOM_IMAP_IDLE_TIMEOUT_S", "seconds of silence before logout; 30 minutes at least (RFC 9051 5.4)", 1_800.0
    )
    send_timeout_s: float = setting(
        "POSTROOM_IMAP_SEND_TIMEOUT_S", "seconds after which a client that doesn't read is cut off", 120.0
    )
    notify_max_mailboxes: int = setting(
        "POSTROOM_IMAP_NOTIFY_MAX_MAILBOXES", "a client that wants to hear of more is refused", 5_000
    )
    progress_interval_s: float = setting(
        "POSTROOM_IMAP_PROGRESS_INTERVAL_S", "seconds after which clients are told that a command goes on", 10.0
    )
    oauth_issuers: str = setting(
        "POSTROOM_OAUTH_ISSUERS", "as at the store; when there are any, OAUTHBEARER and XOAUTH2 are offered", ""
    )
    log_level: str = setting("POSTROOM_LOG_LEVEL", "debug, info, warning or error", "info")

    def __post_init__(self) -> None:
        balancer_networks(self.proxy_protocol_from)
