"""Settings of smtp-out, from the environment."""

from __future__ import annotations

from dataclasses import dataclass

from mail_runtime.settings import setting


@dataclass(frozen=True)
class Settings:
    """Read once at start by `read_settings`."""

    service_token: str = setting("POSTROOM_SERVICE_TOKEN", "authenticates us to the store", secret=True)
    store_url: str = setting("POSTROOM_STORE_URL", "where the store is", "http://127.0.0.1:8080")
    nats_url: str = setting("NATS_URL", "where NATS is", "nats://127.0.0.1:4222")
    bind: str = setting("POSTROOM_BIND", "address of the admin port", "127.0.0.1")
    admin_port: int = setting("POSTROOM_ADMIN_PORT", "health and metrics", 9102)
    hostname: str = setting("POSTROOM_HOSTNAME", "name in EHLO; an MX of this name is ourselves", "localhost")
    dns_server: str = setting("POSTROOM_DNS_SERVER", "host:port; empty: the system's resolvers", "")
    dns_validates: bool = setting(
        "POSTROOM_DNS_VALIDATES", "1: the resolver checks DNSSEC and nobody sits between us and it: DANE is used", False
    )
    relay_port: int = setting("POSTROOM_RELAY_PORT", "port of other servers' MX hosts", 25)
    concurrency: int = setting("POSTROOM_RELAY_CONCURRENCY", "jobs sent at the same time", 50)
    relay_file: str = setting(
        "POSTROOM_RELAY_FILE", "TOML file with routes, pools and limits of destinations; empty: none", ""
    )
    authorities: str = setting(
        "POSTROOM_RELAY_CA_FILE", "certificates trusted beside the system's where TLS is verified; empty: none", ""
    )
    lease_s: int = setting(
        "POSTROOM_RELAY_LEASE_S", "seconds that a message of a worker that died waits for another", 120
    )
    down_s: float = setting(
        "POSTROOM_RELAY_DOWN_S", "seconds that hosts which can't be reached are left alone at first", 30.0
    )
    log_level: str = setting("POSTROOM_LOG_LEVEL", "debug, info, warning or error", "info")
