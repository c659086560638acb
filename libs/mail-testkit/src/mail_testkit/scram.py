"""The client's half of SCRAM-SHA-256 (RFC 5802 §3), written from the RFC and not from the server's code."""

from __future__ import annotations

import hashlib
import hmac


def client_proof(password: str, salt: bytes, iterations: int, auth_message: bytes) -> bytes:
    """ClientKey XOR HMAC(H(ClientKey), AuthMessage); `password` is normalised already."""
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, iterations)
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    signature = hmac.digest(hashlib.sha256(client_key).digest(), auth_message, "sha256")
    return bytes(a ^ b for a, b in zip(client_key, signature, strict=True))
