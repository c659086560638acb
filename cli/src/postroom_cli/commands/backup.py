"""`postroom backup` and `postroom restore`: a whole system, with ids, uids, passwords and the queue."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from mail_runtime.contracts.framing import pack_stream, unpack_stream
from postroom_cli.backup_folder import BackupFolder, blob_ids
from postroom_cli.command import Context, command
from postroom_cli.output import Advance
from postroom_cli.rest import RestError, segment

# One call moves as many messages as stay under both.
BATCH_BLOBS: Final = 100
BATCH_OCTETS: Final = 8 * 1024 * 1024
ROWS_OCTETS: Final = 4 * 1024 * 1024
CONCURRENCY: Final = 4
_NDJSON: Final = {"Content-Type": "application/x-ndjson"}
_FRAMES: Final = {"Content-Type": "application/vnd.postroom.frames"}

Folder = Annotated[Path, typer.Argument(help="where the backup is")]


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    command(app, "backup")(backup)
    command(app, "restore")(restore)


async def backup(
    context: Context,
    folder: Folder,
    prune: Annotated[bool, typer.Option("--prune", help="remove messages that no account has any more")] = False,
) -> None:
    """Back up everything into a folder: who has mail, all mail, and what waits to be sent.

    Into the same folder again, only what is new is fetched. Each account is as it was at one moment. The folder holds
    password hashes and all mail: keep it as safe as the system itself.
    """
    target = BackupFolder(folder)
    target.begin()
    addresses = [account["address"] async for account in context.rest.items("/accounts")]
    wanted: set[str] = set()
    with context.out.progress("rows", len(addresses) + 2) as advance:
        for name in ("directory", "queue"):
            wanted |= await _save_rows(context, target, f"/export/{name}", target.rows_file(name))
            advance(what=name)
        kept = []
        for address in addresses:
            path = f"/export/accounts/{segment(address)}"
            try:
                wanted |= await _save_rows(context, target, path, target.account_file(address))
                kept.append(address)
            except RestError as error:
                if error.status != 404:
                    raise
            advance(what=address)
    target.forget_accounts(kept)
    missing = [blob_id for blob_id in sorted(wanted) if not target.blob_file(blob_id).exists()]
    with context.out.progress("messages", len(missing)) as advance:
        await _each(_fixed_batches(missing), lambda batch: _save_blobs(context, target, batch, advance))
    removed = target.prune(wanted) if prune else 0
    counts = {"accounts": len(kept), "messages": len(wanted), "fetched": len(missing), "removed": removed}
    target.finish(of=context.rest.url, at=datetime.now(UTC).isoformat(), **counts)
    context.out.done(f"{len(kept)} accounts and {len(wanted)} messages are in {folder}", counts)


async def _save_rows(context: Context, target: BackupFolder, path: str, file: Path) -> set[str]:
    """Returns the ids of the octets that the rows need."""
    rows = await context.rest.octets("GET", path)
    await asyncio.to_thread(target.write_rows, file, rows)
    return set(blob_ids(rows))


async def _save_blobs(context: Context, target: BackupFolder, batch: list[str], advance: Advance) -> None:
    """Octets that are gone meanwhile, because their undelete window has passed, stay out."""
    try:
        answer = await context.rest.octets("POST", "/export/blobs", json={"ids": batch}, repeatable=True)
    except RestError as error:
        if error.status != 404:
            raise
        if len(batch) == 1:
            advance()
            return
        for blob_id in batch:
            await _save_blobs(context, target, [blob_id], advance)
        return
    for blob_id, octets in zip(batch, unpack_stream(answer), strict=True):
        await asyncio.to_thread(target.write_blob, blob_id, octets)
    advance(len(batch))


async def restore(context: Context, folder: Folder) -> None:
    """Restore a backup into a system, which should be new.

    What is there already stays: when it is stopped, run it again. Mail that waited to be sent comes back as held:
    `postroom queue release` sends it.
    """
    source = BackupFolder(folder)
    manifest = source.manifest()
    addresses = source.accounts()
    await _load_rows(context, source.rows_file("directory").read_bytes().splitlines(keepends=True))
    files = [source.account_file(address) for address in addresses] + [source.rows_file("queue")]
    wanted = sorted({blob_id for file in files for blob_id in blob_ids(file.read_bytes())})
    there = [blob_id for blob_id in wanted if source.blob_file(blob_id).exists()]
    with context.out.progress("messages", len(there)) as advance:
        await _each(_sized_batches(source, there), lambda batch: _load_blobs(context, source, batch, advance))
    if len(there) < len(wanted):
        context.out.note(f"{len(wanted) - len(there)} messages had been removed for good when the backup was made")
    with context.out.progress("accounts", len(files)) as advance:
        for file in files:
            await _load_rows(context, list(_with_octets(file, set(there))))
            advance(what=file.stem)
    context.out.done(
        f"{len(addresses)} accounts and {len(there)} messages of {manifest['at']} are restored",
        {"accounts": len(addresses), "messages": len(there)},
    )


async def _load_blobs(context: Context, source: BackupFolder, batch: list[str], advance: Advance) -> None:
    bodies = await asyncio.to_thread(lambda: [source.blob_file(blob_id).read_bytes() for blob_id in batch])
    body = b"".join(pack_stream([json.dumps(batch).encode(), *bodies]))
    await context.rest.octets("POST", "/import/blobs", body=body, headers=_FRAMES, repeatable=True)
    advance(len(batch))


async def _load_rows(context: Context, lines: list[bytes]) -> None:
    """In pieces that the API takes; the order of the rows stays."""
    piece: list[bytes] = []
    octets = 0
    for line in [*lines, b""]:
        if piece and (octets + len(line) > ROWS_OCTETS or not line):
            await context.rest.octets("POST", "/import/rows", body=b"".join(piece), headers=_NDJSON, repeatable=True)
            piece, octets = [], 0
        piece.append(line)
        octets += len(line)


def _with_octets(file: Path, there: set[str]) -> Iterator[bytes]:
    """Lines of rows whose octets are in the backup; a tombstone whose octets are not can't be undeleted any more."""
    for line in file.read_bytes().splitlines(keepends=True):
        content: dict[str, Any] = json.loads(line)
        blob_id = content.get("row", {}).get("blob_id")
        if blob_id is None or blob_id in there:
            yield line
        elif content["table"] == "expunged":
            content["row"]["blob_id"] = None
            yield json.dumps(content).encode() + b"\n"


def _fixed_batches(ids: list[str]) -> Iterator[list[str]]:
    for at in range(0, len(ids), BATCH_BLOBS):
        yield ids[at : at + BATCH_BLOBS]


def _sized_batches(source: BackupFolder, ids: list[str]) -> Iterator[list[str]]:
    batch: list[str] = []
    octets = 0
    for blob_id in ids:
        size = source.blob_file(blob_id).stat().st_size
        if batch and (octets + size > BATCH_OCTETS or len(batch) == BATCH_BLOBS):
            yield batch
            batch, octets = [], 0
        batch.append(blob_id)
        octets += size
    if batch:
        yield batch


async def _each(batches: Iterable[list[str]], work: Any) -> None:
    """A few at a time. Raises what `work` raises first."""
    remaining = iter(batches)

    async def some() -> None:
        for batch in remaining:
            await work(batch)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(CONCURRENCY):
            tasks.create_task(some())
