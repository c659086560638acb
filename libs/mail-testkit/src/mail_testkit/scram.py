"""The client's half of SCRAM-SHA-256 (RFC 5802 §3), written from the RFC and not from the server's code."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets


def client_proof(password: str, salt: bytes, iterations: int, auth_message: bytes) -> bytes:
    """ClientKey XOR HMAC(H(ClientKey), AuthMessage); `password` is normalised already."""
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, iterations)
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    signature = hmac.digest(hashlib.sha256(client_key).digest(), auth_message, "sha256")
    return bytes(a ^ b for a, b in zip(client_key, signature, strict=True))


class ScramClient:
    """One exchange: call it with each challenge, as imaplib and smtplib do; the answer is what to send.

    `binding` is name and data for -PLUS. Raises AssertionError: the server doesn't prove that it knows the password.
    """

    def __init__(self, login: str, password: str, binding: tuple[str, bytes] | None = None) -> None:
        self._bare = f"n={login},r={secrets.token_hex(12)}".encode()
        self._password = password
        name, self._bound = binding or ("", b"")
        self._gs2 = f"p={name},,".encode() if binding else b"n,,"
        self._message = b""
        self._turn = 0
        self._server_key = b""

    def __call__(self, challenge: bytes | None = None) -> bytes:
        self._turn += 1
        if self._turn == 1:
            return self._gs2 + self._bare
        assert challenge is not None
        if self._turn == 2:
            return self._final(challenge)
        signature = hmac.digest(self._server_key, self._message, "sha256")
        assert challenge == b"v=" + base64.b64encode(signature)
        return b""

    def _final(self, server_first: bytes) -> bytes:
        nonce, salt, iterations = (part.partition(b"=")[2] for part in server_first.split(b","))
        without_proof = b"c=" + base64.b64encode(self._gs2 + self._bound) + b",r=" + nonce
        self._message = b",".join((self._bare, server_first, without_proof))
        octets, rounds = base64.b64decode(salt), int(iterations)
        proof = client_proof(self._password, octets, rounds, self._message)
        salted = hashlib.pbkdf2_hmac("sha256", self._password.encode(), octets, rounds)
        self._server_key = hmac.digest(salted, b"Server Key", "sha256")
        return without_proof + b",p=" + base64.b64encode(proof)
