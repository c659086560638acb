"""Bodies as the settings say."""

from __future__ import annotations

from store_api.blobs.blobs import Blobs, Policy
from store_api.blobs.keyring import Keyring
from store_api.blobs.storage import open_storage
from store_api.db.engine import Database
from store_api.settings import Settings


def open_blobs(settings: Settings, database: Database) -> Blobs:
    """Nothing is asked of the storage yet."""
    return Blobs(
        open_storage(settings.blob_url, settings.s3_access_key, settings.s3_secret_key),
        database,
        Keyring.parse(settings.blob_key),
        Policy(
            zstd_level=settings.zstd_level,
            receiving_octets=settings.receiving_octets,
            sending_octets=settings.sending_octets,
            spool=settings.spool or None,
        ),
    )
