# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A real Prometheus scrapes a real agent and a real node_exporter, and is asked whatever the rules and the dashboard ask."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from tests.integration.reference_agent.world import until
from tests.observability.prometheus import DASHBOARD, ROOT, RULES, Prometheus, documented, promtool

BUILT_IN = {"$__rate_interval": "10s", "$host": ".+", "$agent": ".+"}
# What is there only where somebody runs blackbox_exporter, and where a broker speaks TLS.
ELSEWHERE = {"probe_ssl_earliest_cert_expiry", "muster_agent_certificate_end_timestamp_seconds"}


def dashboard() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(DASHBOARD.read_text())
    return found


def queries() -> Iterator[tuple[str, str]]:
    """(panel, query as Grafana would send it) of the whole dashboard, its annotations among them."""
    for panel in dashboard()["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"]
    for one in dashboard()["annotations"]["list"]:
        yield one["name"], one["expr"]


def as_sent(expression: str) -> str:
    for name, value in BUILT_IN.items():
        expression = expression.replace(name, value)
    assert "$" not in expression, f"{expression}: a variable that nobody fills in"
    return expression


def test_agent_and_host_are_up_under_the_labels_of_the_fleet(prometheus: Prometheus) -> None:
    up = until(lambda: len(found := prometheus.values("up == 1")) == 2 and found, "both targets up")
    by_job = {labels["job"]: labels for labels, _ in up}
    assert by_job["muster-agents"].items() >= {"agent": "writer", "base": "writer", "host": "h1"}.items()
    assert by_job["muster-hosts"]["host"] == "h1"


def test_every_query_of_the_dashboard_finds_something(working: Prometheus) -> None:
    asked = [(title, as_sent(query)) for title, query in queries()]

    def unanswered() -> list[tuple[str, str]]:
        return [(title, query) for title, query in asked if not working.values(query)]

    deadline = time.monotonic() + 20
    while (left := unanswered()) and time.monotonic() < deadline:
        time.sleep(0.5)
    assert left == [] and len(asked) > 30


def test_the_dashboards_variables_find_what_to_choose_from(working: Prometheus) -> None:
    found = {}
    for one in dashboard()["templating"]["list"]:
        if one["type"] == "query":
            asked = re.fullmatch(r"label_values\((.+), (\w+)\)", one["query"]["query"])
            assert asked and one["definition"] == one["query"]["query"]
            match, label = as_sent(asked[1]), asked[2]
            found[one["name"]] = working.ask(f"label/{label}/values", **{"match[]": match})
    assert found == {"host": ["h1"], "agent": ["writer"]}


def test_a_release_is_marked_at_its_moment(working: Prometheus) -> None:
    (one,) = dashboard()["annotations"]["list"]
    ((labels, milliseconds),) = working.values(as_sent(one["expr"]))
    assert one["useValueForTime"] and abs(milliseconds / 1000 - time.time()) < 120
    for name in re.findall(r"\{\{(\w+)\}\}", one["titleFormat"] + one["textFormat"]):
        assert labels[name], name


def test_the_host_and_the_agent_say_the_same(working: Prometheus) -> None:
    ((labels, ready),) = working.values("muster_agent_ready * on (host, agent) agent_mqtt_connected")
    assert (labels["host"], labels["agent"], ready) == ("h1", "writer", 1)


def test_rules_are_evaluated_and_only_the_right_alert_fires(working: Prometheus) -> None:
    def evaluated() -> Any:
        rules = [rule for group in working.ask("rules")["groups"] for rule in group["rules"]]
        return rules if rules and all(rule["health"] == "ok" for rule in rules) else None

    rules = until(evaluated, "an evaluation of every rule")
    written = [
        rule["alert"] for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]
    ]
    assert sorted(rule["name"] for rule in rules) == sorted(written)
    states = {rule["name"]: rule["state"] for rule in rules if rule["state"] != "inactive"}
    assert states == {"AgentDeployReverted": "firing"}


def test_the_rules_ask_for_nothing_that_nobody_exports(working: Prometheus) -> None:
    known = set(working.ask("label/__name__/values"))
    words = re.compile(r"\b((?:agent|muster|probe|node|process)_\w+)(?=[\s{\[)]|$)")
    asked = {
        name
        for group in yaml.safe_load(RULES.read_text())["groups"]
        for rule in group["rules"]
        for name in words.findall(rule["expr"])
    }
    assert len(asked) >= 10 and asked - ELSEWHERE <= known


def test_promtool_is_content_with_config_rules_and_metrics(
    files: Path, collector: Path, tmp_path: Path
) -> None:
    config = tmp_path / "prometheus.yml"
    config.write_text(documented(files))
    assert "SUCCESS" in promtool("check", "config", str(config))
    promtool("check", "metrics", stdin=(collector / "muster.prom").read_text())


def test_each_alert_fires_when_it_should_and_not_before() -> None:
    """promtool plays time series to the rules; every alert has a case in which it fires."""
    cases = ROOT / "tests/observability/alerts.yml"
    promtool("test", "rules", str(cases))
    fired = {
        one["alertname"]
        for test in yaml.safe_load(cases.read_text())["tests"]
        for one in test["alert_rule_test"]
        if one.get("exp_alerts")
    }
    assert fired == {
        rule["alert"] for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]
    }
