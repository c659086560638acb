"""The records of a domain: MX, SPF, DKIM, DMARC, MTA-STS, TLS-RPT."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Final

import aiohttp

from postroom_cli.doctor.finding import Finding, ok, problem, warning
from postroom_cli.doctor.names import Names, NamesUnavailable

AREA: Final = "DNS"
# Mechanisms that cost a look-up, and how many a receiver makes (RFC 7208 §4.6.4).
_SPF_LOOKUP: Final = re.compile(r"^[+?~-]?(include:|a$|a:|a/|mx|ptr|exists:)|^redirect=")
SPF_LOOKUPS: Final = 10
POLICY_TIMEOUT_S: Final = 10.0
POLICY_OCTETS: Final = 64 * 1024


async def check_domain(names: Names, domain: str, host: str | None, selectors: Sequence[str]) -> list[Finding]:
    """All findings of one domain; `host` is the name of this mail server, when it is known."""
    findings: list[Finding] = []
    try:
        exchanges = await names.exchanges(domain)
        findings += await _mail_exchanges(names, domain, exchanges, host)
        findings.append(
            _spf(domain, await _texts(names, domain, "v=spf1"), host or next(iter(exchanges), f"mail.{domain}"))
        )
        for selector in selectors:
            findings.append(await _dkim(names, domain, selector))
        findings.append(_dmarc(domain, await _texts(names, f"_dmarc.{domain}", "v=DMARC1")))
        findings.append(await _mta_sts(domain, await _texts(names, f"_mta-sts.{domain}", "v=STSv1"), exchanges))
        findings.append(_tls_reports(domain, await _texts(names, f"_smtp._tls.{domain}", "v=TLSRPTv1")))
    except NamesUnavailable as error:
        findings.append(problem(AREA, domain, str(error), "check the name servers of this machine, or give --dns"))
    return findings


async def _texts(names: Names, name: str, starts: str) -> list[str]:
    return [text for text in await names.look_up(name, "TXT") if text.lower().startswith(starts.lower())]


async def _mail_exchanges(names: Names, domain: str, exchanges: list[str], host: str | None) -> list[Finding]:
    subject = f"MX of {domain}"
    if not exchanges:
        advice = f"add: {domain}. MX 10 {host or 'mail.' + domain}."
        return [problem(AREA, subject, "none", advice)]
    if exchanges == [""]:
        return [problem(AREA, subject, "null MX: the domain takes no mail (RFC 7505)", "remove it, add a real one")]
    findings = [await _mail_exchange(names, subject, exchange) for exchange in exchanges]
    if host is not None and host.lower() not in exchanges:
        advice = f"add: {domain}. MX 10 {host}."
        findings.append(problem(AREA, subject, f"{', '.join(exchanges)}: not {host}", advice))
    return findings


async def _mail_exchange(names: Names, subject: str, exchange: str) -> Finding:
    if await names.look_up(exchange, "CNAME"):
        return warning(AREA, subject, f"{exchange} is a CNAME", "point MX at a name with addresses (RFC 2181 §10.3)")
    addresses = await names.addresses(exchange)
    if not addresses:
        return problem(AREA, subject, f"{exchange} has no address", f"add an A or AAAA record for {exchange}")
    return ok(AREA, subject, f"{exchange} ({', '.join(addresses)})")


def _spf(domain: str, records: list[str], host: str) -> Finding:
    """RFC 7208 §3.2, §4.6.4."""
    subject = f"SPF of {domain}"
    if not records:
        advice = f'add: {domain}. TXT "v=spf1 mx a:{host} -all"'
        return problem(AREA, subject, "none: others can't tell your mail from forgeries", advice)
    if len(records) > 1:
        return problem(
            AREA, subject, f"{len(records)} records", "keep one: with two, receivers use none (RFC 7208 §4.5)"
        )
    terms = records[0].lower().split()[1:]
    lookups = sum(bool(_SPF_LOOKUP.match(term)) for term in terms)
    if lookups > SPF_LOOKUPS:
        return problem(AREA, subject, f"{lookups} look-ups", "receivers stop at 10: list addresses instead (§4.6.4)")
    if terms and terms[-1] in {"+all", "all"}:
        return problem(AREA, subject, "allows everybody", "end it with -all or ~all")
    if not terms or not (terms[-1] in {"-all", "~all"} or terms[-1].startswith("redirect=")):
        return warning(AREA, subject, records[0], "end it with -all or ~all, or it says nothing about forgeries")
    return ok(AREA, subject, records[0])


async def _dkim(names: Names, domain: str, selector: str) -> Finding:
    """RFC 6376 §3.6.1."""
    name = f"{selector}._domainkey.{domain}"
    subject = f"DKIM key {selector} of {domain}"
    records = await names.look_up(name, "TXT")
    tags = dict(pair.strip().partition("=")[::2] for record in records for pair in record.split(";") if "=" in pair)
    if not records:
        return problem(AREA, subject, "none", f"publish the key's record at {name}")
    if not tags.get("p"):
        return problem(AREA, subject, "revoked: p= is empty", "publish the key, or sign with another selector")
    return ok(AREA, subject, f"{tags.get('k', 'rsa')} key")


def _dmarc(domain: str, records: list[str]) -> Finding:
    """RFC 7489 §6.3."""
    subject = f"DMARC of {domain}"
    if len(records) != 1:
        found = "none" if not records else f"{len(records)} records: receivers use none"
        return problem(AREA, subject, found, f'add: _dmarc.{domain}. TXT "v=DMARC1; p=none; rua=mailto:dmarc@{domain}"')
    tags = dict(pair.strip().partition("=")[::2] for pair in records[0].split(";") if "=" in pair)
    if tags.get("p") not in {"none", "quarantine", "reject"}:
        return problem(AREA, subject, records[0], "p= must be none, quarantine or reject")
    if tags["p"] == "none":
        return warning(AREA, subject, records[0], "once the reports look right, use p=quarantine or p=reject")
    return ok(AREA, subject, records[0])


async def _mta_sts(domain: str, records: list[str], exchanges: list[str]) -> Finding:
    """RFC 8461 §3."""
    subject = f"MTA-STS of {domain}"
    if not records:
        advice = f'optional: publish a policy, then _mta-sts.{domain}. TXT "v=STSv1; id=1"'
        return warning(AREA, subject, "none: others may send to you without TLS", advice)
    url = f"https://mta-sts.{domain}/.well-known/mta-sts.txt"
    try:
        timeout = aiohttp.ClientTimeout(total=POLICY_TIMEOUT_S)
        async with aiohttp.ClientSession(timeout=timeout) as http, http.get(url, allow_redirects=False) as response:
            policy = (await response.content.read(POLICY_OCTETS)).decode("utf-8", "replace")
            if response.status != 200:
                return problem(AREA, subject, f"{url} answers {response.status}", "serve the policy there, with 200")
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        return problem(AREA, subject, f"{url}: {error}", "serve the policy there, with a valid certificate")
    fields = [line.partition(":")[::2] for line in policy.splitlines() if ":" in line]
    patterns = [value.strip().lower() for name, value in fields if name.strip() == "mx"]
    missed = [name for name in exchanges if not any(fnmatchcase(name, pattern) for pattern in patterns)]
    if missed:
        return problem(
            AREA, subject, f"the policy doesn't name {', '.join(missed)}", f"add mx: {missed[0]} and a new id"
        )
    return ok(AREA, subject, " ".join(f"{name}:{value}" for name, value in fields if name in {"mode", "max_age"}))


def _tls_reports(domain: str, records: list[str]) -> Finding:
    """RFC 8460 §3."""
    subject = f"TLS reports of {domain}"
    if not records:
        advice = f'optional: _smtp._tls.{domain}. TXT "v=TLSRPTv1; rua=mailto:tls@{domain}"'
        return warning(AREA, subject, "none", advice)
    return ok(AREA, subject, records[0])
