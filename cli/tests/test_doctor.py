"""What `postroom doctor` finds, against a real name server and real listeners."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mail_testkit.running import RunningPostroom
from postroom_cli.__main__ import app
from postroom_cli.demo.dns import dns_server
from postroom_cli.doctor.domain_records import check_domain
from postroom_cli.doctor.finding import Finding
from postroom_cli.doctor.listeners import LISTENERS, Listener, check_host, check_listener
from postroom_cli.doctor.names import Names
from postroom_cli.doctor.signing_keys import check_keys
from postroom_cli.launcher.certificate import kept_certificate
from postroom_cli.launcher.config import HOST, free_port

ZONE = """
good.test. 60 IN MX 10 mail.good.test.
good.test. 60 IN TXT "v=spf1 mx -all"
good.test. 60 IN TXT "some-verification=1"
_dmarc.good.test. 60 IN TXT "v=DMARC1; p=reject"
s1._domainkey.good.test. 60 IN TXT "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
old._domainkey.good.test. 60 IN TXT "v=DKIM1; p="
_smtp._tls.good.test. 60 IN TXT "v=TLSRPTv1; rua=mailto:tls@good.test"
mail.good.test. 60 IN A 127.0.0.1
1.0.0.127.in-addr.arpa. 60 IN PTR mail.good.test.
bad.test. 60 IN MX 5 alias.bad.test.
bad.test. 60 IN MX 10 gone.bad.test.
alias.bad.test. 60 IN CNAME mail.good.test.
bad.test. 60 IN TXT "v=spf1 +all"
_dmarc.bad.test. 60 IN TXT "v=DMARC1; p=maybe"
_mta-sts.bad.test. 60 IN TXT "v=STSv1; id=1"
null.test. 60 IN MX 0 .
twice.test. 60 IN TXT "v=spf1 -all"
twice.test. 60 IN TXT "v=spf1 ~all"
costly.test. 60 IN TXT "v=spf1 include:a include:b include:c include:d include:e include:f a mx ptr a:x mx:y -all"
open.test. 60 IN TXT "v=spf1 mx"
"""


@pytest.fixture(scope="module")
def names_server() -> Iterator[str]:
    with dns_server(ZONE) as (address, _):
        yield address


@pytest.fixture
def names(names_server: str) -> Names:
    return Names(names_server)


def by_subject(findings: list[Finding]) -> dict[str, Finding]:
    return {finding.subject: finding for finding in findings}


async def test_a_domain_in_order(names: Names) -> None:
    found = by_subject(await check_domain(names, "good.test", "mail.good.test", ["s1"]))
    assert found["MX of good.test"].found == "mail.good.test (127.0.0.1)"
    assert found["SPF of good.test"].found == "v=spf1 mx -all"
    assert found["DKIM key s1 of good.test"].found == "ed25519 key"
    assert {finding.state for subject, finding in found.items() if "MTA-STS" not in subject} == {"ok"}
    assert found["MTA-STS of good.test"].state == "warning"


async def test_each_problem_says_what_to_do(names: Names) -> None:
    findings = await check_domain(names, "bad.test", "mail.good.test", ["s1"])
    assert [(f.state, f.found) for f in findings if f.subject == "MX of bad.test"] == [
        ("warning", "alias.bad.test is a CNAME"),
        ("problem", "gone.bad.test has no address"),
        ("problem", "alias.bad.test, gone.bad.test: not mail.good.test"),
    ]
    found = by_subject(findings)
    assert found["SPF of bad.test"].advice == "end it with -all or ~all"
    assert found["DMARC of bad.test"].advice == "p= must be none, quarantine or reject"
    assert found["DKIM key s1 of bad.test"].advice == "publish the key's record at s1._domainkey.bad.test"
    assert found["MTA-STS of bad.test"].state == "problem"
    assert all(finding.advice for finding in findings if finding.state != "ok")


@pytest.mark.parametrize(
    ("domain", "subject", "state", "part"),
    [
        ("null.test", "MX", "problem", "null MX"),
        ("none.test", "MX", "problem", "none"),
        ("none.test", "SPF", "problem", "none"),
        ("none.test", "DMARC", "problem", "none"),
        ("twice.test", "SPF", "problem", "2 records"),
        ("costly.test", "SPF", "problem", "11 look-ups"),
        ("open.test", "SPF", "warning", "v=spf1 mx"),
    ],
)
async def test_records(names: Names, domain: str, subject: str, state: str, part: str) -> None:
    found = by_subject(await check_domain(names, domain, None, []))[f"{subject} of {domain}"]
    assert found.state == state
    assert part in found.found


async def test_a_revoked_key(names: Names) -> None:
    found = by_subject(await check_domain(names, "good.test", None, ["old"]))["DKIM key old of good.test"]
    assert (found.state, found.found) == ("problem", "revoked: p= is empty")


async def test_the_address_has_the_name_of_the_host(names: Names) -> None:
    assert [finding.state for finding in await check_host(names, "mail.good.test")] == ["ok", "ok"]
    [problem] = await check_host(names, "gone.bad.test")
    assert problem.advice == "add an A or AAAA record for gone.bad.test"


async def test_no_name_server_is_no_verdict_about_the_domain() -> None:
    silent = Names(f"{HOST}:{free_port()}")
    [finding] = await check_domain(silent, "good.test", None, [])
    assert finding.advice == "check the name servers of this machine, or give --dns"


@asynccontextmanager
async def listening(greeting: bytes, tls: ssl.SSLContext | None) -> AsyncIterator[int]:
    """A server that greets, and says that it can begin TLS when asked; real TLS from the first octet with `tls`."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(greeting)
        while await reader.readline():
            writer.write(b"502 no\r\n")
        writer.close()

    async with await asyncio.start_server(serve, HOST, 0, ssl=tls) as server:
        yield server.sockets[0].getsockname()[1]


def over_tls(port: int) -> Listener:
    return replace(next(one for one in LISTENERS if one.port == 993), port=port)


async def test_certificates_as_clients_see_them(tmp_path: Path) -> None:
    certificate, key = kept_certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    trusting = ssl.create_default_context(cafile=str(certificate))
    async with listening(b"* OK ready\r\n", context) as port:
        answers, valid = await check_listener("localhost", HOST, over_tls(port), trusting)
        assert (answers.state, valid.state) == ("ok", "ok")
        _, other = await check_listener("mail.other.test", HOST, over_tls(port), trusting)
        assert (other.state, "mismatch" in other.found) == ("problem", True)
        _, unknown = await check_listener("localhost", HOST, over_tls(port), ssl.create_default_context())
        assert (unknown.state, "self-signed" in unknown.found) == ("problem", True)


async def test_listeners_that_are_something_else(tmp_path: Path) -> None:
    trusting = ssl.create_default_context()
    smtp = next(one for one in LISTENERS if one.port == 25)
    async with listening(b"SSH-2.0-OpenSSH\r\n", None) as port:
        [finding] = await check_listener("x.test", HOST, replace(smtp, port=port), trusting)
        assert finding.found == "greets with b'SSH-2.0-OpenSSH\\r\\n'"
    async with listening(b"220 hello\r\n", None) as port:
        [finding] = await check_listener("x.test", HOST, replace(smtp, port=port), trusting)
        assert finding.found.startswith("answers doctor.invalid with")
    [finding] = await check_listener("x.test", HOST, replace(smtp, port=free_port()), trusting)
    assert finding.advice.startswith("start the service")


def test_the_command_reports_json_and_an_exit_code(
    names_server: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    url = f"http://{HOST}:{free_port()}"
    result = CliRunner().invoke(app, ["doctor", "bad.test", "--dns", names_server, "--url", url, "--json"])
    assert result.exit_code == 1
    findings = json.loads(result.stdout)
    assert findings[0]["advice"] == "start it, or give --url and --token"
    assert {"area", "subject", "state", "found", "advice"} == set(findings[0])
    assert "found a problem" in result.stderr


def test_the_parts_of_a_running_system(postroom: RunningPostroom, names_server: str) -> None:
    system = ["--url", postroom.api_url, "--token", postroom.admin_token]
    result = CliRunner().invoke(app, ["doctor", "good.test", "--dns", names_server, *system])
    assert result.exit_code == 0, result.output
    assert "✓ postgres: answers in" in result.stdout
    assert "! MTA-STS of good.test: none" in result.stdout
    assert "no problem found" in result.stderr


async def test_signing_keys_against_dns(names: Names) -> None:
    def key(selector: str, public: str, state: str) -> dict[str, str]:
        record = f"v=DKIM1; k=ed25519; p={public}"
        name = f"{selector}._domainkey.good.test"
        shown = {"selector": selector, "state": state, "record_name": name, "record": record}
        return {"algorithm": "ed25519-sha256", **shown}

    published = "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
    keys = [key("s1", published, "active"), key("old", "AAAA", "active"), key("next", "AAAA", "new")]
    keys.append(key("gone", "AAAA", "retired"))
    found = await check_keys(names, "good.test", keys)
    assert [(finding.state, finding.found) for finding in found] == [
        ("ok", "ed25519-sha256, its record is there"),
        ("problem", "another key is published: receivers see signatures that fail"),
        ("warning", "no record"),
    ]
    assert found[2].advice == 'publish: next._domainkey.good.test. TXT "v=DKIM1; k=ed25519; p=AAAA"'
    [unsigned, ready] = await check_keys(names, "good.test", [key("s1", published, "new")])
    assert (unsigned.state, unsigned.found, ready.state) == ("warning", "mail leaves without DKIM", "ok")
