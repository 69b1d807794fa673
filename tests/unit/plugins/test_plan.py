# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The plan of a small real fleet: who runs where with which bytes, and what is said when it cannot be."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import tomllib

from ansible_collections.muster.agents.plugins.module_utils.engine import envfile, manifest, request
from ansible_collections.muster.agents.plugins.module_utils.engine.health import Health
from ansible_collections.muster.agents.plugins.module_utils.engine.manifest import Notify
from ansible_collections.muster.agents.plugins.plugin_utils import plan as plan_module
from ansible_collections.muster.agents.plugins.plugin_utils.diagnostics import ERROR, Diagnostic, InputError
from ansible_collections.muster.agents.plugins.plugin_utils.fleet import Entry, read_fleet
from ansible_collections.muster.agents.plugins.plugin_utils.fleet_model import Broker, Inputs
from ansible_collections.muster.agents.plugins.plugin_utils.fleet_survey import survey
from ansible_collections.muster.agents.plugins.plugin_utils.plan import Plan, UnitTemplate
from ansible_collections.muster.agents.plugins.plugin_utils.project import find_config
from ansible_collections.muster.agents.plugins.plugin_utils.runtimes import Artifact, Runtime
from tests.unit.plugins.builders import REPOSITORY, sha256

HOSTS = {"agents": ["a1", "a2", "a3"], "writers": ["w1", "w2"], "nobody": []}
DIGEST = "a" * 64
RUNTIME = Runtime(
    name="reference",
    version="1",
    artifacts={"any": Artifact(DIGEST, src="agent.pyz")},
    run=("/usr/bin/python3", "{program}", "--config", "{config}", "run"),
    check=("/usr/bin/python3", "{program}", "--config", "{config}", "config"),
    notify=True,
    watchdog=60,
    environment={"LOG_LEVEL": "warn", "MODE": "runtime"},
    config_schema="reference",
)
FLEET: dict[str, Any] = {
    "researcher": {"instances": "each"},
    "writer": {"hosts": "writers", "instances": 2, "environment": {"MODE": "fleet"}},
}
OWN = Broker("mqtt://broker:1883", own=True)
OTHERS = Broker("mqtts://elsewhere:8883", own=False)
SECRETS = frozenset({"OPENAI_API_KEY", "SERPER_API_KEY"})
LOGIN = frozenset({"MQTT_USERNAME", "MQTT_PASSWORD"})
VAULT = "inventories/demo/group_vars/all/vault.yml"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "agents").mkdir()
    for name in ("researcher", "writer"):
        text = (REPOSITORY / f"agents/{name}.toml").read_text("utf-8")
        (tmp_path / f"agents/{name}.toml").write_text(text, "utf-8")
    return tmp_path


TEMPLATE = UnitTemplate(
    (REPOSITORY / "roles/agent/templates/agent.service.j2").read_text("utf-8"), "agent.service.j2"
)


def inputs(project: Path, fleet: Mapping[str, Any] = FLEET, **changes: Any) -> Inputs:
    def config_path(entry: Entry) -> tuple[Path, str]:
        name = entry.config or f"{entry.name}.toml"
        return project / "agents" / name, f"agents/{name}"

    found: list[Diagnostic] = []
    entries = read_fleet(fleet, found)
    assert found == []
    return Inputs(
        **{
            "fleet": entries,
            "runtimes": {"reference": RUNTIME, "python": replace(RUNTIME, name="python", config_schema="")},
            "config_path": config_path,
            "resolve_hosts": lambda pattern: HOSTS[pattern],
            "broker": OWN,
            "secret_names": SECRETS,
            "vault_hint": VAULT,
            **changes,
        }
    )


def make_plan(given: Inputs, asked: object, template: UnitTemplate = TEMPLATE) -> Plan:
    """As agent_plan does it: what is wrong is said before anything is planned."""
    found = survey(given)
    errors = [one for one in found.diagnostics if one.level == ERROR]
    if errors:
        raise InputError(errors)
    return plan_module.make_plan(given, found, template, asked)


def refused(given: Inputs, asked: object = "all", template: UnitTemplate = TEMPLATE) -> list[str]:
    with pytest.raises(InputError) as refusal:
        make_plan(given, asked, template)
    return [str(one) for one in refusal.value.diagnostics]


def workloads(plan: Plan) -> dict[str, dict[str, Any]]:
    """Instance → its workload, with its host."""
    return {
        one["manifest"]["name"]: {**one, "host": host}
        for host, several in plan.hosts.items()
        for one in several
    }


# --- who runs where -----------------------------------------------------------------------------------------


def test_each_and_two_instances_are_placed_apart(project: Path) -> None:
    found = workloads(make_plan(inputs(project), "all"))
    hosts = {name: one["host"] for name, one in found.items()}
    assert {name: host for name, host in hosts.items() if name.startswith("researcher")} == {
        "researcher-a1": "a1",
        "researcher-a2": "a2",
        "researcher-a3": "a3",
    }
    assert {hosts["writer-1"], hosts["writer-2"]} == {"w1", "w2"}


def test_instances_share_no_id_no_port_and_no_unit(project: Path) -> None:
    plan = make_plan(inputs(project), "all")
    found = workloads(plan)
    assert {name: one["manifest"]["gate"]["agent_id"] for name, one in found.items()} == {
        "researcher-a1": "researcher-agent-a1",
        "researcher-a2": "researcher-agent-a2",
        "researcher-a3": "researcher-agent-a3",
        "writer-1": "writer-agent-1",
        "writer-2": "writer-agent-2",
    }
    assert sorted(one["manifest"]["gate"]["agent_id"] for one in found.values()) == plan.ids
    assert len({one["manifest"]["gate"]["port"] for one in found.values()}) == 5
    assert {one["manifest"]["unit"] for one in found.values()} == {f"agent-{name}.service" for name in found}
    for one in found.values():
        assert tomllib.loads(one["files"]["agent.toml"])["agent"]["id"] == one["manifest"]["gate"]["agent_id"]


def test_a_single_instance_keeps_its_config_byte_for_byte(project: Path) -> None:
    found = workloads(make_plan(inputs(project, {"writer": {}}), "all"))["writer"]
    text = (project / "agents/writer.toml").read_text("utf-8")
    assert found["files"]["agent.toml"] == text.replace("${MQTT_BROKER_URL}", "mqtt://broker:1883")


def test_the_selected_are_planned_and_the_broker_knows_all(project: Path) -> None:
    everything, one = (make_plan(inputs(project), asked) for asked in ("all", "writer-agent"))
    assert one.names == ["writer"]
    assert set(workloads(one)) == {"writer-1", "writer-2"}
    assert workloads(one).items() <= workloads(everything).items()
    assert (one.ids, one.fleet, one.pool) == (everything.ids, everything.fleet, everything.pool)
    assert one.pool == ["a1", "a2", "a3", "w1", "w2"]


def test_the_same_input_gives_the_same_plan_in_any_order(project: Path) -> None:
    def turned(node: Any) -> Any:
        return {key: turned(node[key]) for key in reversed(node)} if isinstance(node, dict) else node

    more = {
        **FLEET["writer"],
        "environment": {"B": "2", "A": "1"},
        "overrides": {"llm": {"model": "x"}, "mqtt": {}},
    }
    fleet = {**FLEET, "writer": more}
    other = replace(RUNTIME, environment=turned(dict(RUNTIME.environment)))
    first = make_plan(inputs(project, fleet), "all")
    second = make_plan(inputs(project, turned(fleet), runtimes={"reference": other}), "all")
    again = make_plan(inputs(project, fleet), "all")
    assert asdict(first) == asdict(again)
    assert workloads(first) == workloads(second)
    assert (first.ids, first.pool, first.artifacts) == (second.ids, second.pool, second.artifacts)


def test_the_engine_takes_what_was_planned(project: Path) -> None:
    """The same bytes on both sides: every digest holds, and the release has an id."""
    plan = make_plan(inputs(project), "all")
    for several in plan.hosts.values():
        asked = request.parse(json.dumps({"format": 1, "phase": "stage", "workloads": several}))
        assert {len(item.manifest.release) for item in asked.wanted.values()} == {16}
    assert plan.artifacts == {DIGEST: RUNTIME.artifacts["any"]}


# --- what an agent gets -------------------------------------------------------------------------------------


def test_what_the_fleet_says_goes_before_the_runtime_and_that_before_the_rest(project: Path) -> None:
    found = workloads(make_plan(inputs(project), "all"))
    environment = envfile.parse(found["writer-1"]["files"]["env"])
    port = str(found["writer-1"]["manifest"]["gate"]["port"])
    assert environment == {
        "AGENT_NAME": "writer-1",
        "AGENT_PORT": port,
        "HEALTH_PORT": port,
        "LOG_FORMAT": "json",
        "LOG_LEVEL": "warn",
        "MODE": "fleet",
        "MQTT_BROKER_URL": "mqtt://broker:1883",
        "MQTT_USERNAME": "writer-agent-1",
    }


def test_an_agent_gets_only_the_secrets_that_it_names(project: Path) -> None:
    found = workloads(make_plan(inputs(project), "all"))
    password = {"from": "mqtt_password", "name": "writer-agent-1"}
    key = {"from": "secret", "name": "OPENAI_API_KEY"}
    assert found["writer-1"]["manifest"]["secrets"] == {"MQTT_PASSWORD": password, "OPENAI_API_KEY": key}
    assert set(found["researcher-a1"]["manifest"]["secrets"]) == {
        "MQTT_PASSWORD",
        "OPENAI_API_KEY",
        "SERPER_API_KEY",
    }


def test_a_login_in_the_vault_goes_before_a_derived_one(project: Path) -> None:
    given = inputs(project, {"writer": {}}, secret_names=SECRETS | LOGIN)
    found = workloads(make_plan(given, "all"))["writer"]
    assert {name: source["from"] for name, source in found["manifest"]["secrets"].items()} == {
        "MQTT_USERNAME": "secret",
        "MQTT_PASSWORD": "secret",
        "OPENAI_API_KEY": "secret",
    }
    assert "MQTT_USERNAME" not in envfile.parse(found["files"]["env"])
    assert found["manifest"]["mqtt"]["username"] is None


def test_the_unit_runs_the_current_release(project: Path) -> None:
    unit = workloads(make_plan(inputs(project), "all"))["writer-1"]["files"]["unit"]
    assert (
        "\nExecStart=/usr/bin/python3 /var/lib/muster/agents/writer-1/current/runtime/program "
        "--config /run/credentials/agent-writer-1.service/agent.toml run\n"
    ) in unit
    assert "\nEnvironmentFile=/etc/muster/secrets/writer-1.env\n" in unit
    assert "\nTimeoutStartSec=150\n" in unit


def test_an_agent_without_secrets_has_no_file_of_them(project: Path) -> None:
    path = project / "agents/writer.toml"
    lines = [line for line in path.read_text().splitlines(True) if "_env" not in line]
    path.write_text("".join(lines).replace('provider = "openai"', 'provider = "echo"'))
    found = workloads(make_plan(inputs(project, {"writer": {}}, broker=OTHERS), "all"))["writer"]
    assert "secrets" not in found["manifest"]
    assert "/etc/muster/secrets" not in found["files"]["unit"]


def test_encrypted_secrets_are_loaded_for_a_program_that_wants_them_in_its_environment(project: Path) -> None:
    fleet = {name: {**(entry or {}), "secrets_backend": "credentials"} for name, entry in FLEET.items()}
    found = workloads(make_plan(inputs(project, fleet), "writer"))["writer-1"]
    unit = found["files"]["unit"]
    loaded = "\nExecStart=/usr/local/lib/muster/with-secrets MQTT_PASSWORD OPENAI_API_KEY -- "
    assert loaded in unit
    folder = "/etc/muster/secrets/writer-1.creds"
    assert f"\nLoadCredentialEncrypted=OPENAI_API_KEY:{folder}/OPENAI_API_KEY.cred\n" in unit
    assert "/etc/muster/secrets/writer-1.env" not in unit
    assert found["manifest"]["secrets_backend"] == "credentials"


def test_a_program_that_reads_credentials_is_started_by_itself(project: Path) -> None:
    given = inputs(project, {"writer": {"secrets_backend": "credentials"}})
    runtimes = {
        name: dataclasses.replace(one, reads_credentials=True) for name, one in given.runtimes.items()
    }
    found = workloads(make_plan(dataclasses.replace(given, runtimes=runtimes), "writer"))["writer"]
    assert "with-secrets" not in found["files"]["unit"]
    assert "\nLoadCredentialEncrypted=OPENAI_API_KEY:" in found["files"]["unit"]
    assert found["manifest"]["reads_credentials"] is True


def test_who_uses_our_own_broker_with_tls_gets_what_to_verify_it_with(project: Path) -> None:
    secure = Broker("mqtts://broker:8883", own=True, ca="the CA's PEM\n")
    found = workloads(make_plan(inputs(project, {"writer": {}}, broker=secure), "all"))["writer"]
    unit = found["files"]["unit"]
    assert found["files"]["broker-ca.pem"] == found["manifest"]["mqtt"]["ca"] == "the CA's PEM\n"
    assert "\nWants=muster-trust-writer.service\nAfter=muster-trust-writer.service\n" in unit
    assert "\nEnvironment=SSL_CERT_FILE=/run/muster-trust/writer.pem\n" in unit
    assert (
        "cat /var/lib/muster/agents/writer/current/broker-ca.pem >>/run/muster-trust/writer.pem'"
        in (found["files"]["trust"])
    )
    place = "/etc/systemd/system/muster-trust-writer.service"
    assert found["manifest"]["install"][place] == {"file": "trust", "mode": "0644"}
    elsewhere = {"writer": {"overrides": {"mqtt": {"broker_url": "mqtts://elsewhere:8883"}}}}
    for given in (
        inputs(project, elsewhere, broker=secure),
        inputs(project, {"writer": {}}, broker=replace(secure, ca="")),
    ):
        found = workloads(make_plan(given, "all"))["writer"]
        assert "broker-ca.pem" not in found["files"]
        assert "ca" not in found["manifest"]["mqtt"]
        assert "SSL_CERT_FILE" not in found["files"]["unit"]


def test_the_manifest_tells_the_engine_how_to_judge(project: Path) -> None:
    fleet = {"writer": {"port": 8123, "deadline": 30, "min_healthy_time": 1}}
    found = workloads(make_plan(inputs(project, fleet), "all"))["writer"]["manifest"]
    document = manifest.parse(found)
    assert (document.gate.port, document.gate.deadline, document.gate.min_healthy_time) == (8123, 30.0, 1.0)
    assert (document.gate.ready, document.gate.identity) == ("/ready", "/health")
    assert document.digest("x86_64") == DIGEST
    assert found["mqtt"]["status_topic"] == "/control/agents/writer-agent/status"
    assert document.files["unit"] == sha256(
        workloads(make_plan(inputs(project, fleet), "all"))["writer"]["files"]["unit"]
    )


def test_the_manifest_tells_the_engine_how_to_look_after_an_agent(project: Path) -> None:
    quick = {"readiness": {"period": 2}}
    fleet = {"researcher": {}, "writer": {"health": quick, "notify": {"run": ["tell"]}}}
    notify = Notify(("/usr/local/bin/page", "me"), 5.0, "pager")
    found = workloads(make_plan(inputs(project, fleet, notify=notify), "all"))
    researcher, writer = (manifest.parse(found[name]["manifest"]) for name in ("researcher", "writer"))
    assert (researcher.health, researcher.notify) == (Health(), notify)
    assert writer.health.readiness == replace(Health().readiness, period=2.0)
    assert writer.health.liveness == Health().liveness
    assert writer.notify == Notify(("tell",), 30.0, "nobody")
    assert writer.mqtt is not None and writer.mqtt["heartbeat"] == 900.0


def test_a_secret_in_the_words_of_a_notification_is_refused(project: Path) -> None:
    word = "Authorization: Bearer ghp_" + "0aB1" * 9
    fleet = {"writer": {"notify": {"run": ["curl", "-H", word, "https://example.org"]}}}
    (problem,) = refused(inputs(project, fleet))
    assert problem.startswith(
        "fleet.writer.notify.run: error MA301: holds a literal secret, which every user of the host"
    )
    assert "ghp_" not in problem


def test_no_secret_is_in_a_plan(project: Path) -> None:
    """It cannot be: a plan is made of names."""
    text = json.dumps(asdict(make_plan(inputs(project), "all")), default=str)
    assert "OPENAI_API_KEY" in text
    assert "agent_secrets" not in text


# --- what is refused ----------------------------------------------------------------------------------------


def test_a_missing_secret_says_agent_field_variable_and_where_to_put_it(project: Path) -> None:
    line = 1 + (project / "agents/writer.toml").read_text().splitlines().index(
        'api_key_env = "OPENAI_API_KEY"'
    )
    given = inputs(project, {"writer": {}}, secret_names=frozenset({"OPENAI_APIKEY"}))
    assert refused(given) == [
        f"agents/writer.toml:{line}:1: error MA415: agent writer: llm.api_key_env needs OPENAI_API_KEY, and agent_secrets "
        f"has no such key; add it {VAULT} (did you mean OPENAI_APIKEY?)"
    ]


def test_on_somebody_elses_broker_the_login_must_be_in_the_vault(project: Path) -> None:
    fleet: dict[str, Any] = {"writer": {}}
    problems = refused(inputs(project, fleet, broker=OTHERS))
    assert [problem.partition(" needs ")[2].partition(",")[0] for problem in problems] == [
        "MQTT_USERNAME",
        "MQTT_PASSWORD",
    ]
    plan = make_plan(inputs(project, fleet, broker=OTHERS, secret_names=SECRETS | LOGIN), "all")
    found = workloads(plan)["writer"]
    assert found["manifest"]["secrets"]["MQTT_PASSWORD"] == {"from": "secret", "name": "MQTT_PASSWORD"}
    assert found["manifest"]["mqtt"]["url"] == OTHERS.url


def test_our_own_broker_lets_nobody_in_without_a_name(project: Path) -> None:
    path = project / "agents/writer.toml"
    path.write_text(path.read_text().replace('username_env = "MQTT_USERNAME"\n', ""))
    (problem,) = [one for one in refused(inputs(project, {"writer": {}})) if "MA422" in one]
    assert problem == (
        "agents/writer.toml:9:2: error MA422: mqtt.username_env and mqtt.password_env are needed: "
        "the broker lets nobody in without a name"
    )


def test_without_any_broker_its_placeholder_has_no_value(project: Path) -> None:
    problems = refused(inputs(project, {"writer": {}}, broker=None))
    assert any("mqtt.broker_url: nothing gives ${MQTT_BROKER_URL} a value" in problem for problem in problems)


def test_one_id_never_runs_twice(project: Path) -> None:
    fleet = {"writer": {}, "copy": {"config": "writer.toml"}}
    assert refused(inputs(project, fleet)) == [
        "fleet.copy: error MA408: the id 'writer-agent' of copy is also that of writer; one id never runs twice"
    ]
    overridden = {
        "writer": {},
        "copy": {"config": "writer.toml", "overrides": {"agent": {"id": "copy-agent"}}},
    }
    assert make_plan(inputs(project, overridden), "all").ids == ["copy-agent", "writer-agent"]


def test_an_instance_cannot_have_the_name_of_another_agent(project: Path) -> None:
    fleet: dict[str, Any] = {"writer": {"instances": 2}, "writer-2": {"config": "researcher.toml"}}
    assert "has the name of another agent's" in refused(inputs(project, fleet))[0]


def test_two_agents_cannot_be_given_one_port(project: Path) -> None:
    fleet = {"writer": {"port": 8000}, "researcher": {"port": 8000}}
    (problem,) = refused(inputs(project, fleet))
    assert problem.startswith("fleet.researcher.port: error MA409: ")


def test_an_unknown_runtime_lists_the_known_and_the_nearest(project: Path) -> None:
    assert refused(inputs(project, {"writer": {"runtime": "refrence"}})) == [
        "fleet.writer.runtime: error MA405: no runtime 'refrence' in agent_runtimes; known are python, reference "
        "(did you mean reference?)"
    ]


def test_a_pool_without_hosts_is_named(project: Path) -> None:
    assert refused(inputs(project, {"writer": {"hosts": "nobody"}})) == [
        "fleet.writer.hosts: error MA407: the pattern 'nobody' matches no host of the inventory"
    ]


def test_an_unknown_agent_is_told_with_the_nearest(project: Path) -> None:
    (problem,) = refused(inputs(project), "reseacher")
    assert "did you mean researcher?" in problem


@pytest.mark.parametrize("name", ["A B", "A-B", ""])
def test_an_environment_that_cannot_be_written_is_placed(project: Path, name: str) -> None:
    (problem,) = refused(inputs(project, {"writer": {"environment": {name: "x"}}}))
    assert problem.startswith("fleet.writer.environment: error MA403: ")


def test_a_value_with_a_line_break_is_refused_without_being_repeated(project: Path) -> None:
    (problem,) = refused(inputs(project, {"writer": {"environment": {"KEY": "canary\nmore"}}}))
    assert problem.startswith("fleet.writer.environment: error MA403: KEY holds a line break")
    assert "canary" not in problem


def test_a_key_pasted_where_a_name_belongs_is_not_repeated(project: Path) -> None:
    path = project / "agents/writer.toml"
    path.write_text(path.read_text().replace('"OPENAI_API_KEY"', '"sk-canary-0123456789"'))
    problems = refused(inputs(project, {"writer": {}}))
    assert "canary" not in "\n".join(problems)


def test_a_mistake_in_the_users_own_template_names_it(project: Path) -> None:
    template = UnitTemplate("[Unit]\n{% if %}\n", "my.service.j2")
    (problem,) = refused(inputs(project, {"writer": {}}), template=template)
    assert problem.startswith("my.service.j2: error MA423: line 2: ")


def test_the_mistakes_of_all_agents_are_told_at_once(project: Path) -> None:
    fleet: dict[str, Any] = {"writer": {"runtime": "x"}, "researcher": {}}
    problems = refused(inputs(project, fleet, secret_names=frozenset()))
    assert any(problem.startswith("fleet.writer.runtime") for problem in problems)
    assert sum("researcher.toml" in problem for problem in problems) == 2
    (project / "agents/writer.toml").write_text("[agent\n")
    (project / "agents/researcher.toml").write_text("x = \n")
    assert sorted(problem.partition(": ")[0] for problem in refused(inputs(project, fleet))) == [
        "agents/researcher.toml:1:5",
        "fleet.writer.runtime",
    ]


# --- where configs are found --------------------------------------------------------------------------------


def test_a_config_is_found_beside_the_command_and_below(project: Path) -> None:
    (project / "agents/team").mkdir()
    (project / "agents/team/judge.toml").touch()
    roots = [project / "absent", project]
    for name in ("writer", "judge"):
        folder = "team/" if name == "judge" else ""
        assert find_config(Entry(name), "agents", roots)[0] == project / f"agents/{folder}{name}.toml"
    given = Entry("judge", config="team/judge.toml")
    assert find_config(given, "agents", roots)[0] == project / "agents/team/judge.toml"


def test_a_config_that_could_be_several_is_refused(project: Path) -> None:
    for folder in ("team", "other/below"):
        (project / "agents" / folder).mkdir(parents=True)
        (project / "agents" / folder / "judge.toml").touch()
    with pytest.raises(InputError, match=r"could be any of .*other/below/judge\.toml, .*team/judge\.toml"):
        find_config(Entry("judge"), "agents", [project])


def test_a_config_that_is_nowhere_says_where_it_was_looked_for(project: Path) -> None:
    with pytest.raises(InputError, match=r"agents/absent\.toml: no such agent config; looked in .*agents"):
        find_config(Entry("absent"), "agents", [project])


# --- configs of other formats -------------------------------------------------------------------------------

COMPONENT = """\
version: "1.0"
component: {name: THE_ID, type: agent}
docker: {build: {context: .}}
environment:
  - {name: AGENT_NAME, value: "${component.name}"}
  - {name: LISTEN, value: "0.0.0.0:${AGENT_PORT}"}
ports: PORTS
dependencies: NEEDS
"""


def component(project: Path, name: str, ports: str = "[]", needs: str = "[]") -> dict[str, str]:
    text = COMPONENT.replace("THE_ID", name).replace("PORTS", ports).replace("NEEDS", needs)
    (project / f"agents/{name}.yaml").write_text(text)
    return {"config": f"{name}.yaml", "runtime": "python"}


def test_instances_of_a_component_go_by_names_and_ports_of_their_own(project: Path) -> None:
    fleet = {"kb": {**component(project, "kb"), "instances": 2}}
    found = workloads(make_plan(inputs(project, fleet), "all"))
    for name in ("kb-1", "kb-2"):
        environment = envfile.parse(found[name]["files"]["env"])
        port = str(found[name]["manifest"]["gate"]["port"])
        assert (environment["AGENT_NAME"], environment["LISTEN"]) == (name, f"0.0.0.0:{port}")


def test_a_component_is_told_where_what_it_needs_really_runs(project: Path) -> None:
    needs = "[{name: knowledge-base, required: true}]"
    fleet = {
        "kb": component(project, "knowledge-base", ports="[{port: 8100}]"),
        "player": component(project, "player", needs=needs),
    }
    given = inputs(project, fleet, host_address=lambda host: f"{host}.example.org")
    found = workloads(make_plan(given, "all"))
    environment = envfile.parse(found["player"]["files"]["env"])
    assert environment["SERVICE_URL_KNOWLEDGE_BASE"] == f"http://{found['kb']['host']}.example.org:8100"
    assert found["kb"]["manifest"]["gate"]["port"] == 8100


def test_a_config_of_several_files_reaches_its_agent_whole(project: Path) -> None:
    folder = project / "agents/engine"
    folder.mkdir()
    nodes = "[{id: s, name: S, kind: deterministic, role: start, default_start: true, context: none}, "
    nodes += "{id: e, name: E, kind: deterministic, role: exit, context: none}]"
    (folder / "workflow.yaml").write_text(f"version: '1.2.0'\nnodes: {nodes}\nedges: [{{from: s, to: e}}]\n")
    (folder / "agents.yaml").write_text("agents: []\n")
    (folder / "tools.yaml").write_text("tools: []\n")
    runtime = replace(RUNTIME, config_schema="", environment={"AGENT_ENGINE_CONFIG_DIR": "{config_dir}"})
    given = inputs(project, {"engine": {"config": "engine"}}, runtimes={"reference": runtime})
    found = workloads(make_plan(given, "all"))["engine"]
    assert {"workflow.yaml", "agents.yaml", "tools.yaml"} < set(found["files"])
    document = manifest.parse(found["manifest"])
    assert document.configs == ("agents.yaml", "tools.yaml", "workflow.yaml")
    assert found["manifest"]["version"] == "1.2.0"
    assert "mqtt" not in found["manifest"]
    unit = found["files"]["unit"]
    assert unit.count("\nLoadCredential=") == 3
    environment = envfile.parse(found["files"]["env"])
    assert environment["AGENT_ENGINE_CONFIG_DIR"] == "/run/credentials/agent-engine.service"


def test_an_anchor_that_a_setting_shares_with_a_prompt_is_refused_with_its_reason(project: Path) -> None:
    entry = component(project, "kb")
    path = project / "agents/kb.yaml"
    text = path.read_text().replace('"0.0.0.0:${AGENT_PORT}"', '&d "on ${AGENT_PORT}"')
    path.write_text(f"{text}volumes: [{{name: data, path: /data, description: *d}}]\n")
    (problem,) = refused(inputs(project, {"kb": entry}))
    assert problem.startswith("fleet.kb.config: error MA426: agents/kb.yaml: ")


def test_a_config_that_the_runtime_cannot_read_is_one_error(project: Path) -> None:
    (project / "agents/kb.yaml").write_text(COMPONENT.replace("THE_ID", "kb"))
    (problem,) = refused(inputs(project, {"kb": {"config": "kb.yaml"}}))
    assert problem.startswith(
        "fleet.kb.runtime: error MA427: the config is one of OpenMAS, and the runtime reference"
    )


def test_a_secret_in_the_fleet_itself_is_refused_and_not_repeated(project: Path) -> None:
    value = "Zq7Lw2Xc9Vb4Nm1Kj8Hg5Fd3Sa6Po0Iu"
    fleet = {"writer": {"environment": {"FOO_API_KEY": value, "LOG_LEVEL": "debug"}}}
    runtime = replace(RUNTIME, environment={"BAR_TOKEN": value})
    problems = refused(inputs(project, fleet, runtimes={"reference": runtime}))
    assert [problem.partition(": holds")[0] for problem in problems] == [
        "agent_runtimes.reference.environment.BAR_TOKEN: error MA301",
        "fleet.writer.environment.FOO_API_KEY: error MA301",
    ]
    assert value not in "".join(problems)


def test_the_key_of_the_brokers_passwords_is_missed_before_a_host_is_touched(project: Path) -> None:
    (problem,) = refused(inputs(project, {"writer": {}}, credentials_key=False))
    assert problem.startswith("fleet_credentials_key: error MA415: is missing, ")
