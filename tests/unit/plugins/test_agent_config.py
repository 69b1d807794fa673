# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The module `agent_config` as a person runs it: real Ansible, in a project of its own."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.plugins.ansible_project import CANARY, HOSTS, AnsibleProject, findings
from tests.unit.plugins.builders import REPOSITORY


@pytest.fixture
def project(tmp_path: Path) -> AnsibleProject:
    made = AnsibleProject(tmp_path)
    made.with_agents("writer", "editor")
    return made


def spoil(project: AnsibleProject, name: str, old: str, new: str) -> int:
    """Replaces something in an agent's config; returns its line."""
    path = project.folder / f"agents/{name}.toml"
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new), "utf-8")
    return text[: text.index(old)].count("\n") + 1


def documented(name: str = "RETURN") -> dict[str, Any]:
    source = (REPOSITORY / "plugins/modules/agent_config.py").read_text("utf-8")
    match = re.search(rf'^{name} = r"""(.*?)"""', source, re.DOTALL | re.MULTILINE)
    assert match
    found = yaml.safe_load(match[1])
    assert isinstance(found, dict)
    return found


TYPES: dict[str, Any] = {"str": str, "int": int, "dict": dict, "list": list, "bool": bool}


def test_a_folder_is_checked_and_what_it_returns_is_documented(project: AnsibleProject) -> None:
    line = spoil(project, "writer", "temperature = 0", "temperature = 30")
    project.write({"agents/notes.json": "{}"})
    done = project.ad_hoc({"path": "agents"})
    assert done.status != 0
    result = done.result
    assert findings(done.text)[0].startswith("agents/writer.toml:")
    assert [one["line"] for one in result["diagnostics"] if one["code"] == "MA204"] == [line]
    assert result["counts"]["error"] == len([one for one in result["diagnostics"] if one["level"] == "error"])
    assert result["left_out"] == ["agents/notes.json"]
    about = documented()
    assert set(about) <= set(result)
    for name, value in about.items():
        assert isinstance(result[name], TYPES[value["type"]]), name
        if value["type"] != "list" or "contains" not in value:
            continue
        for element in result[name]:
            # Of an agent, what has no value is left out.
            assert set(element) <= set(value["contains"]), name
            assert name == "specs" or set(element) == set(value["contains"]), name
            for key, content in element.items():
                assert content is None or isinstance(content, TYPES[value["contains"][key]["type"]]), key


def test_its_documentation_can_be_shown() -> None:
    """A sentence with `: ` in it is no text to YAML, and `ansible-doc` then shows nothing at all."""
    about = documented("DOCUMENTATION")
    for text in (about, *about["options"].values(), *about["attributes"].values()):
        lines = text["description"] if isinstance(text["description"], list) else [text["description"]]
        assert all(isinstance(line, str) for line in lines), lines


def test_what_can_be_given(project: AnsibleProject) -> None:
    none = "give path (files and folders), or fleet to check an inventory's agents"
    fleets: list[object] = ["text", [], ["writer"], 3, {}]
    several, absent, *refused = project.check(
        {"path": ["agents/writer.toml", "agents", "", "agents/editor.toml"]},
        {"path": ["absent", "agents"]},
        {},
        {"path": ""},
        {"path": "agents", "fleet": {}},
        *({"fleet": fleet} for fleet in fleets),
    )
    assert several["msg"] == "2 agents, nothing found"
    for spec in several["specs"]:
        names = [one["variable"] for one in spec["secrets"]]
        assert names == ["MQTT_USERNAME", "MQTT_PASSWORD", "OPENAI_API_KEY"]
    assert absent["failed"]
    assert absent["msg"].splitlines() == ["absent: error MA101: does not exist", "1 error; 2 agents read"]
    assert all(one["failed"] for one in refused)
    words = [none, none, "not both", *["fleet: error MA401: "] * 5]
    for one, expected in zip(refused, words, strict=True):
        assert expected in one["msg"]


def test_levels_silence_and_the_file_for_code_hosts(project: AnsibleProject) -> None:
    line = spoil(project, "writer", "[llm]", "[llm]\nfrobnicate = 1") + 1
    (project.folder / ".git").mkdir()
    good, strict, warned, never, silenced, unwritten, wrong = project.check(
        {"path": "agents"},
        {"path": "agents", "strict": True},
        {"path": "agents", "fail_on": "warning"},
        {"path": "agents", "strict": True, "fail_on": "never", "sarif": "found.sarif"},
        {"path": "agents", "strict": True, "silence": {"MA201": "our fork reads it"}, "sarif": "none.sarif"},
        {"path": "agents", "sarif": "absent/x.sarif"},
        {"path": "agents", "silence": {"MA301": "x"}},
    )
    assert [one["failed"] for one in (good, strict, warned, never, silenced)] == [
        False,
        True,
        True,
        False,
        False,
    ]
    document = json.loads((project.folder / "found.sarif").read_text("utf-8"))
    (found,) = document["runs"][0]["results"]
    place = found["locations"][0]["physicalLocation"]
    assert (found["ruleId"], found["level"]) == ("MA201", "error")
    assert (place["artifactLocation"]["uri"], place["region"]["startLine"]) == ("agents/writer.toml", line)
    (one,) = silenced["silenced"]
    assert (one["code"], one["line"], one["reason"]) == ("MA201", line, "our fork reads it")
    document = json.loads((project.folder / "none.sarif").read_text("utf-8"))
    assert document["runs"][0]["results"] == []
    assert unwritten["msg"].endswith(
        "absent/x.sarif: the SARIF report cannot be written: No such file or directory"
    )
    assert wrong["msg"].startswith("silence: error MA421: MA301")


def test_the_inventorys_own_fleet(project: AnsibleProject) -> None:
    project.write(
        {
            "inventory/hosts.yml": HOSTS,
            "inventory/group_vars/all.yml": """fleet: "{{ common | combine({'editor': {'prot': 1}}) }}"
common: {writer: {}}
fleet_strict: true
agent_runtimes: {own: {kind: docker}}
""",
        }
    )
    done = project.ad_hoc({}, "-i", "inventory", "-vvv")
    assert [(one["code"], one["path"]) for one in done.result["diagnostics"] if one["code"] == "MA402"] == [
        ("MA402", "fleet.editor.prot")
    ]
    assert {one["path"] for one in done.result["diagnostics"] if one["code"] == "MA406"} >= {
        "agent_runtimes.own.kind"
    }
    assert [spec["agent"] for spec in done.result["specs"]] == ["writer", "editor"]


def test_an_inventory_of_names_on_the_command_line(project: AnsibleProject) -> None:
    fleet = {"writer": {"hosts": ["h1", "h2"]}, "editor": "a text", "x": {"hosts": "nobody", "config": ["a"]}}
    done = project.ad_hoc({"fleet": fleet, "broker_url": "mqtt://b"}, "-i", "h1,h2")
    assert done.result["msg"].splitlines() == [
        "fleet.x.config: error MA101: agents/x.toml: no such agent config; looked in agents",
        "fleet.editor: error MA401: must be a mapping; write {} where there is nothing to say",
        "fleet.x.config: error MA403: must be a text such as 'agents/writer.toml'",
        "fleet.x.hosts: error MA407: the pattern 'nobody' matches no host of the inventory",
        "4 errors; 1 agent read",
    ]


def test_without_jsonschema_one_sentence_says_so(project: AnsibleProject) -> None:
    project.write({"shadow/sitecustomize.py": "import sys\nsys.modules['jsonschema'] = None\n"})
    done = project.ad_hoc({"path": "agents"}, PYTHONPATH=str(project.folder / "shadow"))
    assert done.status != 0
    assert done.result["msg"].endswith(
        "the controller's Python has no module jsonschema; install it there with: pip install jsonschema"
    )
    assert done.text.count("pip install jsonschema") <= 2
    assert "Traceback" not in done.text


def test_a_secret_in_a_config_is_nowhere_in_the_output(project: AnsibleProject) -> None:
    project.write(
        {
            "agents/part/openmas.deploy.yaml": f"""version: "1.0"
component: {{name: part, type: service, description: x}}
docker: {{image: x}}
ports: [{{port: 9000}}]
environment:
  - {{name: DB_PASSWORD, value: {CANARY}}}
  - {{name: DB_URL, value: "postgres://me:{CANARY}@db/x"}}
"""
        }
    )
    spoil(project, "writer", '"OPENAI_API_KEY"', f'"sk-{CANARY}-0123456789abcdef"')
    spoil(project, "editor", '"${MQTT_BROKER_URL}"', f'"mqtt://me:{CANARY}@broker"')
    done = project.ad_hoc({"path": "agents", "sarif": "found.sarif"}, "-vvv")
    assert done.result["counts"]["error"] >= 4
    assert CANARY not in done.text
    assert CANARY not in (project.folder / "found.sarif").read_text("utf-8")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of collections with the built one in it."""
    folder = tmp_path_factory.mktemp("installed")
    source = folder / "source"
    kept = ("plugins", "playbooks", "roles", "meta", "galaxy.yml", "README.md", "LICENSE")
    for name in kept:
        path = REPOSITORY / name
        if path.is_dir():
            shutil.copytree(path, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            source.mkdir(exist_ok=True)
            shutil.copy(path, source / name)
    project = AnsibleProject(folder, folder / "collections")
    built = project.run("ansible-galaxy", "collection", "build", "source")
    assert built.status == 0, built.text
    (archive,) = folder.glob("muster-agents-*.tar.gz")
    done = project.run(
        "ansible-galaxy", "collection", "install", "--offline", "-p", "collections", archive.name
    )
    assert done.status == 0, done.text
    return folder / "collections"


def test_from_an_installed_collection(installed: Path, tmp_path: Path) -> None:
    project = AnsibleProject(tmp_path, installed)
    project.with_agents("writer")
    done = project.ad_hoc({"path": "agents"})
    assert done.status == 0, done.text
    assert done.result["msg"] == "1 agent, nothing found"
    project.write(
        {"inventory/hosts.yml": HOSTS, "inventory/group_vars/all.yml": "fleet: {writer: {port: 1}}\n"}
    )
    done = project.run("ansible-playbook", "muster.agents.validate", "-i", "inventory")
    assert done.status != 0
    assert findings(done.text) == [
        "inventory/group_vars/all.yml:1:18: error MA403: fleet.writer.port: must be a port from 1024 to 65535"
    ]
