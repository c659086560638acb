"""The DKIM keys that a domain signs with: are their records in DNS (RFC 6376 §3.6)?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from postroom_cli.doctor.domain_records import AREA
from postroom_cli.doctor.finding import Finding, ok, problem, warning
from postroom_cli.doctor.names import Names, NamesUnavailable


async def check_keys(names: Names, domain: str, keys: Sequence[dict[str, Any]]) -> list[Finding]:
    """A finding for each key that is used or about to be; `keys` as the API shows them."""
    used = [key for key in keys if key["state"] != "retired"]
    if not any(key["state"] == "active" for key in used):
        advice = f"postroom dkim create {domain}, publish its record, then postroom dkim activate"
        return [warning(AREA, f"signing for {domain}", "mail leaves without DKIM", advice), *await _all(names, used)]
    return await _all(names, used)


async def _all(names: Names, keys: Sequence[dict[str, Any]]) -> list[Finding]:
    try:
        return [_key(key, await names.look_up(key["record_name"], "TXT")) for key in keys]
    except NamesUnavailable as error:
        return [problem(AREA, "DKIM keys", str(error), "check the name servers of this machine, or give --dns")]


def _key(key: dict[str, Any], records: Sequence[str]) -> Finding:
    subject = f"DKIM key {key['selector']}, which is {key['state']}"
    published = [_public_part(record) for record in records]
    advice = f'publish: {key["record_name"]}. TXT "{key["record"]}"'
    if _public_part(key["record"]) in published:
        if key["state"] == "new":
            return ok(AREA, subject, f"its record is there: postroom dkim activate … {key['selector']}")
        return ok(AREA, subject, f"{key['algorithm']}, its record is there")
    found = "another key is published" if records else "no record"
    if key["state"] == "new":
        return warning(AREA, subject, found, advice)
    return problem(AREA, subject, f"{found}: receivers see signatures that fail", advice)


def _public_part(record: str) -> str:
    """The value of p=, without white space (RFC 6376 §3.6.1)."""
    for tag in record.split(";"):
        name, _, value = tag.partition("=")
        if name.strip() == "p":
            return "".join(value.split())
    return ""
