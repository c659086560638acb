"""The mail programs of Alice and Bill: the standard library's, telling what they say."""

from __future__ import annotations

import imaplib
import poplib
import smtplib
import ssl
import time
from collections.abc import Callable
from typing import Any, Final

from postroom_cli.launcher.config import HOST, LaunchError

Tell = Callable[[str], None]

ARRIVAL_TIMEOUT_S: Final = 30.0
_SHOWN: Final = 100


def _shown(line: bytes | str) -> str:
    text = line.decode("utf-8", "replace") if isinstance(line, bytes) else line
    return text.strip()[:_SHOWN]


class _TellingSmtp(smtplib.SMTP):
    tell: Tell = staticmethod(lambda line: None)

    def putcmd(self, cmd: str, args: str = "") -> None:
        if cmd.upper() not in {"EHLO", "HELO"}:
            self.tell("C: " + _shown(f"{cmd} …" if cmd.upper() == "AUTH" else f"{cmd} {args}"))
        super().putcmd(cmd, args)

    def getreply(self) -> tuple[int, bytes]:
        code, text = super().getreply()
        if b"\n" not in text:
            self.tell(f"S: {code} {_shown(text)}")
        return code, text


def submit(
    port: int, context: ssl.SSLContext, login: tuple[str, str], recipient: str, message: bytes, tell: Tell
) -> None:
    """Hand a message in over SMTP with STARTTLS and AUTH (RFC 6409)."""
    with _TellingSmtp(HOST, port) as client:
        client.tell = tell
        client.starttls(context=context)
        client.login(*login)
        client.sendmail(login[0], [recipient], message, mail_options=["BODY=8BITMIME"])


def download(port: int, context: ssl.SSLContext, login: tuple[str, str], tell: Tell) -> bytes:
    """Fetch the first message over POP3, as soon as there is one. Raises LaunchError: none comes."""
    deadline = time.monotonic() + ARRIVAL_TIMEOUT_S
    while time.monotonic() < deadline:
        client = poplib.POP3(HOST, port)
        try:
            client.stls(context)
            client.user(login[0])
            client.pass_(login[1])
            if client.stat()[0] > 0:
                tell("C: RETR 1")
                response, lines, _ = client.retr(1)
                tell("S: " + _shown(response))
                return b"\r\n".join(lines) + b"\r\n"
        finally:
            client.quit()
        time.sleep(0.05)
    raise LaunchError("the message didn't arrive: look at the logs")


class Reader:
    """Alice's IMAP client, sitting in IDLE (RFC 2177): the standard library has no such command."""

    def __init__(self, port: int, context: ssl.SSLContext, login: tuple[str, str], tell: Tell) -> None:
        self._tell = tell
        self._client: Any = imaplib.IMAP4(HOST, port)
        self._client.starttls(context)
        self._client.login(*login)
        self._client.select("INBOX")

    def idle(self) -> None:
        """Begin to wait."""
        self._tell("C: x IDLE")
        self._client.send(b"x IDLE\r\n")
        self._tell("S: " + _shown(self._client.readline()))

    def wait(self) -> bytes:
        """Wait for the push, end IDLE, fetch the newest message. Raises LaunchError: nothing is pushed."""
        self._client.sock.settimeout(ARRIVAL_TIMEOUT_S)
        number = b""
        try:
            while not number:
                line: bytes = self._client.readline()
                self._tell("S: " + _shown(line))
                words = line.split()
                if len(words) == 3 and words[2] == b"EXISTS" and words[1] != b"0":
                    number = words[1]
        except TimeoutError as error:
            raise LaunchError("nothing was pushed: look at the logs") from error
        self._tell("C: DONE")
        self._client.send(b"DONE\r\n")
        while not self._client.readline().startswith(b"x "):
            pass
        self._tell(f"C: FETCH {number.decode()} BODY[]")
        _, data = self._client.fetch(number.decode(), "(BODY[])")
        octets: bytes = data[0][1]
        self._tell(f"S: * {number.decode()} FETCH (BODY[] {{{len(octets)}}} …")
        return octets

    def close(self) -> None:
        self._client.logout()
