"""Private keys: made, used, and kept encrypted under the master keys that bodies have too (RFC 8301 §3.2, RFC 8463).

An encrypted key is nonce ‖ AES-256-GCM(data key, PKCS#8 DER), bound to the id of its row.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from mail_proto.dkim import Algorithm, Unsigned
from mail_runtime.contracts.errors import Unavailable
from store_api.blobs.keyring import Keyring

# RFC 8301 §3.2: at least 1024, should be 2048; longer records don't fit one string of TXT and some resolvers.
RSA_BITS: Final = 2048
_NONCE_OCTETS: Final = 12

PrivateKey = RSAPrivateKey | Ed25519PrivateKey


@dataclass(frozen=True, slots=True)
class Sealed:
    """A private key as it is kept: in clear where `data_key` and `key_id` are None."""

    octets: bytes = field(repr=False)
    data_key: bytes | None = field(repr=False)
    key_id: str | None


def make(algorithm: Algorithm) -> tuple[PrivateKey, bytes]:
    """A new key, and its public part as `mail_proto.dkim.key_record` wants it. RSA takes a tenth of a second."""
    if algorithm == "ed25519-sha256":
        ed25519 = Ed25519PrivateKey.generate()
        return ed25519, ed25519.public_key().public_bytes_raw()
    rsa = generate_private_key(65537, RSA_BITS)
    spki = serialization.PublicFormat.SubjectPublicKeyInfo
    return rsa, rsa.public_key().public_bytes(serialization.Encoding.DER, spki)


def sign(key: PrivateKey, unsigned: Unsigned) -> bytes:
    """The signature over what `unsigned` says (RFC 6376 §3.3, RFC 8463 §3)."""
    if isinstance(key, Ed25519PrivateKey):
        return key.sign(unsigned.digest)
    return key.sign(unsigned.signed, padding.PKCS1v15(), hashes.SHA256())


def seal(keyring: Keyring, key_id: UUID, key: PrivateKey) -> Sealed:
    """For the row `key_id`."""
    octets = key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    data_key = keyring.new_data_key()
    if data_key is None:
        return Sealed(octets, None, None)
    nonce = os.urandom(_NONCE_OCTETS)
    encrypted = nonce + AESGCM(data_key.key).encrypt(nonce, octets, key_id.bytes)
    return Sealed(encrypted, data_key.wrapped, data_key.key_id)


def unseal(keyring: Keyring, key_id: UUID, sealed: Sealed) -> PrivateKey:
    """Raises Unavailable: the master key isn't here, or the row isn't what was sealed."""
    octets = sealed.octets
    if sealed.data_key is not None and sealed.key_id is not None:
        cipher = AESGCM(keyring.unwrap(sealed.data_key, sealed.key_id))
        try:
            octets = cipher.decrypt(octets[:_NONCE_OCTETS], octets[_NONCE_OCTETS:], key_id.bytes)
        except InvalidTag as error:
            raise Unavailable(f"the DKIM key {key_id} is damaged") from error
    key = serialization.load_der_private_key(octets, None)
    assert isinstance(key, (RSAPrivateKey, Ed25519PrivateKey))
    return key
