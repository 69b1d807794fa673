# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""inventories/demo, staging and production: what they share, what sets them apart, and that they validate out of nothing."""

from __future__ import annotations

import json
import os
import shutil
from typing import Any

import pytest
import yaml

from ansible_collections.muster.agents.plugins.plugin_utils.broker import _listeners, broker_url
from ansible_collections.muster.agents.plugins.plugin_utils.mosquitto import Listener
from ansible_collections.muster.agents.plugins.plugin_utils.quantity import memory_bytes
from tests.unit.plugins.ansible_project import AnsibleProject
from tests.unit.plugins.builders import REPOSITORY

ENVIRONMENTS = ("demo", "staging", "production")
DEFAULTS = yaml.safe_load((REPOSITORY / "roles/mosquitto/defaults/main.yml").read_text("utf-8"))
# Nobody has the password of these.
VAULT = """
agent_secrets:
  OPENAI_API_KEY: &nobody_can_read !vault |
    $ANSIBLE_VAULT;1.1;AES256
    31
  SERPER_API_KEY: *nobody_can_read
fleet_credentials_key: *nobody_can_read
"""
SSH = "#!/bin/sh\ntouch {called}\nexit 1\n"
ASKED = {
    "fleet": "{{ fleet }}",
    "rollout": "{{ fleet_rollout | default({}) }}",
    "strict": "{{ fleet_strict | default(false) }}",
    # The role's defaults for what the inventory does not say.
    "broker": {
        name: f"{{{{ hostvars[groups.broker | first].{name} | default(defaults.{name}) }}}}"
        for name in DEFAULTS
    },
    "address": "{{ groups.broker | first }}",
}

each_environment = pytest.mark.parametrize("name", ENVIRONMENTS)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> AnsibleProject:
    """The clone's inventories and agents, with a vault in each inventory, where nothing else of the clone is in reach."""
    folder = tmp_path_factory.mktemp("project")
    for part in ("agents", "inventories"):
        ignored = shutil.ignore_patterns("vault.yml", ".pki")
        shutil.copytree(REPOSITORY / part, folder / part, symlinks=True, ignore=ignored)
    made = AnsibleProject(folder)
    made.write({f"inventories/{name}/group_vars/all/vault.yml": VAULT for name in ENVIRONMENTS})
    made.write({"bin/ssh": SSH.format(called=folder / "ssh-was-called")})
    (folder / "bin/ssh").chmod(0o755)
    return made


@pytest.fixture(scope="module")
def environments(project: AnsibleProject) -> dict[str, dict[str, Any]]:
    """What Ansible makes of each inventory's variables."""
    answer = project.folder / "answer.json"
    copy = {"content": "{{ asked | to_json }}", "dest": str(answer)}
    task = {"ansible.builtin.copy": copy, "vars": {"asked": ASKED, "defaults": DEFAULTS}}
    play = {"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": [task]}
    project.write({"ask.yml": json.dumps([play])})
    found = {}
    for name in ENVIRONMENTS:
        done = project.run("ansible-playbook", "ask.yml", "-i", f"inventories/{name}", OPENAI_API_KEY="")
        assert done.status == 0, done.text
        found[name] = json.loads(answer.read_text("utf-8"))
    return found


@each_environment
def test_it_validates_without_a_password_and_without_a_host(project: AnsibleProject, name: str) -> None:
    path = os.pathsep.join([str(project.folder / "bin"), os.environ["PATH"]])
    done = project.validate(f"inventories/{name}", PATH=path, OPENAI_API_KEY="sk-of-whoever-runs-it")
    assert done.status == 0, done.text
    assert "4 agents, nothing found" in done.text
    assert not (project.folder / "ssh-was-called").exists()
    assert project.run("ansible", "all", "-i", "inventories/staging", "-m", "ping", PATH=path).status != 0
    assert (project.folder / "ssh-was-called").exists(), "else the line before the last proves nothing"
    (project.folder / "ssh-was-called").unlink()


@each_environment
def test_the_fleet_is_shared_and_not_copied(name: str) -> None:
    file = REPOSITORY / f"inventories/{name}/group_vars/all/fleet.yml"
    assert os.readlink(file) == "../../../fleet.yml"
    assert file.samefile(REPOSITORY / "inventories/fleet.yml")


def test_the_same_agents_run_everywhere(environments: dict[str, dict[str, Any]]) -> None:
    assert {tuple(one["fleet"]) for one in environments.values()} == {
        ("researcher", "writer", "editor", "judge")
    }


def test_what_sets_them_apart(environments: dict[str, dict[str, Any]]) -> None:
    def of(key: str) -> list[Any]:
        return [environments[name]["fleet"]["researcher"][key] for name in ENVIRONMENTS]

    assert [one["LOG_LEVEL"] for one in of("environment")] == ["debug", "info", "warn"]
    assert [one["llm"].get("model") for one in of("overrides")] == [None, "gpt-4o-mini", "gpt-4o"]
    assert [int(one) for one in of("instances")] == [1, 1, 2]
    limits = [memory_bytes((one.get("limits") or one)["memory"]) for one in of("resources")]
    assert limits == sorted(set(limits)), "each gives its agents more memory than the one before"
    assert [environments[name]["rollout"].get("canary") for name in ENVIRONMENTS] == [None, 0, 1]
    assert environments["production"]["rollout"]["revert_switched"] is True
    assert [environments[name]["strict"] for name in ENVIRONMENTS] == [False, True, True]


def listeners(environment: dict[str, Any]) -> list[Listener]:
    """What the broker would listen on."""
    options = environment["broker"].items()
    return _listeners({name.removeprefix("mosquitto_"): value for name, value in options})


def test_plain_listeners_answer_their_own_host_only_in_staging_and_production(
    environments: dict[str, dict[str, Any]],
) -> None:
    for name in ("staging", "production"):
        found = listeners(environments[name])
        assert [one.bind_address for one in found if not one.tls] == ["127.0.0.1"]
        assert [one.port for one in found if one.tls] == [8883]
        about = {**environments[name]["broker"], "inventory_hostname": environments[name]["address"]}
        assert broker_url(about) == f"mqtts://broker.{name}.example.com:8883"
    # In the demo it is open to the network that its three containers have for themselves.
    assert [(one.bind_address, one.tls) for one in listeners(environments["demo"])] == [("0.0.0.0", False)]
