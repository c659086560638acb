"""The Sender Rewriting Scheme: a forwarder's own reverse path that leads bounces back to the sender.

    SRS0 = "SRS0=" hash "=" timestamp "=" domain "=" local      first forwarder
    SRS1 = "SRS1=" hash "=" host "=" rest                       a later one; rest is what followed `SRS0` there

(Meng Weng Wong, "Sender Rewriting Scheme", 2004; shapes as libsrs2 and postsrsd write them.) The hash keeps strangers
from using us as a relay, the timestamp keeps an address that leaked from being useful for long. Servers may fold the
case of a local part, so hash and timestamp are base32 and compared without regard to case.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from base64 import b32encode
from dataclasses import dataclass
from datetime import date
from typing import Final

MAX_AGE_DAYS: Final = 21
# 30 bits of the HMAC: each guess costs an SMTP command, and the local part has 64 octets (RFC 5321 §4.5.3.1.1).
_HASH_LENGTH: Final = 6
_BASE32: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_CYCLE_DAYS: Final = 1024
# The separator behind the tag may be any of these; inside it is always `=`.
_SRS0: Final = re.compile(r"SRS0[=+-]([^=]+)=([A-Z2-7]{2})=([^=]+)=(.+)", re.IGNORECASE | re.DOTALL)
_SRS1: Final = re.compile(r"SRS1[=+-]([^=]+)=([^=]+)=([=+-].+)", re.IGNORECASE | re.DOTALL)
_FOREIGN: Final = re.compile(r"SRS0([=+-].+)", re.IGNORECASE | re.DOTALL)


class SrsFault(Exception):
    """The address is none of ours, was forged, or is too old. `str(fault)` is safe to send."""


def is_srs(local: str) -> bool:
    """Whether a local part has the form of this scheme."""
    return local[:4].upper() in ("SRS0", "SRS1") and local[4:5] in ("=", "+", "-")


@dataclass(frozen=True, slots=True)
class Srs:
    """The scheme with a secret that all replicas share."""

    secret: bytes

    def __repr__(self) -> str:
        return "Srs(…)"

    def forward(self, reverse_path: str, domain: str, today: date) -> str:
        """The reverse path to forward with, in `domain`, which must be ours. The null reverse path stays null."""
        if not reverse_path:
            return ""
        local, _, host = reverse_path.rpartition("@")
        if (again := _SRS1.fullmatch(local)) is not None:
            # The first forwarder stays where bounces go; those in between are left out.
            return self._srs1(again[2], again[3], domain)
        if (foreign := _FOREIGN.fullmatch(local)) is not None:
            return self._srs1(host, foreign[1], domain)
        stamp = _stamp(today)
        return f"SRS0={self._hash(stamp, host, local)}={stamp}={host}={local}@{domain}"

    def _srs1(self, host: str, rest: str, domain: str) -> str:
        return f"SRS1={self._hash(host, rest)}={host}={rest}@{domain}"

    def reverse(self, local: str, today: date) -> str:
        """The address that a local part of ours stands for. Raises SrsFault."""
        if (found := _SRS0.fullmatch(local)) is not None:
            given, stamp, host, original = found.groups()
            self._check(given, stamp, host, original)
            if (_days(today) - _unstamp(stamp)) % _CYCLE_DAYS > MAX_AGE_DAYS:
                raise SrsFault("this return address has expired")
            return f"{original}@{host}"
        if (found := _SRS1.fullmatch(local)) is not None:
            given, host, rest = found.groups()
            self._check(given, host, rest)
            return f"SRS0{rest}@{host}"
        raise SrsFault("this is no return address of ours")

    def _hash(self, *parts: str) -> str:
        folded = "\0".join(part.lower() for part in parts).encode("utf-8", "surrogateescape")
        return b32encode(hmac.digest(self.secret, folded, hashlib.sha256)).decode("ascii")[:_HASH_LENGTH]

    def _check(self, given: str, *parts: str) -> None:
        expected = self._hash(*parts)
        if not hmac.compare_digest(given.upper().encode("utf-8", "replace"), expected.encode()):
            raise SrsFault("this return address is forged")


def _days(today: date) -> int:
    return today.toordinal() % _CYCLE_DAYS


def _stamp(today: date) -> str:
    days = _days(today)
    return _BASE32[days >> 5] + _BASE32[days & 31]


def _unstamp(stamp: str) -> int:
    return _BASE32.index(stamp[0].upper()) << 5 | _BASE32.index(stamp[1].upper())
