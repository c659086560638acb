"""Run docker-compose.yml for real and send mail through it.

    python tests/containers/check.py [--keep] [--restart SERVICE] [--read imap,pop3,rest]

Builds the images, starts everything on free ports under a project name of its own (an installation that runs stays
untouched), with two replicas of smtp-in and imap behind the balancer. Makes a domain and accounts over REST, submits a
message, reads it over IMAP, POP3 and REST, restarts a container, reads again and compares the bytes; kills a replica of
each service while mail flows and looks for every message that was answered with 250; puts another certificate in place.
Then removes containers and volumes. Exit code 0: all as it should be.

Needs Python's standard library, openssl and Docker Compose. POSTROOM_COMPOSE is the command that runs Compose
(default "docker compose"); what follows it are ordinary Compose arguments.
"""

from __future__ import annotations

import argparse
import imaplib
import json
import os
import poplib
import shlex
import shutil
import smtplib
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[2]
READY_TIMEOUT_S: Final = 400.0
CALL_TIMEOUT_S: Final = 30.0
OURS: Final = ("store-api", "smtp-in", "smtp-out", "pop3", "imap", "balancer")
SCALED: Final = ("smtp-in", "imap")
PAUSE_S: Final = 0.2
PORTS: Final = ("API", "SMTP", "SUBMISSION", "SUBMISSIONS", "LMTP", "POP3", "POP3S", "IMAP", "IMAPS")
PASSWORD: Final = "a password for the check"
MESSAGE: Final = (
    b"From: Alice <alice@check.test>\r\nTo: bob@check.test\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n"
    b"Date: Tue, 01 Sep 2026 10:00:00 +0000\r\nMessage-ID: <container-check@check.test>\r\n"
    b"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
    + "Grüße aus dem Container\r\n.a line that begins with a dot\r\n..\r\n".encode()
    + b"x" * 900
    + b"\r\n"
)


class CheckFailed(Exception):
    """Something isn't as it should be."""


class Stack:
    """The compose project of one run."""

    def __init__(self, secrets: Path) -> None:
        self.command = shlex.split(os.environ.get("POSTROOM_COMPOSE", "docker compose"))
        self.name = f"postroom-check-{os.getpid()}"
        self.ports = dict(zip(PORTS, free_ports(len(PORTS)), strict=True))
        self.environment = {
            **os.environ,
            "POSTROOM_SECRETS": str(secrets),
            **{f"POSTROOM_{name}_PORT": str(port) for name, port in self.ports.items()},
        }

    def compose(self, *arguments: str, check: bool = True) -> str:
        """Run Compose; returns its standard output."""
        command = [*self.command, "-f", str(ROOT / "docker-compose.yml"), "-p", self.name]
        return self.run([*command, *arguments], check=check)

    def run(self, command: list[str], *, check: bool = True) -> str:
        """Run a program in the environment of the project; returns its standard output."""
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False)
        if check and done.returncode:
            raise CheckFailed(f"{' '.join(command)} failed:\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
        return done.stdout

    def health(self) -> dict[str, str]:
        """Service → health, or its state where it isn't running."""
        lines = self.compose("ps", "--all", "--format", "json").strip()
        rows = json.loads(lines) if lines.startswith("[") else [json.loads(line) for line in lines.splitlines()]
        found: dict[str, str] = {}
        for row in rows:
            health = row["Health"] or row["State"]
            if found.get(row["Service"], "healthy") == "healthy":
                found[row["Service"]] = health  # of several replicas, one that isn't well
        return found

    def wait_healthy(self, services: tuple[str, ...]) -> None:
        """Return once all are healthy."""
        limit = time.monotonic() + READY_TIMEOUT_S
        while True:
            health = self.health()
            waiting = {name: health.get(name, "missing") for name in services if health.get(name) != "healthy"}
            if not waiting:
                return
            if time.monotonic() > limit:
                raise CheckFailed(f"not healthy after {READY_TIMEOUT_S:.0f} s: {waiting}")
            time.sleep(1)


def free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def rest(stack: Stack, token: str, method: str, path: str, body: object = None) -> Any:
    return json.loads(call(stack, token, method, path, body) or b"null")


def wait_for_api(stack: Stack, token: str) -> None:
    """Return once the balancer has found the store."""
    limit = time.monotonic() + CALL_TIMEOUT_S
    while True:
        try:
            rest(stack, token, "GET", "/v1/domains")
            return
        except (urllib.error.HTTPError, OSError) as error:
            if time.monotonic() > limit:
                raise CheckFailed(f"the API doesn't answer: {error}") from error
            time.sleep(0.2)


def call(stack: Stack, token: str, method: str, path: str, body: object = None) -> bytes:
    request = urllib.request.Request(
        f"http://127.0.0.1:{stack.ports['API']}{path}",
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=CALL_TIMEOUT_S) as response:
        return bytes(response.read())


def unchecked_tls() -> ssl.SSLContext:
    """The certificate of this run is self-signed."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def submit(stack: Stack) -> None:
    with smtplib.SMTP("127.0.0.1", stack.ports["SUBMISSION"], timeout=CALL_TIMEOUT_S) as client:
        client.starttls(context=unchecked_tls())
        client.login("alice@check.test", PASSWORD)
        client.sendmail("alice@check.test", ["bob@check.test"], MESSAGE, mail_options=["BODY=8BITMIME"])


def by_imap(stack: Stack) -> bytes:
    with imaplib.IMAP4_SSL(
        "127.0.0.1", stack.ports["IMAPS"], ssl_context=unchecked_tls(), timeout=CALL_TIMEOUT_S
    ) as client:
        client.login("bob@check.test", PASSWORD)
        status, found = client.select("INBOX", readonly=True)
        if status != "OK" or found != [b"1"]:
            raise CheckFailed(f"IMAP: bob's INBOX should have 1 message: {status} {found}")
        _, parts = client.fetch("1", "(BODY.PEEK[])")
        if not parts or not isinstance(parts[0], tuple):
            raise CheckFailed(f"IMAP: no body in {parts!r}")
        return bytes(parts[0][1])


def by_pop3(stack: Stack) -> bytes:
    client = poplib.POP3_SSL("127.0.0.1", stack.ports["POP3S"], context=unchecked_tls(), timeout=CALL_TIMEOUT_S)
    client.user("bob@check.test")
    client.pass_(PASSWORD)
    _, lines, _ = client.retr(1)
    client.quit()
    return b"\r\n".join(lines) + b"\r\n"


def by_rest(stack: Stack, token: str) -> bytes:
    account = "/v1/accounts/bob@check.test"
    mailboxes = rest(stack, token, "GET", f"{account}/mailboxes")["items"]
    inbox = next(mailbox["id"] for mailbox in mailboxes if mailbox["name"] == "INBOX")
    messages = rest(stack, token, "GET", f"{account}/mailboxes/{inbox}/messages")["items"]
    if len(messages) != 1:
        raise CheckFailed(f"REST: bob's INBOX should have 1 message: {messages}")
    return call(stack, token, "GET", f"{account}/messages/{messages[0]['id']}/raw")


def check_addresses(stack: Stack, message: bytes) -> None:
    """The trace header names who connected to the balancer, not the balancer."""
    own = stack.compose("exec", "-T", "balancer", "hostname", "-i").split()
    header = message.partition(b"\r\n\r\n")[0].decode()
    if not own or any(f"[{address}]" in header for address in own):
        raise CheckFailed(f"the trace header names the balancer {own}: {header}")


KILL: Final = """
import os
for pid in filter(str.isdecimal, os.listdir("/proc")):
    if b"-m" in open(f"/proc/{pid}/cmdline", "rb").read().split(b"\\0") and int(pid) != os.getpid():
        os.kill(int(pid), 9)
"""


class Flow(threading.Thread):
    """Sends messages one after the other, each on a connection of its own, and remembers which were taken."""

    def __init__(self, stack: Stack) -> None:
        super().__init__(name="flow")
        self._stack, self._over = stack, threading.Event()
        self.taken: list[str] = []
        self.refused: list[str] = []

    def run(self) -> None:
        number = 0
        while not self._over.wait(PAUSE_S):
            number += 1
            message = MESSAGE.replace(b"container-check@", f"flow-{number}@".encode())
            try:
                with smtplib.SMTP("127.0.0.1", self._stack.ports["SMTP"], timeout=CALL_TIMEOUT_S) as client:
                    client.sendmail("sender@elsewhere.test", ["alice@check.test"], message, ["BODY=8BITMIME"])
            except (OSError, smtplib.SMTPException) as error:
                if isinstance(error, smtplib.SMTPResponseException) and error.smtp_code >= 500:
                    raise CheckFailed(f"refused for good: {error}") from error
                self.refused.append(repr(error))
            else:
                self.taken.append(f"flow-{number}@check.test")

    def stop(self) -> None:
        self._over.set()
        self.join()


def kill_while_mail_flows(stack: Stack, services: tuple[str, ...]) -> None:
    """Of each service one replica dies; every message that was taken is there afterwards, and only once."""
    flow = Flow(stack)
    flow.start()
    try:
        for name in services:
            stack.compose("exec", "-T", "--index", "1", name, "python", "-c", KILL, check=False)
            time.sleep(1)
            stack.wait_healthy((name,))
    finally:
        flow.stop()
    with imaplib.IMAP4_SSL(
        "127.0.0.1", stack.ports["IMAPS"], ssl_context=unchecked_tls(), timeout=CALL_TIMEOUT_S
    ) as client:
        client.login("alice@check.test", PASSWORD)
        client.select("INBOX", readonly=True)
        _, parts = client.fetch("1:*", "(BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)])")
    found = b"".join(part[1] for part in parts if isinstance(part, tuple)).decode()
    lost = [name for name in flow.taken if f"<{name}>" not in found]
    if lost or not flow.taken:
        raise CheckFailed(f"of {len(flow.taken)} messages that were taken, these are lost: {lost}")
    print(f"    {len(flow.taken)} messages taken, none lost; {len(flow.refused)} attempts to be repeated", flush=True)


def renew_certificate(stack: Stack, secrets: Path) -> None:
    """Another certificate, put where Caddy keeps those that it got, is shown without a restart."""
    with tempfile.TemporaryDirectory() as folder:
        made, kept = Path(folder) / "secrets", Path(folder) / "caddy/certificates/acme/mail.check.test"
        subprocess.run([str(ROOT / "deploy/secrets.sh"), str(made)], check=True, capture_output=True)
        kept.mkdir(parents=True)
        for suffix in ("crt", "key"):
            shutil.copy(made / "tls" / f"tls.{suffix}", kept / f"mail.check.test.{suffix}")
        script = str(ROOT / "deploy/compose/edge/certificates.sh")
        subprocess.run([script, folder, "mail.check.test", str(secrets / "tls"), "once"], check=True)
    expected = ssl.PEM_cert_to_DER_cert((secrets / "tls" / "tls.crt").read_text())
    limit = time.monotonic() + CALL_TIMEOUT_S
    for port in ("SUBMISSIONS", "POP3S", "IMAPS"):
        while True:
            with (
                socket.create_connection(("127.0.0.1", stack.ports[port]), CALL_TIMEOUT_S) as plain,
                unchecked_tls().wrap_socket(plain) as tls,
            ):
                if tls.getpeercert(binary_form=True) == expected:
                    break
            if time.monotonic() > limit:
                raise CheckFailed(f"{port} still shows the certificate from before")
            time.sleep(0.5)


def compare(stack: Stack, token: str, protocols: list[str]) -> bytes:
    """Each protocol gives what was sent, after our trace fields."""
    readers = {"imap": lambda: by_imap(stack), "pop3": lambda: by_pop3(stack), "rest": lambda: by_rest(stack, token)}
    read = {protocol: readers[protocol]() for protocol in protocols}
    first = read[protocols[0]]
    for protocol, octets in read.items():
        if octets != first:
            raise CheckFailed(f"{protocols[0]} and {protocol} give different octets ({len(first)}, {len(octets)})")
    if not first.endswith(MESSAGE):
        raise CheckFailed(f"the message isn't the one sent: {first!r}")
    return first


@contextmanager
def step(what: str) -> Iterator[None]:
    start = time.monotonic()
    print(f"{what} …", flush=True)
    yield
    print(f"    {time.monotonic() - start:.1f} s", flush=True)


def run(stack: Stack, secrets: Path, restart: str, protocols: list[str]) -> None:
    """All steps. Raises CheckFailed and what the clients raise."""
    services = tuple(name for name in OURS if name not in {"imap", "pop3"} or name in protocols)
    with step("images"):
        stack.compose("build")
    with step("start, until healthy"):
        stack.compose("up", "-d", *(word for name in SCALED for word in ("--scale", f"{name}=2")))
        stack.wait_healthy(services)
    token = (secrets / "admin_token").read_text().strip()
    wait_for_api(stack, token)
    with step("domain and accounts over REST"):
        rest(stack, token, "POST", "/v1/domains", {"name": "check.test"})
        for name in ("alice", "bob"):
            rest(stack, token, "POST", "/v1/accounts", {"address": f"{name}@check.test", "password": PASSWORD})
    with step("submission with STARTTLS and AUTH"):
        submit(stack)
    with step(f"the same octets by {', '.join(protocols)}"):
        before = compare(stack, token, protocols)
    with step(f"restart of {restart}"):
        stack.compose("restart", restart)
        stack.wait_healthy((restart, *services))
        wait_for_api(stack, token)
    with step("the mail is still there"):
        if compare(stack, token, protocols) != before:
            raise CheckFailed(f"the message changed with the restart of {restart}")
    check_addresses(stack, before)
    with step("a replica of each service is killed while mail flows"):
        kill_while_mail_flows(stack, tuple(name for name in services if name != "balancer"))
    with step("another certificate, without a restart"):
        renew_certificate(stack, secrets)


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--keep", action="store_true", help="leave containers and volumes in place")
    parser.add_argument("--restart", default="store-api", help="service to restart in between")
    parser.add_argument("--read", default="imap,pop3,rest", help="by which protocols (default: %(default)s)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="postroom-secrets-") as folder:
        secrets = Path(folder) / "secrets"
        subprocess.run([str(ROOT / "deploy/secrets.sh"), str(secrets)], check=True, capture_output=True)
        stack = Stack(secrets)
        start = time.monotonic()
        try:
            run(stack, secrets, options.restart, options.read.split(","))
        except (CheckFailed, OSError, imaplib.IMAP4.error, poplib.error_proto, smtplib.SMTPException) as error:
            print(f"FAILED: {error}\n{stack.compose('ps', '--all', check=False)}", flush=True)
            print(stack.compose("logs", "--no-color", "--tail", "30", *OURS, check=False)[-12000:], flush=True)
            return 1
        finally:
            if not options.keep:
                stack.compose("down", "--volumes", "--timeout", "15", check=False)
        print(f"containers are well: {time.monotonic() - start:.0f} s")
        return 0


if __name__ == "__main__":
    sys.exit(main())
