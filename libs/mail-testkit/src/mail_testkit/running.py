"""A whole Postroom for tests: real servers and services, started by the launcher on free ports."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Coroutine, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

from mail_testkit.remotes import Zone, serving
from postroom_cli.launcher.config import PORTS, free_port, read_config
from postroom_cli.launcher.postroom import Running, running
from postroom_cli.launcher.supervisor import Supervised

T = TypeVar("T")

DOMAIN: Final = "example.test"
PASSWORD: Final = "postroom"
START_TIMEOUT_S: Final = 180.0
STEP_TIMEOUT_S: Final = 120.0


class RunningPostroom:
    """A running system, its ports by name (`imap`, `smtp`, `submission`, …), and its processes."""

    def __init__(self, loop: asyncio.AbstractEventLoop, system: Running) -> None:
        self._loop, self._system = loop, system
        self.host = "127.0.0.1"
        self.data = system.config.data
        self.domain = system.config.domain
        self.api_url = system.plan.api_url
        # The API without /internal; empty unless POSTROOM_PUBLIC_PORT is set.
        public_port = system.config.environ.get("POSTROOM_PUBLIC_PORT")
        self.public_url = f"http://{self.host}:{public_port}" if public_port else ""
        self.database_url = system.plan.database_url
        self.nats_url = system.plan.nats_url
        self.admin_token = system.plan.admin_token
        self.service_token = system.plan.service_token
        self.certificate = system.plan.certificate
        self.ports = {
            name.removeprefix("POSTROOM_").removesuffix("_PORT").lower(): port
            for name, port in system.config.ports.items()
        }

    def _supervised(self, name: str) -> Supervised:
        return self._system.supervisor.supervised[name]

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(STEP_TIMEOUT_S)

    def pid(self, name: str) -> int:
        """The process id of a server or service, as long as it isn't started again."""
        process = self._supervised(name).process
        assert process is not None
        return process.pid

    def process_id(self, name: str) -> int:
        """The process as it runs now."""
        process = self._supervised(name).process
        assert process is not None
        return process.pid

    def kill(self, name: str) -> None:
        """`kill -9` one process; it is started again by its supervisor."""
        process = self._supervised(name).process
        assert process is not None
        os.kill(process.pid, signal.SIGKILL)
        self._do(process.wait())

    @contextmanager
    def stopped(self, name: str) -> Iterator[None]:
        """While the block runs the process is not there; afterwards it serves again."""
        self._do(self._system.supervisor.stop(name))
        try:
            yield
        finally:
            self._do(self._start(name))

    @contextmanager
    def frozen(self, name: str) -> Iterator[None]:
        """While the block runs the process does nothing: connections to it open, and nobody answers."""
        pid = self.process_id(name)
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)

    async def _start(self, name: str) -> None:
        self._system.supervisor.start(name)
        while not await self._supervised(name).program.ready():
            await asyncio.sleep(0.05)

    def wait_ready(self, name: str) -> None:
        """Return once the process serves."""

        async def wait() -> None:
            while not await self._supervised(name).program.ready():
                await asyncio.sleep(0.05)

        self._do(wait())

    def admin_url(self, name: str) -> str:
        """Where the service tells of its health and metrics."""
        return f"http://{self.host}:{self._supervised(name).program.environ['POSTROOM_ADMIN_PORT']}"

    def environ(self, name: str) -> dict[str, str]:
        """Settings of a service, to start another replica with."""
        return dict(self._supervised(name).program.environ)

    def log(self, name: str) -> str:
        """What the process has written so far."""
        return self._supervised(name).log.read_text(errors="replace")


@contextmanager
def temporary_directory() -> Iterator[Path]:
    """A directory that every user may enter: when root runs the tests, Postgres is another user."""
    directory = Path(tempfile.mkdtemp(prefix="postroom-"))
    directory.chmod(0o755)
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@contextmanager
def run_postroom(data: Path, **environ: str) -> Iterator[RunningPostroom]:
    """Run a system on free ports in a thread of its own while the block runs. `environ` adds settings.

    Unless that names a DNS server, it asks one that says at once of every domain that there is none, and of those in
    broken.test that it can't say: mail to the first bounces, mail to the others waits, whatever the machine's DNS does.
    """
    with ExitStack() as stack:
        if "POSTROOM_DNS_SERVER" not in environ:
            environ["POSTROOM_DNS_SERVER"] = stack.enter_context(serving(Zone()))
        yield stack.enter_context(_running(data, environ))


@contextmanager
def _running(data: Path, environ: dict[str, str]) -> Iterator[RunningPostroom]:
    config = read_config(
        {
            "PATH": os.environ.get("PATH", ""),
            "HOME": os.environ.get("HOME", "/"),
            "POSTROOM_DATA": str(data),
            "POSTROOM_DEV_PASSWORD": PASSWORD,
            **{name: str(free_port()) for name in PORTS},
            **environ,
        }
    )
    loop = asyncio.new_event_loop()
    started: list[RunningPostroom] = []
    failed: list[BaseException] = []
    up, down = threading.Event(), asyncio.Event()

    async def serve() -> None:
        try:
            async with running(config, lambda text: None) as system:
                started.append(RunningPostroom(loop, system))
                up.set()
                await down.wait()
        except BaseException as error:
            failed.append(error)
            raise
        finally:
            up.set()

    def work() -> None:
        try:
            loop.run_until_complete(serve())
        except Exception as error:
            failed.append(error)
        finally:
            loop.close()

    thread = threading.Thread(target=work, name="postroom")
    thread.start()
    try:
        if not up.wait(START_TIMEOUT_S) or failed:
            raise RuntimeError(f"Postroom didn't start: {failed}")
        yield started[0]
    finally:
        if not loop.is_closed():
            loop.call_soon_threadsafe(down.set)
        thread.join(STEP_TIMEOUT_S)
