"""A DNS server on loopback, for the demo and for tests (RFC 1035, RFC 5321 §5.1)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from dnslib import QTYPE, RR
from dnslib.dns import DNSRecord
from dnslib.server import BaseResolver, DNSLogger, DNSServer

from postroom_cli.launcher.config import HOST, free_port


class _Zone(BaseResolver):  # type: ignore[misc]
    """Answers from records in zone-file form; remembers what it was asked."""

    def __init__(self, text: str) -> None:
        self._records = RR.fromZone(text)
        self.asked: list[str] = []

    def resolve(self, request: DNSRecord, handler: object) -> DNSRecord:
        reply = request.reply()
        name, kind = request.q.qname, QTYPE[request.q.qtype]
        known = [record for record in self._records if record.rname == name]
        for record in known:
            if QTYPE[record.rtype] == kind:
                reply.add_answer(record)
                self.asked.append(f"{name} {kind} → {record.rdata}")
        if not known:
            reply.header.rcode = 3  # NXDOMAIN
        return reply


def mail_domains(domains: Sequence[str]) -> str:
    """A zone in which the mail of each domain is here."""
    return "".join(f"{d}. 60 IN MX 10 mail.{d}.\nmail.{d}. 60 IN A {HOST}\n" for d in domains)


@contextmanager
def dns_server(zone_text: str) -> Iterator[tuple[str, list[str]]]:
    """Serve while the block runs; yields `host:port` and the list of answers given, which grows."""
    zone, port = _Zone(zone_text), free_port()
    logger = DNSLogger(logf=lambda line: None)
    servers = [DNSServer(zone, address=HOST, port=port, tcp=tcp, logger=logger) for tcp in (False, True)]
    for server in servers:
        server.start_thread()
    try:
        yield f"{HOST}:{port}", zone.asked
    finally:
        for server in servers:
            server.stop()
            server.server.server_close()
