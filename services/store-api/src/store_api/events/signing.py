"""Signatures of webhooks, in the form of Standard Webhooks (standardwebhooks.com, version 1).

signature = "v1," base64(HMAC-SHA-256(secret, id "." timestamp "." body))
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from typing import Final
from uuid import UUID

PREFIX: Final = "whsec_"
SECRET_OCTETS: Final = 32


def new_secret() -> str:
    return PREFIX + base64.b64encode(secrets.token_bytes(SECRET_OCTETS)).decode()


def signed_headers(secret: str, event_id: UUID, timestamp: int, body: bytes) -> dict[str, str]:
    """Headers by which the receiver knows that it is us, and that it is now. `timestamp`: seconds since the epoch."""
    key = base64.b64decode(secret.removeprefix(PREFIX))
    content = f"{event_id}.{timestamp}.".encode() + body
    signature = base64.b64encode(hmac.digest(key, content, hashlib.sha256)).decode()
    return {
        "webhook-id": str(event_id),
        "webhook-timestamp": str(timestamp),
        "webhook-signature": f"v1,{signature}",
    }
