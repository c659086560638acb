"""Settings of store-api."""

from __future__ import annotations

from dataclasses import dataclass

from mail_runtime.settings import SettingsError, setting
from store_api.accounts.issuers import check_issuer
from store_api.blobs.keyring import Keyring
from store_api.blobs.storage import open_storage


@dataclass(frozen=True, slots=True)
class Settings:
    """Read by `mail_runtime.settings.read_settings`."""

    database_url: str = setting("DATABASE_URL", "where Postgres is: postgresql://user:password@host/name", secret=True)
    blob_url: str = setting("BLOB_URL", "where message bodies are kept: file:///path or s3://bucket?endpoint=…")
    admin_token: str = setting("POSTROOM_ADMIN_TOKEN", "the bearer token of the REST API", secret=True)
    service_token: str = setting("POSTROOM_SERVICE_TOKEN", "the token shared by the services", secret=True)
    srs_secret: str = setting(
        "POSTROOM_SRS_SECRET",
        "signs rewritten senders of forwarded mail; empty: derived from the service token",
        "",
        secret=True,
    )
    s3_access_key: str = setting("S3_ACCESS_KEY", "key of the object storage", "")
    s3_secret_key: str = setting("S3_SECRET_KEY", "secret of the object storage", "", secret=True)
    blob_key: str = setting(
        "POSTROOM_BLOB_KEY", "master keys of encryption at rest, `id:base64`; the first one wraps", "", secret=True
    )
    zstd_level: int = setting("POSTROOM_ZSTD_LEVEL", "how hard bodies are compressed; 0: not at all", 1)
    receiving_octets: int = setting(
        "POSTROOM_RECEIVING_OCTETS", "octets of bodies held on their way in; one message may be larger", 67_108_864
    )
    sending_octets: int = setting("POSTROOM_SENDING_OCTETS", "octets of bodies held on their way out", 67_108_864)
    spool: str = setting("POSTROOM_SPOOL", "directory of large bodies under way", "")
    oauth_issuers: str = setting(
        "POSTROOM_OAUTH_ISSUERS", "issuers whose tokens log in (OAUTHBEARER, XOAUTH2), separated by commas", ""
    )
    oauth_audience: str = setting("POSTROOM_OAUTH_AUDIENCE", "what the `aud` of their tokens must name", "postroom")
    rate_limit_scale: float = setting("POSTROOM_RATE_LIMIT_SCALE", "multiplies the REST API's rates; 0: no limits", 1.0)
    undelete_days: float = setting("POSTROOM_UNDELETE_DAYS", "how long expunged messages can be restored", 14.0)
    blob_grace_hours: float = setting(
        "POSTROOM_BLOB_GRACE_HOURS", "how long objects stay that nothing needs; longer than a backup takes", 24.0
    )
    trusted_proxies: str = setting(
        "POSTROOM_TRUSTED_PROXIES", "addresses or networks whose X-Forwarded-For is believed, with commas", "127.0.0.1"
    )
    nats_url: str = setting("NATS_URL", "where NATS is", "nats://127.0.0.1:4222")
    bind: str = setting("POSTROOM_BIND", "address to listen on", "127.0.0.1")
    port: int = setting("POSTROOM_API_PORT", "port of the REST API", 8080)
    public_port: int = setting(
        "POSTROOM_PUBLIC_PORT", "one more port, on which /internal isn't there: for the outside; 0: none", 0
    )
    admin_port: int = setting("POSTROOM_ADMIN_PORT", "port of health and metrics", 9105)
    hostname: str = setting("POSTROOM_HOSTNAME", "name that bounces are sent from", "localhost")
    log_level: str = setting("POSTROOM_LOG_LEVEL", "debug, info, warning or error", "info")
    migrate_on_start: bool = setting("POSTROOM_MIGRATE_ON_START", "bring the schema up to date first", False)
    max_message_octets: int = setting("POSTROOM_MAX_MESSAGE_OCTETS", "largest message accepted", 52_428_800)
    retry_first_s: float = setting("POSTROOM_RETRY_FIRST_S", "pause before the second attempt; doubles", 60.0)
    relay_window: int = setting(
        "POSTROOM_RELAY_WINDOW", "deliveries to one domain that are with the relay at a time, in all", 200
    )
    queue_lifetime_s: float = setting(
        "POSTROOM_QUEUE_LIFETIME_S", "how long sending is tried (RFC 5321 §4.5.4.1: 4-5 days)", 432_000.0
    )
    queue_delay_notice_s: float = setting(
        "POSTROOM_QUEUE_DELAY_NOTICE_S", "after so long the sender is told, once, that it takes longer", 14_400.0
    )
    tombstone_days: int = setting(
        "POSTROOM_TOMBSTONE_DAYS", "a client that was away for longer reads its mailboxes anew", 30
    )
    webhooks_private: bool = setting(
        "POSTROOM_WEBHOOKS_PRIVATE", "webhooks may lead to private addresses and plain HTTP: for tests", False
    )

    def __post_init__(self) -> None:
        try:
            open_storage(self.blob_url, self.s3_access_key, self.s3_secret_key)
        except ValueError as error:
            raise SettingsError(str(error)) from None
        try:
            Keyring.parse(self.blob_key)
        except ValueError as error:
            raise SettingsError(f"POSTROOM_BLOB_KEY: {error}") from None
        for url in self.issuer_urls:
            try:
                check_issuer(url)
            except ValueError as error:
                raise SettingsError(str(error)) from None
        if not 0 <= self.zstd_level <= 22:
            raise SettingsError(f"POSTROOM_ZSTD_LEVEL={self.zstd_level}: write a level from 1 to 22, or 0 for none")

    @property
    def issuer_urls(self) -> tuple[str, ...]:
        """Each of `oauth_issuers`, as it stands in the `iss` of its tokens."""
        return tuple(url.strip() for url in self.oauth_issuers.split(",") if url.strip())


@dataclass(frozen=True, slots=True)
class MigrationSettings:
    """What `python -m store_api migrate` needs."""

    database_url: str = setting("DATABASE_URL", "where Postgres is: postgresql://user:password@host/name", secret=True)
    log_level: str = setting("POSTROOM_LOG_LEVEL", "debug, info, warning or error", "info")
