# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a person is told of a playbook's output."""

from __future__ import annotations

from pathlib import Path

import pytest

from dev.playbook import Outcome, play
from dev.shell import Failure

PLAYBOOK = """\
- name: Try
  hosts: localhost
  gather_facts: false
  vars:
    ansible_python_interpreter: "{{{{ ansible_playbook_python }}}}"
  tasks:
    - name: Change
      ansible.builtin.command: "true"
    - name: Fail
      ansible.builtin.fail:
        msg: "the reason\\nin two lines"
      when: {fails}
"""


def written(folder: Path, fails: bool) -> list[str]:
    """The arguments that run the playbook on this machine."""
    file = folder / "try.yml"
    file.write_text(PLAYBOOK.format(fails=str(fails).lower()))
    return ["--inventory", "localhost,", "--connection", "local", str(file)]


def test_changes_are_counted_and_tasks_are_heard(tmp_path: Path) -> None:
    heard: list[str] = []
    outcome = play(written(tmp_path, fails=False), tmp_path / "log", heard.append)
    assert outcome.summary() == "changed: localhost 1"
    assert "PLAY RECAP" in (tmp_path / "log").read_text()
    assert heard == ["Change", "Fail"]


def test_a_failure_is_its_reason_without_the_rest(tmp_path: Path) -> None:
    with pytest.raises(Failure) as failure:
        play(written(tmp_path, fails=True), tmp_path / "log")
    _, _, told = str(failure.value).partition("\n")
    assert told == "the reason\nin two lines"


def test_no_change_is_said_so() -> None:
    assert Outcome("", {"one": 0, "two": 0}).summary() == "nothing changed"


def test_what_a_task_tells_stands_before_its_result() -> None:
    output = "TASK [Ask] ***\nok: [one]\n\nTASK [Print] ****\nAGENT  HOST\nwriter one\nok: [one]\n\nPLAY RECAP ***\n"
    assert Outcome(output, {}).told_by("Print") == "AGENT  HOST\nwriter one"
