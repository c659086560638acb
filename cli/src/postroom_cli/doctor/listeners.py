"""The mail server as others see it: its addresses and their names, its ports, its certificates."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal

from cryptography import x509

from postroom_cli.doctor.finding import Finding, ok, problem, warning
from postroom_cli.doctor.names import Names, NamesUnavailable

CONNECT_TIMEOUT_S: Final = 10.0
EXPIRY_WARNING_DAYS: Final = 14


@dataclass(frozen=True, slots=True)
class Listener:
    """A port, what its greeting begins with, and how its TLS begins."""

    port: int
    service: str
    greeting: bytes
    tls: Literal["implicit", "starttls"]
    dialogue: tuple[bytes, ...] = ()


LISTENERS: Final = (
    Listener(25, "SMTP", b"220", "starttls", (b"EHLO doctor.invalid\r\n", b"STARTTLS\r\n")),
    Listener(587, "submission", b"220", "starttls", (b"EHLO doctor.invalid\r\n", b"STARTTLS\r\n")),
    Listener(465, "submission over TLS", b"220", "implicit"),
    Listener(143, "IMAP", b"* OK", "starttls", (b"a STARTTLS\r\n",)),
    Listener(993, "IMAP over TLS", b"* OK", "implicit"),
    Listener(110, "POP3", b"+OK", "starttls", (b"STLS\r\n",)),
    Listener(995, "POP3 over TLS", b"+OK", "implicit"),
)


async def check_host(names: Names, host: str) -> list[Finding]:
    """Addresses, and that each has the host's name (what many receivers ask for)."""
    try:
        addresses = await names.addresses(host)
        if not addresses:
            return [problem("host", host, "has no address", f"add an A or AAAA record for {host}")]
        findings = [ok("host", host, ", ".join(addresses))]
        for address in addresses:
            pointers = await names.names_of(address)
            subject = f"PTR of {address}"
            if host.lower() in pointers:
                findings.append(ok("host", subject, host))
            else:
                advice = f"ask the owner of the address (your provider) for the name {host}: many refuse mail without"
                findings.append(problem("host", subject, ", ".join(pointers) or "none", advice))
        return findings
    except NamesUnavailable as error:
        return [problem("host", host, str(error), "check the name servers of this machine, or give --dns")]


async def check_listener(host: str, address: str, listener: Listener, trusted: ssl.SSLContext) -> list[Finding]:
    """That it answers as the protocol says, and with a certificate that clients accept."""
    subject = f"{listener.service}, {host}:{listener.port}"
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            certificate = await _talk(address, listener)
    except TimeoutError:
        advice = "open the port in the firewall, or start the service"
        return [problem("port", subject, "doesn't answer in time", advice)]
    except OSError as error:
        advice = "start the service, and publish the port (POSTROOM_PUBLISH, docs/operations.md)"
        return [problem("port", subject, error.strerror or str(error), advice)]
    except _Unexpected as error:
        return [problem("port", subject, str(error), "another program seems to listen there: look what it is")]
    return [ok("port", subject, "answers, with TLS"), await _certificate(host, address, listener, certificate, trusted)]


class _Unexpected(Exception):
    """The peer doesn't speak the protocol, or not all of it."""


async def _talk(address: str, listener: Listener, context: ssl.SSLContext | None = None, name: str = "") -> bytes:
    """Go through the greeting and begin TLS; returns the certificate (DER)."""
    if context is None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    implicit = context if listener.tls == "implicit" else None
    reader, writer = await asyncio.open_connection(
        address, listener.port, ssl=implicit, server_hostname=(name or address) if implicit else None
    )
    try:
        greeting = await reader.readline()
        if not greeting.startswith(listener.greeting):
            raise _Unexpected(f"greets with {greeting[:60]!r}")
        for line in listener.dialogue:
            writer.write(line)
            answer = await _answer(reader)
            if not answer.startswith((b"2", b"+OK", b"a OK")):
                raise _Unexpected(f"answers {line.split()[-1].decode()} with {answer[:60]!r}")
        if listener.tls == "starttls":
            await writer.start_tls(context, server_hostname=name or address)
        found = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        return found or b""
    finally:
        writer.close()


async def _answer(reader: asyncio.StreamReader) -> bytes:
    """The last line of an answer; SMTP's may have several (RFC 5321 §4.2.1)."""
    while True:
        line = await reader.readline()
        if line[3:4] != b"-" or not line[:3].isdigit():
            return line


async def _certificate(host: str, address: str, listener: Listener, der: bytes, trusted: ssl.SSLContext) -> Finding:
    subject = f"certificate at port {listener.port}"
    expires = x509.load_der_x509_certificate(der).not_valid_after_utc
    days = (expires - datetime.now(UTC)).days
    renew = "renew it, then restart the services that serve it"
    if days < 0:
        return problem("certificate", subject, f"expired on {expires:%Y-%m-%d}", renew)
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            await _talk(address, listener, trusted, host)
    except ssl.SSLCertVerificationError as error:
        advice = f"get one for {host} from a CA that clients trust (POSTROOM_TLS_CERT, docs/operations.md)"
        return problem("certificate", subject, error.verify_message, advice)
    except (OSError, TimeoutError) as error:
        return warning("certificate", subject, str(error) or "no answer", "run it again")
    if days < EXPIRY_WARNING_DAYS:
        return warning("certificate", subject, f"expires on {expires:%Y-%m-%d}, in {days} days", renew)
    return ok("certificate", subject, f"for {host}, until {expires:%Y-%m-%d}")
