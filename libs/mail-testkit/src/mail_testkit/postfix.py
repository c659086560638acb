"""Postfix as Debian packages it, in a directory of its own: what SMTP figures are compared with, and a client of tests.

It needs root, as Postfix does everywhere; nothing of the system's own Postfix is read or changed.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from postroom_cli.launcher.config import free_port

START_TIMEOUT_S: Final = 30.0
_OWNER: Final = "postfix"
# What isn't said here is the package's default.
_MAIN: Final = """
compatibility_level = 3.6
queue_directory = {root}/queue
data_directory = {root}/data
maillog_file = {root}/postfix.log
maillog_file_prefixes = {root}
inet_interfaces = loopback-only
inet_protocols = ipv4
myhostname = postfix.test
mydestination =
mynetworks = 127.0.0.0/8
alias_maps =
local_recipient_maps =
"""
# As in the package, but no chroot, and the port.
_MASTER: Final = """
{port} inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
proxywrite unix - - n - 1 proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
lmtp unix - - n - - lmtp
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""


@dataclass(frozen=True, slots=True)
class Postfix:
    """A running one. `root` holds all that is its own; `pid` is its master's."""

    root: Path
    port: int
    pid: int

    def log(self) -> str:
        """What it has written so far."""
        path = self.root / "postfix.log"
        return path.read_text(errors="replace") if path.exists() else ""


def program() -> str | None:
    """Where postfix is, if it is and can be run."""
    return shutil.which("postfix", path="/usr/sbin:/usr/local/sbin") if os.geteuid() == 0 else None


@contextmanager
def running(root: Path, settings: Sequence[str]) -> Iterator[Postfix]:
    """Run it while the block runs, with these lines in its `main.cf`. Raises RuntimeError: it doesn't start."""
    postfix = program()
    assert postfix is not None, "ask program() first"
    config, port = root / "etc", free_port()
    for folder in (root, config, root / "queue", root / "data"):
        folder.mkdir(exist_ok=True)
        folder.chmod(0o755)
    shutil.chown(root / "data", _OWNER)
    (config / "main.cf").write_text(_MAIN.format(root=root) + "".join(f"{line}\n" for line in settings))
    (config / "master.cf").write_text(_MASTER.format(port=port))
    command = [postfix, "-c", str(config)]
    subprocess.run([*command, "start"], check=True, capture_output=True, timeout=START_TIMEOUT_S)
    try:
        _wait(port, root)
        yield Postfix(root, port, int((root / "queue" / "pid" / "master.pid").read_text()))
    finally:
        subprocess.run([*command, "stop"], check=False, capture_output=True, timeout=START_TIMEOUT_S)


def _wait(port: int, root: Path) -> None:
    until = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < until:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    log = root / "postfix.log"
    raise RuntimeError(f"Postfix doesn't start: {log.read_text() if log.exists() else 'without a word'}")
