"""One trace from a message's arrival to its delivery: in logs, header fields, events, and at a collector (OTLP)."""

from __future__ import annotations

import json
import smtplib
import threading
import time
from collections.abc import Iterator
from email import message_from_bytes
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session
from imapclient import IMAPClient
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from mail_testkit.clients import HOST, TIMEOUT_S, Rest, User, send_octets
from mail_testkit.running import RunningPostroom, run_postroom, temporary_directory
from postroom_cli.demo.dns import dns_server, mail_domains
from postroom_cli.launcher.config import free_port

REMOTE = "remote.test"
MESSAGE = b"From: a\r\nSubject: traced\r\n\r\ntext\r\n"


class Collector:
    """Takes spans by OTLP over HTTP, as they come."""

    def __init__(self) -> None:
        self.spans: list[tuple[str, Span]] = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                    values = {each.key: each.value.string_value for each in resource.resource.attributes}
                    for scope in resource.scope_spans:
                        collector.spans += [(values["service.name"], span) for span in scope.spans]
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *arguments: Any) -> None: ...

        self._server = ThreadingHTTPServer((HOST, 0), Handler)
        self.url = f"http://{HOST}:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, name="collector")

    def __enter__(self) -> Collector:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def of(self, trace_id: str) -> list[tuple[str, Span]]:
        return [(service, span) for service, span in list(self.spans) if span.trace_id.hex() == trace_id]


class Remote:
    """A server that wants to be asked twice (greylisting)."""

    def __init__(self) -> None:
        self.known: set[str] = set()
        self.got: dict[str, bytes] = {}

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address.startswith("no-one"):
            return "550 5.1.1 no such user"
        if address not in self.known:
            self.known.add(address)
            return "451 4.2.1 come back"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 fine"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        assert isinstance(envelope.content, bytes)
        self.got.update(dict.fromkeys(envelope.rcpt_tos, envelope.content))
        return "250 2.0.0 kept"


@pytest.fixture(scope="module")
def remote() -> Iterator[tuple[Remote, int]]:
    server, port = Remote(), free_port()
    controller = Controller(server, hostname=HOST, port=port)
    controller.start()
    try:
        yield server, port
    finally:
        controller.stop()


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with Collector() as running:
        yield running


@pytest.fixture(scope="module")
def home(remote: tuple[Remote, int], collector: Collector) -> Iterator[RunningPostroom]:
    with (
        temporary_directory() as base,
        dns_server(mail_domains([REMOTE])) as (dns, _),
        run_postroom(
            base / "home",
            POSTROOM_DNS_SERVER=dns,
            POSTROOM_RELAY_PORT=str(remote[1]),
            POSTROOM_RETRY_FIRST_S="1",
            OTEL_EXPORTER_OTLP_ENDPOINT=collector.url,
            OTEL_BSP_SCHEDULE_DELAY="100",
        ) as system,
    ):
        yield system


def submit(postroom: RunningPostroom, user: User, recipient: str) -> None:
    with smtplib.SMTP(HOST, postroom.ports["submission"], timeout=TIMEOUT_S) as client:
        client.login(user.address, user.password)
        assert send_octets(client, user.address, [recipient], MESSAGE)[0] == 250


def traced(postroom: RunningPostroom, service: str, trace_id: str, number: int = 1) -> list[dict[str, Any]]:
    """Whole lines of a service's log that belong to the trace, as soon as there are `number`."""
    deadline = time.monotonic() + TIMEOUT_S
    while True:
        lines = [line for line in postroom.log(service).splitlines(keepends=True) if trace_id in line]
        found: list[dict[str, Any]] = [json.loads(line) for line in lines if line.endswith("\n")]
        if len(found) >= number:
            return found
        assert time.monotonic() < deadline, found
        time.sleep(0.1)


def delivery_in(postroom: RunningPostroom, recipient: str, state: str) -> dict[str, Any]:
    """The delivery to that recipient, once it is in that state."""
    deadline = time.monotonic() + TIMEOUT_S
    while True:
        found: list[dict[str, Any]] = [
            item for item in Rest(postroom).items("/v1/queue") if item["recipient"] == recipient
        ]
        if found and found[0]["state"] == state:
            return found[0]
        assert time.monotonic() < deadline, found
        time.sleep(0.1)


def test_from_submission_to_the_second_attempt(
    home: RunningPostroom, remote: tuple[Remote, int], collector: Collector
) -> None:
    user, recipient = Rest(home).make_user(), f"bill@{REMOTE}"
    submit(home, user, recipient)
    delivery = delivery_in(home, recipient, "delivered")
    trace_id = delivery["trace_id"]
    assert delivery["attempts"] == 2
    assert message_from_bytes(remote[0].got[recipient])["X-Postroom-Trace"] == trace_id
    assert [line["event"] for line in traced(home, "smtp-in", trace_id)] == ["transmission"]
    assert [line["event"] for line in traced(home, "store-api", trace_id)] == ["stored"]
    # The relay logs what it has reported already: the store knows before the log does.
    ended = [line for line in traced(home, "smtp-out", trace_id, 2) if line["event"] == "delivery_ended"]
    assert [(line["result"], line["trace_id"]) for line in ended] == [("deferred", trace_id), ("delivered", trace_id)]
    expected = {
        ("smtp-in", "smtp_in.transaction"),
        ("smtp-in", "smtp_in.Deliver"),
        ("store-api", "store_api.post_transmission"),
        ("smtp-out", "smtp_out.relay"),
        ("store-api", "store_api.post_outcomes"),
    }
    deadline = time.monotonic() + TIMEOUT_S
    while len([s for s, span in collector.of(trace_id) if span.name == "smtp_out.relay"]) < 2 or not expected <= {
        (service, span.name) for service, span in collector.of(trace_id)
    }:
        assert time.monotonic() < deadline, [(service, span.name) for service, span in collector.of(trace_id)]
        time.sleep(0.1)
    spans = {span.span_id: span for _, span in collector.of(trace_id)}
    roots = [span.name for span in spans.values() if span.parent_span_id not in spans]
    assert roots == ["smtp_in.transaction"], "one tree"


def test_a_notification_belongs_to_the_trace_of_its_message(home: RunningPostroom) -> None:
    rest = Rest(home)
    user, recipient = rest.make_user(), f"no-one@{REMOTE}"
    submit(home, user, recipient)
    trace_id = delivery_in(home, recipient, "failed")["trace_id"]
    (listed,) = rest.messages(user)
    assert message_from_bytes(rest.raw(user, listed["id"]))["X-Postroom-Trace"] == trace_id


def test_a_caller_of_the_api_brings_its_trace(home: RunningPostroom, remote: tuple[Remote, int]) -> None:
    trace_id = "0af7651916cd43dd8448eb211c80319c"
    user, recipient = Rest(home).make_user(), f"carl@{REMOTE}"
    remote[0].known.add(recipient)
    status, body = Rest(home).call(
        "POST",
        f"/v1/accounts/{user.address}/send",
        {"to": [{"address": recipient}], "subject": "traced", "text": "text"},
        {"traceparent": f"00-{trace_id}-b7ad6b7169203331-01"},
    )
    assert status < 300, body
    assert delivery_in(home, recipient, "delivered")["trace_id"] == trace_id
    assert message_from_bytes(remote[0].got[recipient])["X-Postroom-Trace"] == trace_id
    assert traced(home, "smtp-out", trace_id)


def test_support_finds_a_message_by_its_trace(home: RunningPostroom) -> None:
    rest = Rest(home)
    user = rest.make_user()
    with smtplib.SMTP(HOST, home.ports["smtp"], timeout=TIMEOUT_S) as client:
        for _ in range(2):
            assert send_octets(client, "sender@elsewhere.test", [user.address], MESSAGE)[0] == 250
    first, second = rest.messages(user)
    ids = [message_from_bytes(rest.raw(user, each["id"]))["X-Postroom-Trace"] for each in (first, second)]
    assert ids[0] != ids[1], "each transaction has its own"
    for trace_id in ids:
        (line,) = traced(home, "smtp-in", trace_id)
        assert (line["event"], line["trace_id"]) == ("transmission", trace_id)
    with IMAPClient(HOST, home.ports["imap"], ssl=False, timeout=TIMEOUT_S) as client:
        client.login(user.address, user.password)
        client.select_folder("INBOX", readonly=True)
        assert client.search(["HEADER", "X-Postroom-Trace", ids[1]]) == [second["uid"]]
