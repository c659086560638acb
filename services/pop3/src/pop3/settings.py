"""Settings of pop3, from the environment."""

from __future__ import annotations

from dataclasses import dataclass

from mail_runtime.settings import setting


@dataclass(frozen=True, slots=True)
class Settings:
    """Read once at start by `read_settings`."""

    service_token: str = setting("POSTROOM_SERVICE_TOKEN", "authenticates us to the store", secret=True)
    store_url: str = setting("POSTROOM_STORE_URL", "where the store is", "http://127.0.0.1:8080")
    bind: str = setting("POSTROOM_BIND", "address to listen on", "127.0.0.1")
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
    log_level: str = setting("POSTROOM_LOG_LEVEL", "debug, info, warning or error", "info")
