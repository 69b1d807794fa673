# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""`playbooks/validate.yml` over whole inventories, with real Ansible: no host reachable, no vault's password."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from ansible_collections.muster.agents.plugins.plugin_utils.diagnostics import Diagnostic, fleet_error
from ansible_collections.muster.agents.plugins.plugin_utils.fleet import Entry
from ansible_collections.muster.agents.plugins.plugin_utils.fleet_places import FleetPlaces, path_in
from ansible_collections.muster.agents.plugins.plugin_utils.project import files_below, find_config, shown
from tests.unit.plugins.ansible_project import CANARY, HOSTS, VALIDATE, AnsibleProject, findings
from tests.unit.plugins.builders import REPOSITORY

FLEET = "inventories/x/group_vars/all/fleet.yml"


@pytest.fixture
def project(tmp_path: Path) -> AnsibleProject:
    made = AnsibleProject(tmp_path)
    made.with_agents("writer", "editor", "researcher")
    made.write({"inventories/x/hosts.yml": HOSTS})
    return made


# --- validate.yml -------------------------------------------------------------------------------------------


def test_a_good_inventory_without_a_host_in_reach(project: AnsibleProject) -> None:
    """Where agent_secrets is not defined, secrets are not required."""
    project.write({FLEET: "fleet:\n  writer: {}\n  editor: {instances: each}\n"})
    done = project.validate("inventories/x")
    assert done.status == 0, done.text
    assert "2 agents, nothing found" in done.text


def test_the_examples_of_the_clone() -> None:
    """With the clone's own configuration. Its inventories have tests of their own, in test_environments.py."""
    environment = {"ANSIBLE_CONFIG": str(REPOSITORY / "ansible.cfg"), "HOME": os.environ.get("HOME", "")}
    clone = AnsibleProject(REPOSITORY)
    done = clone.ad_hoc({"path": "agents"}, **environment)
    assert (done.status, done.result["msg"]) == (0, "7 agents, nothing found")


def test_findings_stand_in_the_inventorys_files(project: AnsibleProject) -> None:
    """Beside values that are encrypted, templated, or of facts that nobody has; the vault's password is not there."""
    project.write({"password": "only this test's"})
    encrypted = project.run(
        "ansible-vault",
        "encrypt_string",
        "--vault-id",
        "default@password",
        "--name",
        "OPENAI_API_KEY",
        CANARY,
    )
    value = encrypted.text[encrypted.text.index("OPENAI_API_KEY") :].split("Encryption")[0]
    secret = "".join(f"  {line}\n" for line in value.strip().splitlines())
    text = f"""agent_secrets:
{secret}  NEVER_USED: !vault |
    $ANSIBLE_VAULT;1.1;AES256
    31
levels: {{LOG_LEVEL: loud}}
agent_host_memory: "{{{{ ansible_facts.memtotal_mb }}}}M"
mosquitto_address: "{{{{ ansible_facts.default_ipv4.address }}}}"
fleet:
  writer:
    prot: 8000
    environment: "{{{{ levels }}}}"
  editor:
    hosts: "{{{{ 'nob' + 'ody' }}}}"
  researcher:
    environment: {{LOG_LEVEL: trace, LOG_FORMAT: xml}}
    instances: 0
"""
    project.write({FLEET: text})

    def at(words: str) -> str:
        before = text[: text.index(words)]
        return f"{FLEET}:{before.count(chr(10)) + 1}:{len(before) - before.rfind(chr(10))}"

    done = project.validate("inventories/x", "-e", "sarif=found.sarif", "-vvv")
    assert done.status != 0
    missing, *found = findings(done.text)
    assert missing.startswith("agents/researcher.toml:") and "error MA415" in missing and "SERPER" in missing
    assert [line.partition(": fleet.")[0] for line in found] == [
        f"{at('prot')}: error MA402",
        f"{at('environment')}: error MA511",
        f"{at('hosts')}: error MA407",
        f"{at('LOG_LEVEL: trace')}: error MA511",
        f"{at('LOG_FORMAT: xml')}: error MA511",
        f"{at('instances')}: error MA403",
    ]
    assert CANARY not in done.text
    assert "Traceback" not in done.text
    results = json.loads((project.folder / "found.sarif").read_text("utf-8"))["runs"][0]["results"]
    assert len(results) == 7


def test_policies_of_the_inventory(project: AnsibleProject) -> None:
    project.write({FLEET: "fleet: {writer: {overrides: {llm: {frobnicate: 1}}}}\n"})
    assert project.validate("inventories/x").status == 0
    strict = project.validate("inventories/x", "-e", "fleet_strict=true", "--check")
    assert strict.status != 0
    assert findings(strict.text) == [
        f"{FLEET}:1:36: error MA201: fleet.writer.overrides.llm.frobnicate: llm.frobnicate is not a key of the reference"
        " agent, which ignores it"
    ]
    project.write(
        {"inventories/x/group_vars/all/silence.yml": "fleet_strict: true\nfleet_silence: {MA201: ours}\n"}
    )
    silenced = project.validate("inventories/x")
    assert silenced.status == 0
    assert "1 agent, nothing found (1 silenced)" in silenced.text


def test_an_agent_does_not_leave_the_fleet_by_being_silenced(project: AnsibleProject) -> None:
    """Without its runtime nobody knows what it is, and a deploy would retire it."""
    project.write(
        {FLEET: "fleet:\n  writer: {}\n  editor:\n    runtime: typo\n    silence: {MA405: comes later}\n"}
    )
    done = project.validate("inventories/x")
    assert done.status != 0
    assert findings(done.text) == [
        f"{FLEET}:5:5: error MA421: fleet.editor.silence: editor cannot be read, and why is silenced (MA405)"
    ]


def test_an_inventory_is_found_wherever_the_command_runs(project: AnsibleProject) -> None:
    """Its fleet stands in a YAML inventory of several sources; the agents are two folders above it."""
    project.write(
        {
            "inventories/x/zz.yml": "all:\n  vars:\n    fleet:\n      writer:\n        port: 80\n",
            "inventories/y/hosts.yml": "all:\n  hosts:\n    h9:\n",
            "elsewhere/ansible.cfg": "",
        }
    )
    away = AnsibleProject(project.folder / "elsewhere")
    done = away.run("ansible-playbook", VALIDATE, "-i", "../inventories/x", "-i", "../inventories/y")
    assert findings(done.text) == [
        f"{project.folder}/inventories/x/zz.yml:5:9: error MA403: fleet.writer.port: must be a port from 1024 to 65535"
    ]


def test_a_memory_that_is_none_and_a_fleet_that_is_none(project: AnsibleProject) -> None:
    project.write({FLEET: "agent_host_memory: much\nfleet: {writer: {instances: each}}\n"})
    done = project.validate("inventories/x")
    assert [line.partition("; write")[0] for line in findings(done.text)] == [
        f"{FLEET}:1:1: error MA403: agent_host_memory: 'much' is not an amount of memory"
    ]
    project.write({FLEET: "fleet:\n"})
    done = project.validate("inventories/x")
    assert done.status != 0
    assert [line.partition(";")[0] for line in findings(done.text)] == [
        f"{FLEET}:1:1: error MA401: fleet: no agent in it"
    ]


# --- where the fleet stands ---------------------------------------------------------------------------------


def put(one: Diagnostic, fleet: object, *files: Path, inventories: tuple[Path, ...] = ()) -> str:
    return FleetPlaces(fleet, files, inventories, lambda path: path.name).put(one).place


def test_the_file_that_wins_is_named(tmp_path: Path) -> None:
    """And not one that defines another fleet, cannot be read, or is encrypted."""
    texts = {
        "a.yml": "fleet: {writer: {port: 1}}\n",
        "b.yml": "\nfleet: {writer: {port: 1}}\n",
        "c.yml": "\n\nfleet: {editor: {port: 1}}\n",
        "d.yml": "fleet: [\n",
        "e.yml": "$ANSIBLE_VAULT;1.1;AES256\n3161\n",
        "f.yml": "- fleet\n",
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "g.yml").write_bytes(b"\xff\xfe\x00")
    files = [tmp_path / name for name in (*texts, "g.yml", "absent.yml")]
    one = fleet_error("MA403", "fleet.writer.port", "x")
    assert put(one, {"writer": {}}, *files) == "b.yml:2:18"
    assert put(one, {"other": {}}, *files) == "fleet.writer.port"
    assert put(one, None, *files) == "fleet.writer.port"
    assert put(fleet_error("MA404", "agent", "x"), {"writer": {}}, *files) == "agent"


def test_an_inventory_comes_behind_the_files_of_variables(tmp_path: Path) -> None:
    inventory, variables = tmp_path / "hosts.yml", tmp_path / "all.yml"
    inventory.write_text("all:\n  vars:\n    fleet: {writer: {port: 1}}\n    other: {a: 1}\n")
    variables.write_text("fleet: !unsafe {writer: {port: 1}}\nsecret: !vault |\n  $ANSIBLE\n")
    one = fleet_error("MA403", "fleet.writer.port", "x")
    assert put(one, {"writer": 1}, variables, inventories=(inventory,)) == "all.yml:1:26"
    assert put(one, {"writer": 1}, inventories=(inventory,)) == "hosts.yml:3:22"
    assert put(fleet_error("MA403", "other.a.b", "x"), None, inventories=(inventory,)) == "hosts.yml:4:13"


def test_a_path_may_go_through_names_with_dots() -> None:
    document = {"fleet": {"a": {"b": 1}, "a.b": {"c.d": {"e": 1}}}}
    assert path_in(document, "fleet.a.b.c.d.e") == ("fleet", "a.b", "c.d", "e")
    assert path_in(document, "fleet.a.b.x") == ("fleet", "a.b")
    assert path_in(document, "fleet.z") == ("fleet",)
    assert path_in(document, "") == ()


# --- where configs are --------------------------------------------------------------------------------------


def test_a_circle_of_links_is_walked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    agents = tmp_path / "agents"
    (agents / "team/deep").mkdir(parents=True)
    (agents / "team/loop").symlink_to(agents)
    (agents / "team/deep/judge.yaml").touch()
    (agents / ".hidden").mkdir()
    (agents / ".hidden/judge.yaml").touch()
    assert files_below(agents)["judge.yaml"] == [agents / "team/deep/judge.yaml"]
    assert find_config(Entry("judge"), "agents", [tmp_path])[1] == "agents/team/deep/judge.yaml"


@pytest.mark.parametrize("config", ["a\0b.toml", "[x].toml", "x" * 5000, "../../nowhere.toml", "a\nb"])
def test_names_that_no_file_has(tmp_path: Path, config: str) -> None:
    with pytest.raises(Exception, match="no such agent config"):
        find_config(Entry("judge", config=config), "agents", [tmp_path])


def test_a_path_is_shown_as_it_was_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here/agents").mkdir(parents=True)
    (tmp_path / "shared.toml").touch()
    (tmp_path / "here/agents/link.toml").symlink_to(tmp_path / "shared.toml")
    monkeypatch.chdir(tmp_path / "here")
    assert shown(Path.cwd() / "agents/link.toml") == "agents/link.toml"
    assert shown(tmp_path / "shared.toml") == str(tmp_path / "shared.toml")
