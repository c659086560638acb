"""Another IMAP server as a source (RFC 3501, RFC 9051): read only, nothing there is marked as read."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from imapclient import IMAPClient
from imapclient.exceptions import IMAPClientError

from postroom_cli.sources.source import SourceFault, SourceMessage

TIMEOUT_S: Final = 60.0
# One FETCH asks for as many messages as stay under both.
BATCH_MESSAGES: Final = 50
BATCH_OCTETS: Final = 8 * 1024 * 1024
PORTS: Final = {"imaps": 993, "imap": 143}
_LEFT_OUT: Final = frozenset({b"\\noselect", b"\\nonexistent", b"\\all"})
_RECENT: Final = "\\recent"


@dataclass(frozen=True, slots=True)
class Server:
    """Where the other server is: `imaps://host:993` (TLS) or `imap://host` (STARTTLS, or plain on loopback)."""

    host: str
    port: int
    tls: bool
    user: str
    password: str
    trusted: str | None = None

    @classmethod
    def parse(cls, url: str, password: str, trusted: str | None) -> Server:
        """Raises SourceFault: it isn't such a URL, with a user."""
        parts = urlsplit(url)
        if parts.scheme not in PORTS or not parts.hostname or not parts.username:
            raise SourceFault(f"{url!r}: write imaps://user@host, or imap://user@host for STARTTLS")
        return cls(
            parts.hostname,
            parts.port or PORTS[parts.scheme],
            parts.scheme == "imaps",
            unquote(parts.username),
            password or unquote(parts.password or ""),
            trusted,
        )


class ImapSource:
    """Messages of all selectable mailboxes. Use as `with ImapSource(server) as source`."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def __enter__(self) -> ImapSource:
        """Connect and log in. Raises SourceFault."""
        server = self._server
        context = ssl.create_default_context(cafile=server.trusted)
        try:
            self._client = IMAPClient(
                server.host, server.port, ssl=server.tls, ssl_context=context, timeout=TIMEOUT_S, use_uid=True
            )
        except (OSError, IMAPClientError) as error:
            raise SourceFault(f"{server.host}:{server.port}: {error}") from error
        try:
            self._log_in(context)
        except BaseException as error:
            self._client.shutdown()
            if isinstance(error, OSError | IMAPClientError):
                raise SourceFault(f"{server.host}:{server.port}: {error}") from error
            raise
        self._mailboxes = [
            (raw, raw.replace(delimiter.decode(), "/") if delimiter not in {None, b"/"} else raw)
            for flags, delimiter, raw in self._client.list_folders()
            if not _LEFT_OUT & {flag.lower() for flag in flags}
        ]
        return self

    def _log_in(self, context: ssl.SSLContext) -> None:
        server = self._server
        if not server.tls and self._client.has_capability("STARTTLS"):
            self._client.starttls(context)
        elif not server.tls and server.host not in {"127.0.0.1", "::1", "localhost"}:
            raise SourceFault(f"{server.host} offers no STARTTLS: the password would cross the network in clear")
        self._client.login(server.user, server.password)

    def __exit__(self, *_: object) -> None:
        try:
            self._client.logout()
        except (OSError, IMAPClientError):
            with contextlib.suppress(OSError):
                self._client.shutdown()

    def count(self) -> int:
        return sum(self._client.folder_status(raw, [b"MESSAGES"])[b"MESSAGES"] for raw, _ in self._mailboxes)

    def messages(self) -> Iterator[SourceMessage]:
        try:
            for raw, name in self._mailboxes:
                validity = self._client.select_folder(raw, readonly=True)[b"UIDVALIDITY"]
                uids = self._client.search()
                sizes = self._client.fetch(uids, [b"RFC822.SIZE"]) if uids else {}
                for batch in _batches(sorted((uid, row[b"RFC822.SIZE"]) for uid, row in sizes.items())):
                    rows = self._client.fetch(batch, [b"FLAGS", b"INTERNALDATE", b"BODY.PEEK[]"])
                    for uid in batch:
                        if b"BODY[]" in rows.get(uid, {}):
                            yield _message(name, f"imap:{name}:{validity}:{uid}", rows[uid])
        except (OSError, IMAPClientError) as error:
            raise SourceFault(f"{self._server.host}: {error}; run the command again, it goes on") from error


def _batches(sizes: Sequence[tuple[int, int]]) -> Iterator[list[int]]:
    batch: list[int] = []
    octets = 0
    for uid, size in sizes:
        if batch and (octets + size > BATCH_OCTETS or len(batch) == BATCH_MESSAGES):
            yield batch
            batch, octets = [], 0
        batch.append(uid)
        octets += size
    if batch:
        yield batch


def _message(name: str, key: str, row: dict[bytes, Any]) -> SourceMessage:
    octets: bytes = row[b"BODY[]"]
    flags = tuple(flag.decode("ascii") for flag in row[b"FLAGS"] if flag.decode("ascii").lower() != _RECENT)
    return SourceMessage(name, key, flags, _aware(row[b"INTERNALDATE"]), lambda: octets)


def _aware(date: datetime) -> datetime:
    """imapclient gives local time without a zone."""
    return date.astimezone(UTC)
