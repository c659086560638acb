"""What an operator fears, done to docker-compose.yml while 20 clients send and 20 wait in IDLE.

    python -m tests.containers.chaos [--keep] [--only doors,kill,rolling,outages,upgrade]

doors     mail in and out by every port, encrypted, the certificate checked
kill      a replica of each service is killed
rolling   every container is restarted, one after the other
outages   Postgres, NATS and the object storage are away for 30 s each
upgrade   another tag: by deploy/compose/upgrade.sh, and by `docker compose up`

After each: every message that was answered with 250 is in its mailbox, or has reached the server elsewhere; nobody was
refused for good; who idles hears of new mail. Exit code 0: all as it should be. Takes ten minutes and more.

As `tests.containers.check` it needs Docker Compose (POSTROOM_COMPOSE), and `docker` itself (POSTROOM_DOCKER) to restart
one container of several.
"""

from __future__ import annotations

import argparse
import imaplib
import os
import poplib
import shlex
import smtplib
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tests.containers.check import (
    CALL_TIMEOUT_S,
    KILL,
    OURS,
    PASSWORD,
    ROOT,
    CheckFailed,
    Stack,
    rest,
    step,
    wait_for_api,
)
from tests.containers.traffic import DOMAIN, MESSAGE, Clients, Traffic, account

USERS: Final = 20
REPLICAS: Final = {"store-api": 2, "smtp-in": 2, "smtp-out": 2, "pop3": 2, "imap": 2}
SERVERS: Final = ("postgres", "nats", "s3")
OUTAGE_S: Final = 30.0
# Seconds, on a machine that has nothing else to do.
UPGRADE_GAP_S: Final = 5.0
# Every container at once, the balancer with them.
REPLACEMENT_GAP_S: Final = 90.0
TAGS: Final = ("check-1", "check-2", "check-3")
OVERRIDE: Final = """
services:
  store-api:
    environment: {{ POSTROOM_RETRY_FIRST_S: "1" }}
  smtp-out:
    environment: {{ POSTROOM_RELAY_FILE: /relay.toml }}
    volumes: ["{folder}/relay.toml:/relay.toml:ro"]
  sink:
    image: postroom/smtp-in:{tag}
    entrypoint: ["python", "/sink.py"]
    healthcheck: {{ disable: true }}
    restart: unless-stopped
    volumes: ["{root}/tests/containers/sink.py:/sink.py:ro", "{folder}/sink:/sink"]
"""
RELAY: Final = '[[routes]]\nrecipient_domains = ["sink.test"]\nhost = "sink"\nport = 2525\ntls = "never"\n'


class ChaosStack(Stack):
    """The project with replicas, a server elsewhere, and a tag that changes."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / "secrets")
        self._docker = shlex.split(os.environ.get("POSTROOM_DOCKER", "docker"))
        (folder / "relay.toml").write_text(RELAY)
        (folder / "sink").mkdir()
        (folder / "sink").chmod(0o777)
        (folder / "sink" / "received").touch()
        (folder / "sink" / "received").chmod(0o666)
        (folder / "override.yaml").write_text(OVERRIDE.format(folder=folder, root=ROOT, tag=TAGS[0]))
        self.environment |= {
            "COMPOSE_FILE": f"{ROOT / 'docker-compose.yml'}:{folder / 'override.yaml'}",
            "COMPOSE_PROJECT_NAME": self.name,
            "POSTROOM_TAG": TAGS[0],
            "POSTROOM_BALANCER_TAG": TAGS[0],
        }

    def compose(self, *arguments: str, check: bool = True) -> str:
        return self.run([*self.command, *arguments], check=check)

    def docker(self, *arguments: str) -> str:
        return self.run([*self._docker, *arguments])

    def containers(self, service: str) -> list[str]:
        return self.compose("ps", "--quiet", service).split()

    def up(self) -> None:
        scales = [word for name, count in REPLICAS.items() for word in ("--scale", f"{name}={count}")]
        self.compose("up", "--detach", *scales)
        self.wait_healthy((*OURS, *SERVERS))


class Chaos:
    """The steps, each a method."""

    def __init__(self, stack: ChaosStack, folder: Path) -> None:
        self._stack, self._sink = stack, folder / "sink"
        self._clients = Clients(stack, folder / "secrets" / "tls" / "tls.crt")

    def doors(self) -> None:
        """Every port: in by four, out by four; what can be encrypted is."""
        sent = []
        for door, user in (("SMTP", ""), ("SUBMISSION", account(0)), ("SUBMISSIONS", account(0)), ("LMTP", "")):
            name = f"door.{door.lower()}@{DOMAIN}"
            message = MESSAGE.format(sender=account(0), recipient=account(1), name=name, filling="y" * 900)
            with self._lmtp() if door == "LMTP" else self._clients.smtp(door, user) as client:
                client.sendmail(user or "sender@elsewhere.test", [account(1)], message)
            sent.append(f"Message-ID: <{name}>".encode())
        read = {door: self._read(door) for door in ("POP3", "POP3S", "IMAP", "IMAPS")}
        for door, messages in read.items():
            if messages != read["IMAPS"]:
                raise CheckFailed(f"{door} and IMAPS give different octets")
            for field, octets in zip(sent, messages, strict=True):
                if field not in octets:
                    raise CheckFailed(f"{door}: {field!r} isn't in {octets[:500]!r}")

    def _lmtp(self) -> smtplib.SMTP:
        client = smtplib.LMTP("localhost", self._stack.ports["LMTP"])
        client.starttls(context=self._clients.tls)
        return client

    def _read(self, door: str) -> list[bytes]:
        port, tls = self._stack.ports[door], self._clients.tls
        if door.startswith("POP3"):
            pop: poplib.POP3
            if door == "POP3S":
                pop = poplib.POP3_SSL("localhost", port, timeout=CALL_TIMEOUT_S, context=tls)
            else:
                pop = poplib.POP3("localhost", port, timeout=CALL_TIMEOUT_S)
                pop.stls(tls)
            pop.user(account(1))
            pop.pass_(PASSWORD)
            count, _ = pop.stat()
            found = [b"\r\n".join(pop.retr(number + 1)[1]) + b"\r\n" for number in range(count)]
            pop.quit()
            return found
        imap: imaplib.IMAP4
        if door == "IMAPS":
            imap = imaplib.IMAP4_SSL("localhost", port, ssl_context=tls, timeout=CALL_TIMEOUT_S)
        else:
            imap = imaplib.IMAP4("localhost", port, timeout=CALL_TIMEOUT_S)
            imap.starttls(tls)
        with imap:
            imap.login(account(1), PASSWORD)
            imap.select("INBOX", readonly=True)
            return [part[1] for part in imap.fetch("1:*", "(BODY.PEEK[])")[1] if isinstance(part, tuple)]

    def kill(self) -> None:
        """Of each service one replica dies, and is started again."""

        def work(traffic: Traffic) -> None:
            for service in REPLICAS:
                self._stack.compose("exec", "-T", "--index", "1", service, "python", "-c", KILL, check=False)
                traffic.wait_flowing()
                self._stack.wait_healthy((service,))

        self._while_mail_flows(work)

    def rolling(self) -> None:
        """Every container, one after the other; each has time to say goodbye."""

        def work(traffic: Traffic) -> None:
            for service in (*REPLICAS, "balancer", *SERVERS):
                for container in self._stack.containers(service):
                    self._stack.docker("restart", "--time", "15", container)
                    self._stack.wait_healthy((service,))
                    traffic.wait_flowing()

        self._while_mail_flows(work)

    def outages(self) -> None:
        """What everything depends on is away for half a minute each."""

        def work(traffic: Traffic) -> None:
            for service in SERVERS:
                self._stack.compose("stop", service)
                before, until = traffic.taken(), time.monotonic() + OUTAGE_S
                while time.monotonic() < until:
                    time.sleep(0.5)
                meanwhile = traffic.taken() - before
                self._stack.compose("start", service)
                waited = traffic.wait_flowing()
                print(f"    {service} away: {meanwhile} messages taken; then it took {waited:.1f} s", flush=True)

        self._while_mail_flows(work)

    def upgrade(self) -> None:
        """Another tag, side by side; then yet another in the plain way."""
        for tag in TAGS[1:]:
            for service in OURS:
                self._stack.docker("tag", f"postroom/{service}:{TAGS[0]}", f"postroom/{service}:{tag}")

        def side_by_side(traffic: Traffic) -> None:
            self._stack.run([str(ROOT / "deploy/compose/upgrade.sh"), TAGS[1]])
            traffic.wait_flowing()

        def at_once(traffic: Traffic) -> None:
            self._stack.environment |= {"POSTROOM_TAG": TAGS[2], "POSTROOM_BALANCER_TAG": TAGS[2]}
            self._stack.up()
            traffic.wait_flowing()

        for tag, work, limit_s in (
            (TAGS[1], side_by_side, UPGRADE_GAP_S),
            (TAGS[2], at_once, REPLACEMENT_GAP_S),
        ):
            gap_s = self._while_mail_flows(work)
            kept = {"balancer"} if work is side_by_side else set()
            images = {name: self._images(name) for name in OURS}
            if stale := {name: found for name, found in images.items() if found != {tag} and name not in kept}:
                raise CheckFailed(f"not upgraded to {tag}: {stale}")
            if gap_s > limit_s:
                raise CheckFailed(f"nobody got a message through for {gap_s:.0f} s")

    def _images(self, service: str) -> set[str]:
        """Tags of its containers."""
        listed = self._stack.compose("ps", "--format", "{{.Image}}", service).split()
        return {image.rpartition(":")[2] for image in listed}

    def _while_mail_flows(self, work: Callable[[Traffic], None]) -> float:
        """Returns the longest time in which nobody got a message through. Raises CheckFailed."""
        with Traffic(self._clients, self._sink, USERS, USERS) as traffic:
            work(traffic)
            traffic.check_idlers()
        print(f"    {traffic.check_nothing_is_lost()}", flush=True)
        return traffic.longest_gap_s()


def prepare(stack: ChaosStack, folder: Path) -> None:
    """Images, containers, accounts."""
    with step("images"):
        stack.compose("build")
    with step("start, until healthy"):
        stack.up()
        token = (folder / "secrets" / "admin_token").read_text().strip()
        wait_for_api(stack, token)
    with step(f"{USERS} accounts"):
        rest(stack, token, "POST", "/v1/domains", {"name": DOMAIN})
        for number in range(USERS):
            rest(stack, token, "POST", "/v1/accounts", {"address": account(number), "password": PASSWORD})


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--keep", action="store_true", help="leave containers and volumes in place")
    parser.add_argument("--only", default="doors,kill,rolling,outages,upgrade", help="steps (default: %(default)s)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="postroom-chaos-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        subprocess.run([str(ROOT / "deploy/secrets.sh"), str(folder / "secrets")], check=True, capture_output=True)
        stack, start = ChaosStack(folder), time.monotonic()
        chaos = Chaos(stack, folder)
        try:
            prepare(stack, folder)
            for wanted in options.only.split(","):
                work: Callable[[], None] = getattr(chaos, wanted)
                with step(f"{wanted}: {(work.__doc__ or '').strip()}"):
                    work()
        except (CheckFailed, OSError, imaplib.IMAP4.error, poplib.error_proto, smtplib.SMTPException) as error:
            print(f"FAILED: {error}", file=sys.stderr)
            print(stack.compose("ps", "--all", check=False), file=sys.stderr)
            print(stack.compose("logs", "--tail", "40", *OURS, check=False)[-20_000:], file=sys.stderr)
            return 1
        finally:
            if not options.keep:
                stack.compose("down", "--volumes", "--timeout", "20", check=False)
        print(f"all as it should be, in {time.monotonic() - start:.0f} s")
        return 0


if __name__ == "__main__":
    sys.exit(main())
