# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Rotation: a new value live with one gated restart, the old one gone, and nothing else with it."""

from __future__ import annotations

import json
from pathlib import Path

import fleet
import pytest

from demo.vault import derived_password

OLD, NEW = "canary-serper-5b21", "canary-rotated-77c0"


def rotate(*arguments: str) -> fleet.Outcome:
    return fleet.play("playbooks/rotate_secrets.yml", *arguments)


def pids(agents: dict[str, fleet.Agent]) -> dict[str, int]:
    return {name: agent.pid for name, agent in agents.items()}


def test_a_new_value_goes_live_and_nothing_that_waits_in_the_fleet_does(
    agents: dict[str, fleet.Agent],
    researcher: fleet.Agent,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    restored: None,
) -> None:
    for name in ("fleet", "values"):
        (tmp_path / name).mkdir()
    waiting = fleet.changed_fleet(
        tmp_path / "fleet", researcher={"environment": {"LOG_LEVEL": "debug"}}, writer={"deadline": 99}
    )
    monkeypatch.setenv("NEW_VALUE", f"{NEW} {{{{ taken as it is }}}}")
    looked_up = {"SERPER_API_KEY": "{{ lookup('ansible.builtin.env', 'NEW_VALUE') }}"}
    given = (waiting, fleet.variables(tmp_path / "values", agent_secrets=looked_up))
    before = pids(agents)
    researcher.machine.check_output(
        "cp /etc/muster/secrets/researcher.env /etc/muster/secrets/researcher.env~"
    )

    outcome = rotate("-e", "secret=SERPER_API_KEY", *given)

    assert outcome.code == 0, outcome.output
    after = fleet.agents()
    assert after["researcher"].environ()["SERPER_API_KEY"] == f"{NEW} {{{{ taken as it is }}}}"
    assert {name: one.release for name, one in after.items()} == {
        name: one.release for name, one in agents.items()
    }
    assert [name for name, pid in pids(after).items() if pid != before[name]] == ["researcher"]
    assert after["researcher"].ready
    machine = researcher.machine
    assert machine.run(f"grep -rl {OLD} /etc/muster /var/lib/muster /run/muster").stdout == ""
    told = json.loads(machine.check_output("tail -n 1 /var/lib/muster/history.jsonl"))
    assert (told["via"], told["before"], told["after"]) == (
        "rotation",
        researcher.release,
        researcher.release,
    )

    again = rotate("-e", "agent=all", *given)
    assert (again.code, set(again.changed().values())) == (0, {0})
    assert "nothing to rotate: 1 agent on 2 hosts, with the secrets of today" in again.output
    assert "researcher" in fleet.deploy("--check", *given).output, "the deploy is still to come"


def test_what_is_unknown_is_refused_with_what_there_is(agents: dict[str, fleet.Agent]) -> None:
    before = pids(agents)
    for asked, words in (
        ("secret=SERPER_KEY", ("no secret 'SERPER_KEY'", "known are SERPER_API_KEY")),
        ("secret=MQTT_PASSWORD", ("derived from fleet_credentials_key", "deploy.yml")),
        ("agent=reporter", ("no agent 'reporter'", "researcher", "writer")),
    ):
        outcome = rotate("-e", asked)
        assert outcome.code == 2
        assert [word for word in words if word not in outcome.output] == []
    assert pids(fleet.agents()) == before


def test_a_value_that_does_not_work_is_taken_back(
    agents: dict[str, fleet.Agent], researcher: fleet.Agent, tmp_path: Path, restored: None
) -> None:
    password = derived_password(fleet.CREDENTIALS_KEY, researcher.agent_id)
    (tmp_path / "password").write_text(f"{password}\n")
    from_file = {
        **fleet.SECRETS["agent_secrets"],
        "MQTT_PASSWORD": f"{{{{ lookup('ansible.builtin.file', '{tmp_path}/password') }}}}",
    }
    given = fleet.variables(tmp_path, agent_secrets=from_file)
    fleet.deploy("-e", "agent=researcher", given)
    before = fleet.agents()["researcher"]
    (tmp_path / "password").write_text("canary-that-the-broker-does-not-know")

    outcome = rotate("-e", "agent=researcher", given)

    assert outcome.code == 2
    assert "was reverted" in outcome.output
    assert "canary" not in outcome.output
    after = fleet.agents()["researcher"]
    assert (after.release, after.ready) == (before.release, True)
    assert after.environ()["MQTT_PASSWORD"] == password
    held = after.machine.run("grep -rl canary-that /etc/muster /var/lib/muster /run/muster")
    assert held.stdout == "", "the value that was refused"
