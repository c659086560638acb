"""Settings of smtp-in, from the environment."""

from __future__ import annotations

from dataclasses import dataclass

from mail_proto.smtp.content import BareLineEnds, ContentRules
from mail_runtime.accepting import Networks, balancer_networks
from mail_runtime.settings import SettingsError, setting


@dataclass(frozen=True)
class Settings:
    """Read once at start by `read_settings`."""

    service_token: str = setting("POSTROOM_SERVICE_TOKEN", "authenticates us to the store", secret=True)
    store_url: str = setting("POSTROOM_STORE_URL", "where the store is", "http://127.0.0.1:8080")
    nats_url: str = setting("NATS_URL", "where NATS is: changes of the directory", "nats://127.0.0.1:4222")
    bind: str = setting("POSTROOM_BIND", "address to listen on", "127.0.0.1")
    proxy_protocol_from: str = setting(
        "POSTROOM_PROXY_PROTOCOL_FROM",
        "addresses or networks of balancers, whose connections begin with a PROXY header",
        "",
    )
    drain_s: float = setting(
        "POSTROOM_DRAIN_S", "seconds over which connections end when the service stops; 0: all at once", 0.0
    )
    xclient_from: str = setting(
        "POSTROOM_XCLIENT_FROM", "addresses or networks of proxies that may name the client by XCLIENT", ""
    )
    admin_port: int = setting("POSTROOM_ADMIN_PORT", "health and metrics", 9101)
    smtp_port: int = setting("POSTROOM_SMTP_PORT", "mail from other servers (MX)", 2525)
    submission_port: int = setting("POSTROOM_SUBMISSION_PORT", "users' mail, STARTTLS (RFC 6409)", 2587)
    submissions_port: int = setting("POSTROOM_SUBMISSIONS_PORT", "users' mail, TLS (RFC 8314)", 2465)
    lmtp_port: int = setting("POSTROOM_LMTP_PORT", "mail from a trusted relay (RFC 2033)", 2424)
    hostname: str = setting("POSTROOM_HOSTNAME", "name in greetings and trace headers", "localhost")
    tls_certificate: str = setting("POSTROOM_TLS_CERT", "PEM file; empty: no TLS is offered", "")
    tls_key: str = setting("POSTROOM_TLS_KEY", "PEM file of the private key", "")
    plaintext_login_on_loopback: bool = setting(
        "POSTROOM_PLAINTEXT_LOGIN_ON_LOOPBACK", "development only: passwords in clear on loopback", False
    )
    max_message_octets: int = setting("POSTROOM_MAX_MESSAGE_OCTETS", "larger mail is refused", 52_428_800)
    max_connections: int = setting("POSTROOM_SMTP_MAX_CONNECTIONS", "more are told 421", 1000)
    max_buffered_octets: int = setting(
        "POSTROOM_SMTP_MAX_BUFFERED_OCTETS", "mail data in memory, all connections together", 268_435_456
    )
    bare_line_ends: str = setting(
        "POSTROOM_SMTP_BARE_LINE_ENDS", "CR or LF alone in mail data: refuse, normalise (to CRLF) or keep", "refuse"
    )
    allow_nul: bool = setting("POSTROOM_SMTP_ALLOW_NUL", "mail data with NUL characters (RFC 5322 section 4.1)", True)
    allow_8bit_undeclared: bool = setting(
        "POSTROOM_SMTP_ALLOW_8BIT_UNDECLARED", "8-bit mail data without BODY=8BITMIME", True
    )
    max_line_octets: int = setting(
        "POSTROOM_SMTP_MAX_LINE_OCTETS", "longer lines in mail data are refused; RFC 5321: 998; 0: any length", 0
    )
    keep_sent_copy: bool = setting(
        "POSTROOM_SUBMISSION_SENT_COPY", "submitted mail is put into Sent; most clients do that themselves", False
    )
    command_timeout_s: float = setting(
        "POSTROOM_SMTP_COMMAND_TIMEOUT_S", "seconds to the next command (RFC 5321 section 4.5.3.2.7)", 300.0
    )
    data_timeout_s: float = setting(
        "POSTROOM_SMTP_DATA_TIMEOUT_S", "seconds to the next octets of mail data (RFC 5321 section 4.5.3.2.5)", 180.0
    )
    message_timeout_s: float = setting(
        "POSTROOM_SMTP_MESSAGE_TIMEOUT_S", "seconds for a whole message; 50 MB at 256 kbit/s take 1600", 3600.0
    )
    lookup_timeout_s: float = setting(
        "POSTROOM_SMTP_LOOKUP_TIMEOUT_S",
        "seconds for the store to say what AUTH, MAIL or RCPT need to know before the client is told 454 or 451",
        20.0,
    )
    store_timeout_s: float = setting(
        "POSTROOM_SMTP_STORE_TIMEOUT_S", "seconds to store a message before the client is told 451", 120.0
    )
    login_failure_delay_s: float = setting(
        "POSTROOM_LOGIN_FAILURE_DELAY_S", "seconds before a failed login is answered; doubles each time", 1.0
    )
    oauth_issuers: str = setting(
        "POSTROOM_OAUTH_ISSUERS", "as at the store; when there are any, OAUTHBEARER and XOAUTH2 are offered", ""
    )
    log_level: str = setting("POSTROOM_LOG_LEVEL", "debug, info, warning or error", "info")

    def __post_init__(self) -> None:
        """Raises SettingsError."""
        balancer_networks(self.proxy_protocol_from)
        _ = self.xclient_networks, self.content_rules

    @property
    def xclient_networks(self) -> Networks:
        return balancer_networks(self.xclient_from, "POSTROOM_XCLIENT_FROM")

    @property
    def content_rules(self) -> ContentRules:
        try:
            bare = BareLineEnds(self.bare_line_ends.lower())
        except ValueError:
            raise SettingsError("POSTROOM_SMTP_BARE_LINE_ENDS: write refuse, normalise or keep") from None
        return ContentRules(bare, self.allow_nul, self.allow_8bit_undeclared, self.max_line_octets)
