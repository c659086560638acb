"""Public keys of DKIM and ARC at work (RFC 6376 §3.3, RFC 8301, RFC 8463 §4)."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key

from mail_proto.authentication.dkim import BadKey, WeakKey

# RFC 8301 §3.2: shorter ones are no longer valid; longer ones than this cost too much to check.
MIN_RSA_BITS: Final = 1024
MAX_RSA_BITS: Final = 8192
# Loading costs several times what checking does, and few senders make most of the mail.
KEYS_REMEMBERED: Final = 1024


def check_signature(kind: str, key: bytes, digest: bytes, signature: bytes) -> bool:
    """Whether the key made this signature of a SHA-256 digest. Raises BadKey, WeakKey."""
    try:
        if kind == "ed25519":
            _ed25519(key).verify(signature, digest)
        else:
            _rsa(key).verify(signature, digest, PKCS1v15(), Prehashed(SHA256()))
    except InvalidSignature:
        return False
    return True


@lru_cache(KEYS_REMEMBERED)
def _ed25519(key: bytes) -> Ed25519PublicKey:
    try:
        return Ed25519PublicKey.from_public_bytes(key)
    except ValueError as error:
        raise BadKey("no Ed25519 key") from error


@lru_cache(KEYS_REMEMBERED)
def _rsa(key: bytes) -> RSAPublicKey:
    """SubjectPublicKeyInfo, or RSAPublicKey alone as RFC 6376 §3.6.1 has it; the library reads both."""
    try:
        loaded = load_der_public_key(key)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise BadKey("no RSA key") from error
    if not isinstance(loaded, RSAPublicKey):
        raise BadKey("no RSA key")
    if loaded.key_size < MIN_RSA_BITS:
        raise WeakKey(f"an RSA key of {loaded.key_size} bits")
    if loaded.key_size > MAX_RSA_BITS:
        raise BadKey(f"an RSA key of {loaded.key_size} bits")
    return loaded
