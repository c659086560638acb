"""Content filters: rspamd and clamd as installed, and scripted ones for what those can't be made to say."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from mail_testkit.clients import TIMEOUT_S
from postroom_cli.launcher.config import free_port
from smtp_in.policy.clamav import Clamav
from smtp_in.policy.filters import FilterDown, Opinion
from smtp_in.policy.letter import Letter
from smtp_in.policy.rspamd import ACTIONS, Rspamd

EICAR = rb"X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"
GTUBE = b"JS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"


def letter(body: bytes = b"body", user: str = "") -> Letter:
    message = b"From: a@x.test\r\nTo: b@example.test\r\nSubject: s\r\n\r\n" + body + b"\r\n"
    return Letter("192.0.2.1", "mx.x.test", "a@x.test", ("b@example.test", "c@example.test"), user, "mx.test", message)


@asynccontextmanager
async def program(*command: str) -> AsyncIterator[None]:
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        yield
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def judged(one: Rspamd | Clamav, what: Letter) -> Opinion:
    """What it says once it is up."""
    async with asyncio.timeout(TIMEOUT_S):
        while True:
            try:
                return await one.judge(what)
            except FilterDown:
                await asyncio.sleep(0.1)


RSPAMD = """
options {
    pidfile = "%(directory)s/pid"; tempdir = "%(directory)s"; control_socket = "%(directory)s/control mode=0600";
    filters = ""; enable_test_patterns = true; url_tld = "%(directory)s/tld"; disable_hyperscan = true;
    dns { nameserver = "127.0.0.1:1"; timeout = 0.1s; retransmits = 1; }
}
logging { type = "console"; level = "error"; }
worker "normal" { bind_socket = "127.0.0.1:%(port)d"; count = 1; }
actions { reject = 15; "add header" = 6; greylist = 4; }
"""


@pytest.mark.skipif(shutil.which("rspamd") is None, reason="rspamd isn't installed")
async def test_rspamd_as_installed(tmp_path: Path) -> None:
    port = free_port()
    (tmp_path / "tld").write_text("test\n")
    (tmp_path / "conf").write_text(RSPAMD % {"directory": tmp_path, "port": port})
    async with (
        program("rspamd", "--insecure", "-f", "-c", str(tmp_path / "conf")),
        Rspamd(f"http://127.0.0.1:{port}", "", 5.0) as rspamd,
    ):
        assert (await judged(rspamd, letter())).action == "accept"
        refused = await rspamd.judge(letter(b"X" + GTUBE))
        assert (refused.action, refused.text) == ("reject", "Gtube pattern")
        suspected = await rspamd.judge(letter(b"Y" + GTUBE))
        assert (suspected.action, suspected.fields) == ("junk", b"X-Spam: Yes\r\n")


CLAMD = "DatabaseDirectory {0}\nTCPSocket {1}\nTCPAddr 127.0.0.1\nLocalSocket {0}/socket\nForeground yes\nUser root\n"


@pytest.mark.skipif(shutil.which("clamd") is None, reason="clamd isn't installed")
async def test_clamd_as_installed(open_directory: Path) -> None:
    port = free_port()
    (open_directory / "test.ndb").write_text(f"Eicar-Test:0:*:{EICAR.hex()}\n")
    (open_directory / "conf").write_text(CLAMD.format(open_directory, port))
    async with program("clamd", "-c", str(open_directory / "conf")):
        for address in (f"127.0.0.1:{port}", f"{open_directory}/socket"):
            clamav = Clamav(address, 10.0)
            assert (await judged(clamav, letter(b"x" * 300_000))).action == "accept"
            found = await clamav.judge(letter(EICAR))
            assert (found.action, found.text) == ("reject", "a virus was found: Eicar-Test.UNOFFICIAL")


@asynccontextmanager
async def scripted_rspamd(reply: Any, asked: list[web.Request] | None = None) -> AsyncIterator[Rspamd]:
    async def check(request: web.Request) -> web.Response:
        await request.read()
        if asked is not None:
            asked.append(request)
        return reply if isinstance(reply, web.Response) else web.json_response(reply)

    app = web.Application()
    app.router.add_post("/checkv2", check)
    runner = web.AppRunner(app)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        async with Rspamd(f"http://127.0.0.1:{port}/", "secret", TIMEOUT_S) as rspamd:
            yield rspamd
    finally:
        await runner.cleanup()


async def test_what_rspamd_is_told() -> None:
    asked: list[web.Request] = []
    async with scripted_rspamd({"action": "no action"}, asked) as rspamd:
        await rspamd.judge(letter(user="a@example.test"))
    headers = asked[0].headers
    assert [headers[name] for name in ("IP", "Helo", "From", "User", "MTA-Name", "Password")] == [
        "192.0.2.1",
        "mx.x.test",
        "a@x.test",
        "a@example.test",
        "mx.test",
        "secret",
    ]
    assert headers.getall("Rcpt") == ["b@example.test", "c@example.test"]


@pytest.mark.parametrize("action", sorted(ACTIONS))
async def test_actions(action: str) -> None:
    async with scripted_rspamd({"action": action, "messages": {"smtp_message": "said"}}) as rspamd:
        opinion = await rspamd.judge(letter())
    assert (opinion.action, opinion.text) == (ACTIONS[action], "said")


async def test_fields_of_rspamd() -> None:
    added = {
        "X-Spamd-Bar": "/",
        "X-List": ["a", {"value": "b", "order": 1}],
        "X-Folded": {"value": "one\r\n\ttwo\n\nX-Forged: three", "order": 0},
        "bad name": "x",
        "X-Number": 5,
    }
    async with scripted_rspamd({"action": "no action", "milter": {"add_headers": added}}) as rspamd:
        opinion = await rspamd.judge(letter())
    assert opinion.fields == (
        b"X-Spamd-Bar: /\r\nX-List: a\r\nX-List: b\r\nX-Folded: one\r\n\ttwo\r\n\tX-Forged: three\r\n"
    )


@pytest.mark.parametrize("reply", [{"action": "dance"}, {}, [], "text"])
async def test_nonsense_of_rspamd(reply: Any) -> None:
    async with scripted_rspamd(reply) as rspamd:
        with pytest.raises(FilterDown):
            await rspamd.judge(letter())


async def test_rspamd_that_fails() -> None:
    async with scripted_rspamd(web.Response(status=500)) as rspamd:
        with pytest.raises(FilterDown, match="500"):
            await rspamd.judge(letter())
    async with Rspamd("http://127.0.0.1:1", "", 1.0) as rspamd:
        with pytest.raises(FilterDown):
            await rspamd.judge(letter())


async def clamd_saying(reply: bytes | None, what: Letter) -> tuple[Opinion, bytes]:
    """The opinion, and the octets that came; None: it never answers."""
    came: list[bytes] = []
    ended = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            assert await reader.readuntil(b"\0") == b"zINSTREAM\0"
            while length := int.from_bytes(await reader.readexactly(4)):
                came.append(await reader.readexactly(length))
            writer.write(reply or b"")
            if reply is None:
                await reader.read()
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
            ended.set()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        try:
            opinion = await Clamav(f"127.0.0.1:{port}", TIMEOUT_S if reply is not None else 0.5).judge(what)
        finally:
            await ended.wait()
    return opinion, b"".join(came)


async def test_clamd_gets_the_message_in_chunks() -> None:
    what = letter(b"x" * 200_000)
    opinion, came = await clamd_saying(b"stream: OK\0", what)
    assert (opinion.action, came) == ("accept", what.message)


@pytest.mark.parametrize("reply", [b"INSTREAM size limit exceeded. ERROR\0", b"stream: OK", b"", b"?\0", None])
async def test_nonsense_of_clamd(reply: bytes | None) -> None:
    with pytest.raises(FilterDown):
        await clamd_saying(reply, letter())
