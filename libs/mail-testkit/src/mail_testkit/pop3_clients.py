"""POP3 clients that people use, each told to fetch all and leave all: what they were given, file by file.

Each function returns the messages that the client wrote, as it wrote them; what it does to messages on the way is for
the test to know. All of them run as programs of their own, with their settings in `place`.
"""

from __future__ import annotations

import os
import poplib
import pty
import select
import shutil
import signal
import ssl
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from mail_testkit.clients import User, retrieve

Mode = Literal["plain", "stls", "tls"]
MODES: Final[tuple[Mode, ...]] = ("plain", "stls", "tls")
HOST: Final = "localhost"
TIMEOUT_S: Final = 200.0


@dataclass(frozen=True, slots=True)
class Task:
    """What to fetch, how, and where there is room for settings and messages."""

    user: User
    mode: Mode
    port: int
    certificate: Path
    number: int
    place: Path

    @property
    def scheme(self) -> str:
        return "pops" if self.mode == "tls" else "pop"


Client = Callable[[Task], list[bytes]]


class ClientFailed(AssertionError):
    """A program ended as it shouldn't; `errors`: what it said."""

    def __init__(self, code: int, output: bytes, errors: bytes) -> None:
        super().__init__(code, output[-2000:], errors[-2000:])
        self.errors = errors


def run(argv: Sequence[str], task: Task, accepts: tuple[int, ...] = (0,)) -> bytes:
    """Run a program; what it writes. Raises ClientFailed."""
    environ = {"PATH": os.environ["PATH"], "HOME": str(task.place), "LANG": "C.UTF-8"}
    done = subprocess.run(
        argv, env=environ, cwd=task.place, capture_output=True, timeout=TIMEOUT_S, stdin=subprocess.DEVNULL
    )
    if done.returncode not in accepts:
        raise ClientFailed(done.returncode, done.stdout, done.stderr)
    return done.stdout


def settings(task: Task, name: str, text: str) -> str:
    path = task.place / name
    path.write_text(text)
    path.chmod(0o600)
    return str(path)


def maildir(task: Task, owner: str = "") -> Path:
    path = task.place / "mail"
    for folder in (path, *(path / name for name in ("cur", "new", "tmp"))):
        folder.mkdir()
        if owner:
            shutil.chown(folder, owner)
    return path


def contents(folder: Path) -> list[bytes]:
    return [path.read_bytes() for path in folder.rglob("*") if path.is_file()]


def use_poplib(task: Task) -> list[bytes]:
    context = ssl.create_default_context(cafile=str(task.certificate))
    client: poplib.POP3
    if task.mode == "tls":
        client = poplib.POP3_SSL(HOST, task.port, timeout=TIMEOUT_S, context=context)
    else:
        client = poplib.POP3(HOST, task.port, timeout=TIMEOUT_S)
    if task.mode == "stls":
        client.stls(context)
    client.user(task.user.address)
    client.pass_(task.user.password)
    found = [retrieve(client, number) for number in range(1, task.number + 1)]
    client.quit()
    return found


def use_curl(task: Task) -> list[bytes]:
    scheme = "pop3s" if task.mode == "tls" else "pop3"
    arguments = ["--ssl-reqd"] if task.mode == "stls" else []
    url = f"{scheme}://{HOST}:{task.port}/[1-{task.number}]"
    login = f"{task.user.address}:{task.user.password}"
    found = task.place / "mail"
    found.mkdir()
    run(["curl", "-sS", "--cacert", str(task.certificate), *arguments, "--user", login, url, "-o", "mail/#1.eml"], task)
    return [(found / f"{number}.eml").read_bytes() for number in range(1, task.number + 1)]


def use_fetchmail(task: Task) -> list[bytes]:
    found = task.place / "mail"
    found.mkdir()
    agent = task.place / "agent"
    agent.write_text(f'#!/bin/sh\nexec cat > "$(mktemp {found}/XXXXXXXXXX)"\n')
    agent.chmod(0o700)
    security = {
        "plain": "sslproto ''",
        "stls": f"sslproto TLS1.2+ sslcertck sslcertfile {task.certificate}",
        "tls": f"ssl sslproto TLS1.2+ sslcertck sslcertfile {task.certificate}",
    }[task.mode]
    text = (
        f"poll {HOST} port {task.port} protocol pop3 uidl auth password user '{task.user.address}'"
        f" password '{task.user.password}' keep fetchall norewrite pass8bits nostripcr no dropdelivered"
        f" no mimedecode {security} mda '{agent}'\n"
    )
    run(["fetchmail", "-f", settings(task, "fetchmailrc", text), "--invisible", "--nosyslog", "-s"], task)
    return contents(found)


def use_mpop(task: Task) -> list[bytes]:
    security = {
        "plain": "tls off",
        "stls": f"tls on\ntls_starttls on\ntls_trust_file {task.certificate}",
        "tls": f"tls on\ntls_starttls off\ntls_trust_file {task.certificate}",
    }[task.mode]
    found = maildir(task)
    text = (
        f"account one\nhost {HOST}\nport {task.port}\nuser {task.user.address}\npassword {task.user.password}\n"
        f"auth user\n{security}\nkeep on\nonly_new off\nreceived_header off\ndelivery maildir {found}\n"
        f"uidls_file {task.place}/uidls\n"
    )
    run(["mpop", "-C", settings(task, "mpoprc", text), "-Q", "one"], task)
    return contents(found)


def use_getmail(task: Task) -> list[bytes]:
    """Again from the beginning where it has missed the end of one of the processes that it delivers by (a race of its
    own: it waits for the signal only after it may have come, and gives up after 60 s).
    """
    try:
        return _getmail(task)
    except ClientFailed as failed:
        if b"waiting child pid" not in failed.errors:
            raise
    shutil.rmtree(task.place / "mail")
    return _getmail(task)


def _getmail(task: Task) -> list[bytes]:
    # It delivers as another user where root runs it.
    owner = "nobody" if os.geteuid() == 0 else ""
    found = maildir(task, owner)
    kind = "SimplePOP3SSLRetriever" if task.mode == "tls" else "SimplePOP3Retriever"
    text = (
        f"[retriever]\ntype = {kind}\nserver = {HOST}\nport = {task.port}\nusername = {task.user.address}\n"
        f"password = {task.user.password}\n" + (f"ca_certs = {task.certificate}\n" if task.mode == "tls" else "")
    )
    text += f"[destination]\ntype = Maildir\npath = {found}/\n" + (f"user = {owner}\n" if owner else "")
    text += "[options]\ndelete = false\nread_all = true\ndelivered_to = false\nreceived = false\nverbose = 0\n"
    settings(task, "getmailrc", text)
    run(["getmail", "--getmaildir", str(task.place), "--rcfile", "getmailrc"], task)
    return contents(found)


def use_mutt(task: Task) -> list[bytes]:
    found = maildir(task)
    text = (
        f"set pop_user='{task.user.address}' pop_pass='{task.user.password}' pop_authenticators=user\n"
        f"set pop_host='{task.scheme}://{HOST}:{task.port}/' pop_delete=no pop_last=no\n"
        f"set ssl_starttls={'yes' if task.mode == 'stls' else 'no'}\n"
        f"set ssl_force_tls={'no' if task.mode == 'plain' else 'yes'} certificate_file='{task.certificate}'\n"
        f"set folder='{task.place}' mbox_type=Maildir spoolfile='{found}' quit=yes wait_key=no net_inc=0\n"
        "push '<fetch-mail><quit>'\n"
    )
    on_terminal(["mutt", "-n", "-F", settings(task, "muttrc", text)], task)
    return contents(found)


def on_terminal(argv: Sequence[str], task: Task) -> None:
    """Run a program that wants a terminal; what it shows is only for the message of a failure."""
    environ = {"PATH": os.environ["PATH"], "HOME": str(task.place), "TERM": "xterm", "LANG": "C.UTF-8"}
    pid, terminal = pty.fork()
    if pid == 0:
        os.execvpe(argv[0], list(argv), environ)
    shown = b""
    until = time.monotonic() + TIMEOUT_S
    try:
        while time.monotonic() < until:
            if select.select([terminal], [], [], 1.0)[0]:
                try:
                    shown = (shown + os.read(terminal, 65_536))[-4000:]
                except OSError:  # Linux: the program has ended
                    _, status = os.waitpid(pid, 0)
                    assert status == 0, shown
                    return
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise AssertionError(f"{argv[0]} takes too long: {shown!r}")
    finally:
        os.close(terminal)


CLIENTS: Final[dict[str, Client]] = {
    "poplib": use_poplib,
    "curl": use_curl,
    "fetchmail": use_fetchmail,
    "getmail": use_getmail,
    "mpop": use_mpop,
    "mutt": use_mutt,
}
