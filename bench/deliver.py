"""Messages per second from SMTP until they are visible in IMAP: prints figures, tests nothing.

Several connections send the messages of the corpus (or the repository's own) to one running Postroom, which this
program starts on free ports. "accepted" counts 250 replies; "visible" ends when IMAP shows the last message.
"""

from __future__ import annotations

import argparse
import imaplib
import json
import os
import platform
import smtplib
import threading
import time
from collections.abc import Sequence

from mail_proto.smtp.content import has_bare_line_ends
from mail_testkit import messages
from mail_testkit.clients import HOST, Rest, User, send_octets
from mail_testkit.running import RunningPostroom, run_postroom, temporary_directory


def send(postroom: RunningPostroom, user: User, octets: Sequence[bytes]) -> None:
    with smtplib.SMTP(HOST, postroom.ports["smtp"]) as client:
        for message in octets:
            assert send_octets(client, "bench@elsewhere.test", [user.address], message)[0] == 250


def open_imap(postroom: RunningPostroom, user: User) -> imaplib.IMAP4:
    client = imaplib.IMAP4(HOST, postroom.ports["imap"])
    client.login(user.address, user.password)
    return client


def wait_until_visible(readers: Sequence[imaplib.IMAP4], number: int) -> None:
    for client in readers:
        while int(client.select("INBOX")[1][0] or b"0") < number:
            time.sleep(0.01)


def measure(postroom: RunningPostroom, connections: int, number: int) -> dict[str, float]:
    """Seconds and rates of `number` messages over each of `connections` connections."""
    rest = Rest(postroom)
    users = [rest.make_user() for _ in range(connections)]
    readers = [open_imap(postroom, user) for user in users]
    letters = [sent for path in messages.paths() if not has_bare_line_ends(sent := messages.as_sent(path))]
    batches = [[letters[(c + n * 7) % len(letters)] for n in range(number)] for c in range(connections)]
    threads = [
        threading.Thread(target=send, args=(postroom, user, batch)) for user, batch in zip(users, batches, strict=True)
    ]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    accepted = time.perf_counter() - started
    wait_until_visible(readers, number)
    visible = time.perf_counter() - started
    for client in readers:
        client.logout()
    total = connections * number
    return {
        "messages": total,
        "octets": sum(len(octets) for batch in batches for octets in batch),
        "accepted_per_s": round(total / accepted, 1),
        "visible_per_s": round(total / visible, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--messages", type=int, default=100, help="over each connection")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="one JSON object per round")
    arguments = parser.parse_args()
    print(f"# {platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}; load generator included")
    with temporary_directory() as directory, run_postroom(directory / "data", POSTROOM_LOG_LEVEL="warning") as postroom:
        for _ in range(arguments.rounds):
            figures = measure(postroom, arguments.connections, arguments.messages)
            if arguments.json:
                print(json.dumps(figures), flush=True)
            else:
                print("  ".join(f"{name} {value}" for name, value in figures.items()), flush=True)


if __name__ == "__main__":
    main()
