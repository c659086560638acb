"""Alert rules and dashboards ask for metrics that exist, and each alert says what to do."""

from __future__ import annotations

import importlib
import json
import pkgutil
import re
from pathlib import Path
from typing import Any

import prometheus_client
import pytest
import yaml

import imap
import mail_runtime
import pop3
import smtp_in
import smtp_out
import store_api

ROOT = Path(__file__).resolve().parents[2]
RULES = yaml.safe_load((ROOT / "deploy/observability/alerts.yaml").read_text())["groups"][0]["rules"]
DASHBOARDS = sorted((ROOT / "deploy/observability/dashboards").glob("*.json"))
# Of Prometheus itself and of its client's process collector.
OTHERS = {"up", "process_cpu_seconds_total", "process_resident_memory_bytes"}
METRIC = re.compile(r"\b(postroom_[a-z0-9_]+|process_[a-z_]+|up\b)")


def known_metrics() -> dict[str, set[str]]:
    """Name as Prometheus sees it → its labels, of all that our modules define."""
    for package in (imap, mail_runtime, pop3, smtp_in, smtp_out, store_api):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not module.name.endswith("__main__") and ".migrations" not in module.name:
                importlib.import_module(module.name)
    names: dict[str, set[str]] = {}
    for collector in set(prometheus_client.REGISTRY._names_to_collectors.values()):
        if not isinstance(collector, (prometheus_client.Counter, prometheus_client.Gauge, prometheus_client.Histogram)):
            continue
        labels, name = set(collector._labelnames), collector._name
        suffixes = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_count", "_sum")}
        for suffix in suffixes[collector._type]:
            names[name + suffix] = labels | ({"le"} if suffix == "_bucket" else set())
    return names


@pytest.fixture(scope="module")
def metrics() -> dict[str, set[str]]:
    return known_metrics()


def expressions() -> list[tuple[str, str]]:
    found = [(rule["alert"], rule["expr"]) for rule in RULES]
    for path in DASHBOARDS:
        for panel in json.loads(path.read_text())["panels"]:
            if panel["datasource"]["type"] == "prometheus":
                found += [(f"{path.name}: {panel['title']}", target["expr"]) for target in panel["targets"]]
    return found


@pytest.mark.parametrize(("what", "expression"), expressions())
def test_expressions_ask_for_what_there_is(what: str, expression: str, metrics: dict[str, set[str]]) -> None:
    asked = set(METRIC.findall(expression))
    assert asked, what
    assert asked - OTHERS <= metrics.keys()
    for opening, closing in ("()", "[]", "{}"):
        assert expression.count(opening) == expression.count(closing)
    # Labels in selectors and in `by` belong to one of the metrics; instance and job come from Prometheus.
    labels = set(re.findall(r"[{,]\s*([a-z_]+)\s*(?:=~|!~|!=|=)", expression))
    for group in re.findall(r"\bby \(([^)]*)\)", expression):
        labels |= {label.strip() for label in group.split(",")}
    assert labels <= {"instance", "job"}.union(*(metrics.get(name, set()) for name in asked)), what


def test_values_of_labels_are_said_by_the_services() -> None:
    """`outcome="deferred"` and the like, found in the sources."""
    sources = "".join(path.read_text() for path in (ROOT / "services").glob("*/src/**/*.py"))
    for what, expression in expressions():
        for label, value in re.findall(r'\b(outcome|result|state|face|call)[!=~]+"([^"]+)"', expression):
            for word in value.split("|"):
                said = f'"{word}"' in sources or (label == "call" and f"def {word}(" in sources)
                assert said, (what, label, word)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_each_alert_says_what_to_do(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in {"page", "ticket"}
    assert re.fullmatch(r"\d+[mh]", rule["for"])
    assert rule["annotations"]["summary"]
    page, _, anchor = rule["annotations"]["runbook"].partition("#")
    text = (ROOT / page).read_text()
    assert f"\n## {rule['alert']}\n" in text
    assert anchor == rule["alert"].lower()
    paragraph = text.partition(f"\n## {rule['alert']}\n")[2].partition("\n## ")[0].strip()
    assert paragraph.startswith(f"*{rule['labels']['severity']}.*"), "the page says how urgent it is"


def test_the_page_has_no_alerts_that_are_gone() -> None:
    headings = set(re.findall(r"^## (\w+)$", (ROOT / "docs/on-call.md").read_text(), re.M))
    assert headings - {"Disaster"} == {rule["alert"] for rule in RULES}


def test_kubernetes_has_the_same_rules() -> None:
    path = ROOT / "deploy/kubernetes/components/monitoring/alerts.yaml"
    assert yaml.safe_load(path.read_text())["spec"]["groups"][0]["rules"] == RULES
