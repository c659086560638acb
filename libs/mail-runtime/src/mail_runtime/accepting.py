"""Accepting connections on a port, from clients and from balancers that name the client (PROXY protocol).

Who connects from one of the configured networks is a balancer and must begin with a PROXY header; everyone else is a
client, whose octets are never taken for one. A server must not guess which of the two it has before it
(PROXY protocol §2). The header comes before TLS, so it is read from the bare socket, to the octet.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

import structlog

from mail_proto.proxy_protocol import NotProxied, octets_needed, parse
from mail_runtime.settings import SettingsError
from mail_runtime.workers import is_worker

log = structlog.get_logger()

BACKLOG: Final = 1024
TLS_HANDSHAKE_TIMEOUT_S: Final = 30.0
# The header leaves the balancer with its first packet; a lost one comes again after some seconds (PROXY protocol §3).
HEADER_TIMEOUT_S: Final = 5.0
# Connections whose header hasn't come; more wait in the kernel's backlog.
MAX_AWAITING_HEADER: Final = 1024
ACCEPT_RETRY_S: Final = 1.0

Networks = tuple[IPv4Network | IPv6Network, ...]
# Makes the protocol of one connection; it is told the client's address where a balancer said it, or else None.
MakeProtocol = Callable[[str | None], asyncio.BaseProtocol]


def balancer_networks(text: str, name: str = "POSTROOM_PROXY_PROTOCOL_FROM") -> Networks:
    """Addresses and networks, separated by commas, of the setting `name`. Raises SettingsError."""
    try:
        return tuple(ip_network(word.strip()) for word in text.split(",") if word.strip())
    except ValueError as error:
        raise SettingsError(f"{name}: {error}: write networks, with commas") from None


@asynccontextmanager
async def accepting(
    host: str, port: int, tls: ssl.SSLContext | None, balancers: Networks, make: MakeProtocol
) -> AsyncIterator[int]:
    """Accept while the block runs; yields the port. With `tls`, its handshake comes before the protocol's first octet.

    Connections that are open stay so when the block ends. Raises OSError: the port can't be had.
    """
    loop = asyncio.get_running_loop()
    if not balancers:
        server = await loop.create_server(
            lambda: make(None),
            host,
            port,
            ssl=tls,
            backlog=BACKLOG,
            reuse_port=is_worker() or None,
            ssl_handshake_timeout=TLS_HANDSHAKE_TIMEOUT_S if tls else None,
        )
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            server.close()
        return
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, port), family=family, backlog=BACKLOG, reuse_port=is_worker()) as listener:
        listener.setblocking(False)
        door = _Door(tls, balancers, make)
        accepts = asyncio.create_task(door.accept(listener), name="accept")
        try:
            yield listener.getsockname()[1]
        finally:
            accepts.cancel()
            await door.close()
            await asyncio.gather(accepts, return_exceptions=True)


class _Door:
    """One listening socket, some of whose connections come from balancers."""

    def __init__(self, tls: ssl.SSLContext | None, balancers: Networks, make: MakeProtocol) -> None:
        self._tls, self._balancers, self._make = tls, balancers, make
        self._room = asyncio.Semaphore(MAX_AWAITING_HEADER)
        self._introductions: set[asyncio.Task[None]] = set()

    async def accept(self, listener: socket.socket) -> None:
        """Until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await self._room.acquire()
            try:
                connection, address = await loop.sock_accept(listener)
            except OSError as error:  # no file descriptors, or the client left already
                self._room.release()
                log.warning("accept_failed", error=repr(error))
                await asyncio.sleep(ACCEPT_RETRY_S)
                continue
            except BaseException:
                self._room.release()
                raise
            task = asyncio.create_task(self._introduce(connection, address[0]), name="introduction")
            self._introductions.add(task)
            task.add_done_callback(self._introduced)

    def _introduced(self, task: asyncio.Task[None]) -> None:
        self._introductions.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("introduction_bug", exc_info=error)

    async def close(self) -> None:
        """Those that aren't connected yet never will be."""
        for task in list(self._introductions):
            task.cancel()
        await asyncio.gather(*self._introductions, return_exceptions=True)

    async def _introduce(self, connection: socket.socket, peer: str) -> None:
        """Learn who the client is, then let the protocol have the connection."""
        try:
            try:
                client = await self._client(connection, peer)
            finally:
                self._room.release()
        except (NotProxied, OSError, EOFError) as error:
            log.info("balancer_refused", peer=peer, error=str(error) or type(error).__name__)
            connection.close()
            return
        except BaseException:
            connection.close()
            raise
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: self._make(client),
                connection,
                ssl=self._tls,
                ssl_handshake_timeout=TLS_HANDSHAKE_TIMEOUT_S if self._tls else None,
            )
        except OSError as error:
            log.debug("handshake_failed", peer=client or peer, error=repr(error))

    async def _client(self, connection: socket.socket, peer: str) -> str | None:
        """Raises NotProxied; EOFError, OSError: the header didn't come."""
        if not is_in(peer, self._balancers):
            return None
        loop = asyncio.get_running_loop()
        header = b""
        async with asyncio.timeout(HEADER_TIMEOUT_S):
            while (needed := octets_needed(header)) > 0:
                piece = await loop.sock_recv(connection, needed)
                if not piece:
                    raise EOFError
                header += piece
        found = parse(header).client
        return found.address if found is not None else None


def is_in(address: str, networks: Networks) -> bool:
    """Is the address in one of them? IPv4-mapped IPv6 addresses count as what they map."""
    ip = ip_address(address.partition("%")[0])
    if isinstance(ip, IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    return any(ip in network for network in networks)
