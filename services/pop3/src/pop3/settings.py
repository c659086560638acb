"""Settings of pop3, from the environment."""

from __future__ import annotations

from dataclasses import dataclass

from mail_runtime.accepting import balancer_networks
from mail_runtime.settings import SettingsError, setting


@dataclass(frozen=True, slots=True)
class Settings:
    """Read once at start by `read_settings`."""

    service_token: str = setting("POSTROOM_SERVICE_TOKEN", "authenticates us to the store", secret=True)
    store_url: str = setting("POSTROOM_STORE_URL", "where the store is", "http://127.0.0.1:8080")
    bind: str = setting("POSTROOM_BIND", "address to listen on", "127.0.0.1")
    proxy_protocol_from: str = setting(
        "POSTROOM_PROXY_PROTOCOL_FROM",
        "addresses or networks of balancers, whose connections begin with a PROXY header",
        "",
    )
    drain_s: float = setting(
        "POSTROOM_DRAIN_S", "seconds over which connections end when the service stops; 0: all at once", 0.0
    )
    admin_port: int = setting("POSTROOM_ADMIN_PORT", "health and metrics", 9103)
    pop3_port: int = setting("POSTROOM_POP3_PORT", "POP3 with STLS", 2110)
    pop3s_port: int = setting("POSTROOM_POP3S_PORT", "POP3 over TLS (RFC 8314)", 2995)
    hostname: str = setting("POSTROOM_HOSTNAME", "name in the greeting", "localhost")
    tls_certificate: str = setting("POSTROOM_TLS_CERT", "PEM file; empty: no TLS is offered", "")
    tls_key: str = setting("POSTROOM_TLS_KEY", "PEM file of the private key", "")
    plaintext_login_on_loopback: bool = setting(
        "POSTROOM_PLAINTEXT_LOGIN_ON_LOOPBACK", "development only: passwords in clear on loopback", False
    )
    max_connections: int = setting("POSTROOM_POP3_MAX_CONNECTIONS", "more are told -ERR", 1000)
    login_failure_delay_s: float = setting(
        "POSTROOM_LOGIN_FAILURE_DELAY_S", "seconds before a failed login is answered; doubles each time", 1.0
    )
    login_timeout_s: float = setting("POSTROOM_POP3_LOGIN_TIMEOUT_S", "seconds within which a client logs in", 180.0)
    idle_timeout_s: float = setting(
        "POSTROOM_POP3_IDLE_TIMEOUT_S",
        "seconds without a command, or without reading (RFC 1939 §3: 600 at least)",
        600.0,
    )
    lock: str = setting("POSTROOM_POP3_LOCK", "exclusive: one session per account; shared: any number", "exclusive")
    retrieving_sets_seen: bool = setting("POSTROOM_POP3_SETS_SEEN", "RETR sets the flag \\Seen", True)
    login_delay_s: int = setting(
        "POSTROOM_POP3_LOGIN_DELAY_S", "least seconds between two logins of an account (RFC 2449 §6.5); 0: none", 0
    )
    refuses_8bit_headers: bool = setting(
        "POSTROOM_POP3_REFUSE_8BIT_HEADERS",
        "RETR and TOP of messages whose header isn't ASCII need UTF8 first (RFC 6856 §2.1)",
        False,
    )
    oauth_issuers: str = setting(
        "POSTROOM_OAUTH_ISSUERS", "as at the store; when there are any, OAUTHBEARER and XOAUTH2 are offered", ""
    )
    log_level: str = setting("POSTROOM_LOG_LEVEL", "debug, info, warning or error", "info")

    def __post_init__(self) -> None:
        balancer_networks(self.proxy_protocol_from)
        if self.lock not in {"exclusive", "shared"}:
            raise SettingsError(f"POSTROOM_POP3_LOCK={self.lock!r}: write exclusive or shared")
        if self.login_delay_s < 0 or self.login_timeout_s <= 0 or self.idle_timeout_s <= 0:
            raise SettingsError("POSTROOM_POP3_…_S: seconds are positive numbers")
