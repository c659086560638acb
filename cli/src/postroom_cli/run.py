"""`postroom run`: Postroom on this machine, until Ctrl-C."""

from __future__ import annotations

import asyncio
import signal

from rich.console import Console

from postroom_cli import report
from postroom_cli.launcher.config import Config
from postroom_cli.launcher.postroom import running


async def run(config: Config, console: Console) -> None:
    """Serve until SIGINT or SIGTERM. Raises LaunchError."""
    stopping = asyncio.Event()
    main = asyncio.current_task()
    assert main is not None
    started = False

    def stop() -> None:
        stopping.set()
        if not started:
            main.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop)
    try:
        with console.status("starting") as status:

            def ready(name: str) -> None:

                console.print(f"  {name} serves", highlight=False)

            def event(text: str) -> None:
                console.print(text, style="yellow", highlight=False, markup=False)

            async with running(config, event, ready) as postroom:
                started = True
                status.stop()
                report.show(console, postroom)
                await stopping.wait()
                console.print("stopping", highlight=False)
    except asyncio.CancelledError:
        if not stopping.is_set():
            raise
    console.print("stopped; all mail is kept", highlight=False)
