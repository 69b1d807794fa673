# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What Prometheus is given to scrape: every agent that can be, and why another one cannot."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.muster.agents.plugins.plugin_utils import targets
from ansible_collections.muster.agents.plugins.plugin_utils.fleet_model import Inputs
from ansible_collections.muster.agents.plugins.plugin_utils.fleet_survey import survey
from ansible_collections.muster.agents.plugins.plugin_utils.runtimes import Runtime
from ansible_collections.muster.agents.plugins.plugin_utils.targets import Scraper, Targets
from tests.unit.plugins.ansible_project import HOSTS, AnsibleProject
from tests.unit.plugins.builders import REPOSITORY
from tests.unit.plugins.test_plan import RUNTIME, inputs, project

__all__ = ["project"]
OPEN = {"HEALTH_HOST": "0.0.0.0"}
REFERENCE = replace(RUNTIME, metrics="/metrics")


def given(project: Path, fleet: dict[str, Any], runtime: Runtime = REFERENCE) -> Inputs:
    return inputs(project, fleet, runtimes={"reference": runtime})


def found(given: Inputs, scraper: Scraper = Scraper(), brokers: tuple[str, ...] = ()) -> Targets:  # noqa: B008
    return targets.make_targets(given, survey(given).instances, brokers, scraper)


def test_every_instance_is_a_target_with_its_own_port_and_labels(project: Path) -> None:
    fleet = {"writer": {"hosts": "writers", "instances": 2, "environment": OPEN}}
    have = given(project, fleet)
    ports = {one.name: (one.host, one.port) for one in survey(have).instances}
    scraper = Scraper(
        lambda host: f"{host}.example.com", labels={"environment": "staging"}, node_exporter=9200
    )
    seen = found(have, scraper, ("b1",))
    assert seen.left_out == {}
    for name, target in zip(("writer-1", "writer-2"), seen.agents):
        host, port = ports[name]
        assert target == {
            "targets": [f"{host}.example.com:{port}"],
            "labels": {"agent": name, "base": "writer", "host": host, "environment": "staging"},
        }
    assert [one["targets"] for one in seen.hosts] == [
        [f"{host}.example.com:9200"] for host in ("b1", "w1", "w2")
    ]
    assert seen.hosts[0]["labels"] == {"host": "b1", "environment": "staging"}


def test_another_path_and_an_address_with_colons(project: Path) -> None:
    have = given(project, {"writer": {"environment": OPEN}}, replace(REFERENCE, metrics="/prometheus"))
    (one,) = found(have, Scraper(lambda host: "2001:db8::1")).agents
    assert one["labels"]["__metrics_path__"] == "/prometheus"
    assert one["targets"][0].startswith("[2001:db8::1]:")


def test_json_is_not_given_to_prometheus(project: Path) -> None:
    """The real agent2389 answers /metrics with JSON; a build that does not says so in `metrics`."""
    theirs = replace(RUNTIME, name="agent2389", config_schema="agent2389")
    seen = found(given(project, {"writer": {}}, theirs))
    assert seen.agents == [] and "with JSON" in seen.left_out["writer"]
    assert found(given(project, {"writer": {}}, replace(theirs, metrics="/metrics"))).agents
    nobody_knows = found(given(project, {"writer": {}}, replace(RUNTIME, name="own", config_schema="")))
    assert nobody_knows.left_out["writer"].startswith("agent_runtimes.own.metrics")


@pytest.mark.parametrize("environment", [{}, {"HEALTH_HOST": "localhost"}, {"HEALTH_HOST": "::1"}])
def test_an_agent_on_loopback_is_scraped_from_its_own_host_alone(
    project: Path, environment: dict[str, str]
) -> None:
    have = given(project, {"writer": {"environment": environment}})
    (instance,) = survey(have).instances
    assert found(have, Scraper(hosts=[instance.host])).agents[0]["targets"] == [f"127.0.0.1:{instance.port}"]
    for hosts in ([], ["elsewhere"], [instance.host, "elsewhere"]):
        seen = found(have, Scraper(hosts=hosts))
        assert seen.agents == [] and "HEALTH_HOST: 0.0.0.0" in seen.left_out["writer"]
        assert [one["labels"]["host"] for one in seen.hosts] == [instance.host]


# --- playbooks/targets.yml, with real Ansible and no host in reach ---------------------------------------


def test_a_folder_on_the_controller_without_a_host_in_reach(tmp_path: Path) -> None:
    made = AnsibleProject(tmp_path)
    made.with_agents("writer", "editor")
    made.write(
        {
            "hosts.yml": HOSTS,
            "group_vars/all.yml": (
                "fleet: {writer: {environment: {HEALTH_HOST: 0.0.0.0}}, editor: {}}\n"
                "observability_labels: {environment: test}\n"
            ),
            "host_vars/b1.yml": "observability_address: broker.example.com\n",
        }
    )
    playbook = str(REPOSITORY / "playbooks/targets.yml")
    words = (
        "ansible-playbook",
        playbook,
        "-i",
        "hosts.yml",
        "-e",
        "observability_folder=out",
    )
    first, second = made.run(*words), made.run(*words)
    assert first.status == 0, first.text
    assert "editor is not scraped: listens on loopback only" in " ".join(first.text.split())
    (agent,) = json.loads((tmp_path / "out/targets/agents.json").read_text())
    assert (agent["labels"]["agent"], agent["labels"]["environment"]) == ("writer", "test")
    assert agent["targets"][0].startswith("203.0.113.")
    hosts = json.loads((tmp_path / "out/targets/hosts.json").read_text())
    assert "broker.example.com:9100" in [one["targets"][0] for one in hosts]
    assert (tmp_path / "out/muster.rules.yml").read_bytes() == (
        REPOSITORY / "roles/observability/files/muster.rules.yml"
    ).read_bytes()
    assert "changed=0" in second.text, second.text


def test_a_fleet_with_mistakes_gives_no_targets(tmp_path: Path) -> None:
    made = AnsibleProject(tmp_path)
    made.write({"hosts.yml": HOSTS, "group_vars/all.yml": "fleet: {nobody: {}}\n"})
    playbook = str(REPOSITORY / "playbooks/targets.yml")
    done = made.run("ansible-playbook", playbook, "-i", "hosts.yml", "-e", "observability_folder=out")
    assert done.status == 2 and "MA101" in done.text, done.text
    assert not (tmp_path / "out").exists()
