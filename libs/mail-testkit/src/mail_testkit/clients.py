"""Mail clients that are exact to the octet, and the REST API without asyncio."""

from __future__ import annotations

import http.client
import json
import poplib
import smtplib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote
from uuid import uuid4

from mail_testkit.running import DOMAIN, PASSWORD, RunningPostroom

HOST: Final = "127.0.0.1"
TIMEOUT_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class User:
    """An account of one test."""

    address: str
    password: str = PASSWORD


class Rest:
    """The public API. `status` and parsed body of each call."""

    def __init__(self, postroom: RunningPostroom) -> None:
        self._netloc = postroom.api_url.removeprefix("http://")
        self._token = postroom.admin_token

    def call(
        self, method: str, path: str, body: dict[str, Any] | None = None, more: dict[str, str] | None = None
    ) -> tuple[int, bytes]:
        """`more`: header fields besides the usual ones."""
        connection = http.client.HTTPConnection(self._netloc, timeout=TIMEOUT_S)
        try:
            headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json", **(more or {})}
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def get(self, path: str) -> Any:
        status, body = self.call("GET", path)
        assert status == 200, body
        return json.loads(body)

    def make_user(self, domain: str = DOMAIN) -> User:
        user = User(f"u{uuid4().hex[:12]}@{domain}")
        status, body = self.call("POST", "/v1/accounts", {"address": user.address, "password": user.password})
        assert status == 201, body
        return user

    def items(self, path: str) -> list[dict[str, Any]]:
        """All items of a list, page by page."""
        found: list[dict[str, Any]] = []
        cursor = ""
        while True:
            page = self.get(f"{path}{'&' if '?' in path else '?'}limit=100{cursor}")
            found += page["items"]
            if not page.get("next_cursor"):
                return found
            cursor = f"&cursor={quote(page['next_cursor'])}"

    def messages(self, user: User, mailbox: str = "INBOX") -> list[dict[str, Any]]:
        """Messages of a mailbox by uid."""
        mailboxes = self.get(f"/v1/accounts/{user.address}/mailboxes")["items"]
        mailbox_id = next(found["id"] for found in mailboxes if found["name"] == mailbox)
        found = self.items(f"/v1/accounts/{user.address}/mailboxes/{mailbox_id}/messages")
        return sorted(found, key=lambda message: int(message["uid"]))

    def raw(self, user: User, message_id: str) -> bytes:
        status, body = self.call("GET", f"/v1/accounts/{user.address}/messages/{message_id}/raw")
        assert status == 200, body
        return body


def send_octets(client: smtplib.SMTP, sender: str, recipients: Iterable[str], message: bytes) -> tuple[int, bytes]:
    """One transaction; the reply to the end of data. smtplib's own takes bare LF for line ends."""
    client.ehlo_or_helo_if_needed()
    code, text = client.docmd(f"MAIL FROM:<{sender}>")
    assert code == 250, text
    for recipient in recipients:
        code, text = client.docmd(f"RCPT TO:<{recipient}>")
        assert code == 250, text
    code, text = client.docmd("DATA")
    assert code == 354, text
    stuffed = message.replace(b"\r\n.", b"\r\n..")
    if stuffed.startswith(b"."):
        stuffed = b"." + stuffed
    assert stuffed.endswith(b"\r\n")
    client.send(stuffed + b".\r\n")
    return client.getreply()


def deliver(postroom: RunningPostroom, user: User, *messages: bytes) -> None:
    """Mail from outside, one after the other."""
    with smtplib.SMTP(HOST, postroom.ports["smtp"], timeout=TIMEOUT_S) as client:
        for message in messages:
            code, text = send_octets(client, "sender@elsewhere.test", [user.address], message)
            assert code == 250, text


def open_pop3(postroom: RunningPostroom, user: User) -> poplib.POP3:
    client = poplib.POP3(HOST, postroom.ports["pop3"], timeout=TIMEOUT_S)
    try:
        client.user(user.address)
        client.pass_(user.password)
    except poplib.error_proto:
        client.close()
        raise
    return client


def retrieve(client: poplib.POP3, number: int) -> bytes:
    """RETR, exact: poplib's own loses the line ends and refuses long lines."""
    client._shortcmd(f"RETR {number}")  # type: ignore[attr-defined]
    file = client.file
    pieces: list[bytes] = []
    at_line_start = True
    while True:
        piece: bytes = file.readline()
        assert piece, "the connection broke off"
        if at_line_start and piece == b".\r\n":
            break
        pieces.append(piece[1:] if at_line_start and piece.startswith(b".") else piece)
        at_line_start = piece.endswith(b"\n")
    return b"".join(pieces)
