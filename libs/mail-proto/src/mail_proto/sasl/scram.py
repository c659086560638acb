"""SCRAM-SHA-256 (RFC 5802 with RFC 7677): the computations, and the client's messages.

SaltedPassword  := Hi(Normalize(password), salt, i)
ClientKey       := HMAC(SaltedPassword, "Client Key")
StoredKey       := H(ClientKey)
AuthMessage     := client-first-message-bare + "," + server-first-message + "," + client-final-message-without-proof
ClientSignature := HMAC(StoredKey, AuthMessage)
ClientProof     := ClientKey XOR ClientSignature
ServerKey       := HMAC(SaltedPassword, "Server Key")
ServerSignature := HMAC(ServerKey, AuthMessage)
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from dataclasses import dataclass, field
from typing import Final

from mail_proto.sasl.errors import SaslFault
from mail_proto.sasl.prep import saslprep

KEY_OCTETS: Final = 32
# RFC 5802 §7: printable = %x21-2B / %x2D-7E
_NONCE: Final = re.compile(r"[\x21-\x2b\x2d-\x7e]+")
# RFC 5802 §7: "=" stands in a saslname only in these two.
_SASLNAME: Final = re.compile(r"(?:=2C|=3D|[^=,\0])+")
_CB_NAME: Final = re.compile(r"[A-Za-z0-9.-]+")


@dataclass(frozen=True, slots=True)
class Verifier:
    """What is kept instead of the password. It lets nobody log in, but a guess can be tried against it."""

    stored_key: bytes = field(repr=False)
    server_key: bytes = field(repr=False)

    def check(self, auth_message: bytes, proof: bytes) -> bytes | None:
        """The server's signature if the proof is right; in constant time."""
        client_signature = hmac.digest(self.stored_key, auth_message, hashlib.sha256)
        client_key = bytes(a ^ b for a, b in zip(proof, client_signature, strict=False))
        if not hmac.compare_digest(hashlib.sha256(client_key).digest(), self.stored_key):
            return None
        return hmac.digest(self.server_key, auth_message, hashlib.sha256)


def make_verifier(password: str, salt: bytes, iterations: int) -> Verifier:
    """1,000 iterations take 0.25 ms. Raises SaslFault: SASLprep forbids the password."""
    salted = hashlib.pbkdf2_hmac("sha256", saslprep(password, stored=True).encode(), salt, iterations)
    client_key = hmac.digest(salted, b"Client Key", hashlib.sha256)
    return Verifier(hashlib.sha256(client_key).digest(), hmac.digest(salted, b"Server Key", hashlib.sha256))


@dataclass(frozen=True, slots=True)
class ClientFirst:
    """gs2-header and client-first-message-bare. `binding` is the name behind `p=`, empty without one."""

    flag: str
    binding: str
    authzid: str
    username: str
    nonce: str
    gs2_header: bytes
    bare: str


@dataclass(frozen=True, slots=True)
class ClientFinal:
    """client-final-message."""

    channel: bytes
    nonce: str
    without_proof: str
    proof: bytes = field(repr=False)


def parse_saslname(text: str) -> str:
    """The prepared name (RFC 5802 §5.1). Raises SaslFault."""
    if not _SASLNAME.fullmatch(text):
        raise SaslFault("a name is empty or badly quoted")
    return saslprep(text.replace("=2C", ",").replace("=3D", "="))


def _decode(octets: bytes) -> str:
    try:
        return octets.decode("utf-8")
    except UnicodeDecodeError as error:
        raise SaslFault("SCRAM messages are UTF-8") from error


def _value(attribute: str, name: str) -> str:
    if not attribute.startswith(f"{name}="):
        raise SaslFault(f"the attribute {name} is missing")
    return attribute[2:]


def _base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise SaslFault("an attribute is not Base64") from error


def parse_client_first(message: bytes) -> ClientFirst:
    """`("n" / "y" / "p=" cb-name) "," ["a=" saslname] "," "n=" saslname "," "r=" nonce [",…"]`. Raises SaslFault."""
    parts = _decode(message).split(",")
    if len(parts) < 4:
        raise SaslFault("the first message has four parts at least")
    flag, authzid, name, nonce = parts[:4]
    binding = flag.removeprefix("p=") if flag.startswith("p=") else ""
    if flag not in {"n", "y"} and not _CB_NAME.fullmatch(binding):
        raise SaslFault("the message begins with n, y or p=")
    if name.startswith("m="):  # RFC 5802 §5.1: mandatory extensions, of which there are none
        raise SaslFault("an extension that isn't known here is asked for")
    if not _NONCE.fullmatch(_value(nonce, "r")):
        raise SaslFault("the nonce is empty or not printable")
    return ClientFirst(
        flag=flag[0],
        binding=binding,
        authzid=parse_saslname(_value(authzid, "a")) if authzid else "",
        username=parse_saslname(_value(name, "n")),
        nonce=nonce[2:],
        gs2_header=f"{flag},{authzid},".encode(),
        bare=",".join(parts[2:]),
    )


def parse_client_final(message: bytes) -> ClientFinal:
    """`"c=" base64 "," "r=" nonce [",…"] "," "p=" base64`. Raises SaslFault."""
    text = _decode(message)
    without_proof, _, proof = text.rpartition(",")
    parts = without_proof.split(",")
    if len(parts) < 2:
        raise SaslFault("the final message has three parts at least")
    decoded = _base64(_value(proof, "p"))
    if len(decoded) != KEY_OCTETS:
        raise SaslFault("the proof has the wrong length")
    return ClientFinal(_base64(_value(parts[0], "c")), _value(parts[1], "r"), without_proof, decoded)
