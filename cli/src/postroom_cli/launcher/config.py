"""What a Postroom on one machine consists of, read from the environment."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

HOST: Final = "127.0.0.1"
# Two test runs side by side are given halves, so that neither takes a port that the other has just found free.
FIRST_FREE: Final = int(os.environ.get("POSTROOM_FIRST_FREE_PORT") or 20_000)
LAST_FREE: Final = int(os.environ.get("POSTROOM_LAST_FREE_PORT") or 32_000)
_given: set[int] = set()
FIRST_DOMAIN: Final = "example.test"
FIRST_USERS: Final = ("alice", "bob")
PORTS: Final = {
    "POSTROOM_SMTP_PORT": 2525,
    "POSTROOM_SUBMISSION_PORT": 2587,
    "POSTROOM_SUBMISSIONS_PORT": 2465,
    "POSTROOM_LMTP_PORT": 2424,
    "POSTROOM_POP3_PORT": 2110,
    "POSTROOM_POP3S_PORT": 2995,
    "POSTROOM_IMAP_PORT": 2143,
    "POSTROOM_IMAPS_PORT": 2993,
    "POSTROOM_API_PORT": 8080,
}


class LaunchError(Exception):
    """Postroom can't start; the text says what to change."""


@dataclass(frozen=True, slots=True)
class Config:
    """`environ` is passed on to the services; empty URLs mean the embedded servers."""

    data: Path
    ports: Mapping[str, int]
    database_url: str
    nats_url: str
    blob_url: str
    with_s3: bool
    domain: str
    users: tuple[str, ...]
    dev_password: str
    environ: Mapping[str, str]


def read_config(environ: Mapping[str, str] = os.environ) -> Config:
    """Raises LaunchError: a port isn't a number."""
    ports = {}
    for name, default in PORTS.items():
        text = environ.get(name) or str(default)
        if not text.isdigit() or not 0 < int(text) < 65536:
            raise LaunchError(f"{name}={text!r} is not a port: write a number from 1 to 65535")
        ports[name] = int(text)
    return Config(
        data=Path(environ.get("POSTROOM_DATA") or "var").absolute(),
        ports=ports,
        database_url=environ.get("DATABASE_URL", ""),
        nats_url=environ.get("NATS_URL", ""),
        blob_url=environ.get("BLOB_URL", ""),
        with_s3=environ.get("S3", "") not in {"", "0"},
        domain=FIRST_DOMAIN,
        users=() if environ.get("POSTROOM_FIRST_ACCOUNTS") == "0" else FIRST_USERS,
        dev_password=environ.get("POSTROOM_DEV_PASSWORD") or "postroom",
        environ=environ,
    )


def check_ports(config: Config) -> None:
    """Raises LaunchError: one is in use, or two are the same."""
    if len(set(config.ports.values())) != len(config.ports):
        raise LaunchError("two of the POSTROOM_…_PORT settings are the same")
    for name, port in config.ports.items():
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError as error:
                raise LaunchError(
                    f"port {port} can't be used ({error.strerror}): stop what uses it, or set {name} to another"
                ) from error


def reserve(ports: Iterable[int]) -> None:
    """Let `free_port` never give these: somebody will want them, though nobody uses them now."""
    _given.update(ports)


def free_port() -> int:
    """A port that nobody uses now; never the same twice in this process.

    Below the range that systems take for outgoing connections (32768 and up on Linux): one of these can't be in the
    way when a program that was stopped starts again.
    """
    while True:
        port = FIRST_FREE + secrets.randbelow(LAST_FREE - FIRST_FREE + 1)
        if port in _given:
            continue
        with socket.socket() as probe:
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
        _given.add(port)
        return port
