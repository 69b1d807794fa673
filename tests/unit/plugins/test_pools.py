# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The hosts that playbooks without a plan work on: those of every pool, whatever another pool leaves out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.unit.plugins.ansible_project import AnsibleProject
from tests.unit.plugins.builders import REPOSITORY

HOSTS = """
all:
  children:
    agents: {hosts: {a1: , a2: }}
    writers: {hosts: {w1: , w2: }}
    judges: {hosts: {j1: }}
    spare: {hosts: {s1: }}
"""


def group(tmp_path: Path, fleet: Any) -> tuple[int, str, set[str]]:
    """Exit code and output of playbooks/pool.yml, and who is in the group that it makes."""
    project = AnsibleProject(tmp_path)
    tell = {"hosts": "muster_hosts", "gather_facts": False, "connection": "local"}
    task = {"ansible.builtin.debug": {"msg": "IN={{ groups.muster_hosts | join('+') }}="}, "run_once": True}
    plays = [{"import_playbook": str(REPOSITORY / "playbooks/pool.yml")}, {**tell, "tasks": [task]}]
    project.write({"hosts.yml": HOSTS, "play.yml": json.dumps(plays)})
    done = project.run("ansible-playbook", "-i", "hosts.yml", "play.yml", "-e", json.dumps({"fleet": fleet}))
    found = done.text.partition("IN=")[2].partition("=")[0]
    return done.status, done.text, set(filter(None, found.split("+")))


@pytest.mark.parametrize(
    ("fleet", "hosts"),
    [
        ({"researcher": None}, {"a1", "a2"}),
        ({"writer": {"hosts": "writers"}}, {"a1", "a2", "w1", "w2"}),
        ({"writer": {"hosts": ["writers", "judges"]}}, {"a1", "a2", "w1", "w2", "j1"}),
        ({"writer": {"hosts": "writers:!w2"}, "judge": {"hosts": "judges"}}, {"a1", "a2", "w1", "j1"}),
        ({"writer": {"hosts": "all,!a1"}}, {"a1", "a2", "w1", "w2", "j1", "s1"}),
        ({"writer": {"hosts": ["writers", "!w1"]}, "judge": {"hosts": "w1"}}, {"a1", "a2", "w1", "w2"}),
        ({"writer": {"hosts": "writers:&judges"}}, {"a1", "a2"}),
    ],
)
def test_a_pool_takes_nothing_from_another(tmp_path: Path, fleet: Any, hosts: set[str]) -> None:
    status, text, found = group(tmp_path, fleet)
    assert (status, found) == (0, hosts), text


def test_what_is_no_pool_is_told(tmp_path: Path) -> None:
    status, text, _ = group(tmp_path, {"writer": {"hosts": {"writers": True}}})
    assert status != 0
    assert "is neither a host pattern nor a list of them" in text
    assert "Traceback" not in text
