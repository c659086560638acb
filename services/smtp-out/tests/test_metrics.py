"""Metrics of relaying: as many time series as are promised, and no more."""

from __future__ import annotations

import prometheus_client
import pytest

from mail_proto.smtp.client_actions import Manner
from mail_testkit.remotes import scripted
from smtp_out import metrics
from smtp_out.connection import Connection, Target
from smtp_out.metrics import MAX_CANDIDATES, MAX_DOMAINS, OFTEN, OTHER, Domains


def value(name: str, **labels: str) -> float:
    return prometheus_client.REGISTRY.get_sample_value(name, labels) or 0.0


def test_a_domain_gets_a_name_when_mail_goes_there_often() -> None:
    domains = Domains()
    assert [domains.label("often.test") for _ in range(OFTEN)] == [OTHER] * (OFTEN - 1) + ["often.test"]
    assert domains.label("rare.test") == OTHER
    assert domains.label("often.test") == "often.test"


def test_there_are_no_more_names_than_that() -> None:
    domains = Domains()
    names = {domains.label(f"d{n}.test") for _ in range(OFTEN) for n in range(MAX_DOMAINS * 3)}
    assert len(names - {OTHER}) == MAX_DOMAINS
    assert domains.label("late.test") == OTHER


def test_what_is_rare_is_forgotten() -> None:
    domains = Domains()
    for _ in range(OFTEN - 1):
        domains.label("steady.test")
    for n in range(MAX_CANDIDATES * 3):
        domains.label(f"spam{n}.test")
    assert len(domains._candidates) <= MAX_CANDIDATES + 1
    assert domains.label("steady.test") == "steady.test"


def test_both_counters_count() -> None:
    name = "postroom_relay_domain_deliveries_total"
    before = value("postroom_relay_deliveries_total", result="failed"), value(name, domain=OTHER, result="failed")
    metrics.count("once.test", "failed")
    after = value("postroom_relay_deliveries_total", result="failed"), value(name, domain=OTHER, result="failed")
    assert (after[0] - before[0], after[1] - before[1]) == (1, 1)


@pytest.mark.parametrize(
    ("replies", "command", "outcome"),
    [
        ((b"554 5.7.1 no\r\n",), "GREETING", "5xx"),
        ((b"220 mx.test\r\n", b"421 4.3.2 later\r\n"), "EHLO", "4xx"),
        ((b"220 mx.test\r\n",), "EHLO", "lost"),
    ],
)
async def test_commands_to_others_are_timed(replies: tuple[bytes, ...], command: str, outcome: str) -> None:
    name = "postroom_relay_command_seconds_count"
    before = value(name, command=command, outcome=outcome)
    async with scripted(*replies) as port:
        connection = await Connection.open(Target("127.0.0.1", "127.0.0.1", port, Manner("here.test")))
        await connection.close()
    assert value(name, command=command, outcome=outcome) == before + 1
