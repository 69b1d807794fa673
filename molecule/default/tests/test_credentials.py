# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""`secrets_backend: credentials`: encrypted at rest, delivered by systemd; and refused where it has no such thing."""

from __future__ import annotations

from pathlib import Path

import fleet
import pytest

HERE = {"hosts": "agent-1"}
SEALED = {**HERE, "secrets_backend": "credentials"}
FOLDER = "/etc/muster/secrets/researcher.creds"
TODAY = "canary-of-today-31f0"
# Has the agent's own unit print a value into its journal, once.
SAY_IT = """
folder=/run/systemd/system/agent-researcher.service.d; mkdir -p $folder
printf '[Service]\\nExecStartPre=/bin/echo said %s\\n' > $folder/say.conf
systemctl daemon-reload && systemctl restart agent-researcher; rm -r $folder; systemctl daemon-reload
"""


@pytest.fixture
def sealed(tmp_path: Path, restored: None) -> fleet.Agent:
    """The researcher on the newer host; its release before kept the secrets in a file, this one has them encrypted."""
    fleet.deploy(fleet.changed_fleet(tmp_path, researcher=HERE))
    fleet.deploy(fleet.changed_fleet(tmp_path, researcher=SEALED), values(tmp_path, TODAY))
    return fleet.agents()["researcher"]


def values(folder: Path, serper: str) -> str:
    (folder / "values").mkdir(exist_ok=True)
    return fleet.variables(folder / "values", agent_secrets={"SERPER_API_KEY": serper})


def test_encrypted_at_rest_live_in_the_process_and_good_for_every_command(
    sealed: fleet.Agent, tmp_path: Path
) -> None:
    machine = sealed.machine
    assert sealed.environ()["SERPER_API_KEY"] == TODAY
    assert machine.check_output(f"ls {FOLDER}").split() == ["MQTT_PASSWORD.cred", "SERPER_API_KEY.cred"]
    assert not machine.file("/etc/muster/secrets/researcher.env").exists
    assert machine.run(f"grep -rl {TODAY} /etc /var /opt /tmp").stdout == ""
    given = (fleet.changed_fleet(tmp_path, researcher=SEALED), values(tmp_path, TODAY))
    assert set(fleet.deploy(*given).changed().values()) == {0}

    # A rotation, masks, drift that is seen and mended, and a rollback to the release that has a file.
    rotated = fleet.play(
        "playbooks/rotate_secrets.yml", "-e", "agent=researcher", values(tmp_path, "canary-next-8a44")
    )
    assert rotated.code == 0, rotated.output
    assert fleet.agents()["researcher"].environ()["SERPER_API_KEY"] == "canary-next-8a44"
    assert fleet.agents()["researcher"].release == sealed.release
    machine.check_output(SAY_IT, "canary-next-8a44")
    assert "said ********" in machine.check_output("muster logs researcher -n 30")
    assert machine.check_output("muster diff researcher") == "nothing differs from what was released"
    machine.check_output(f"cp {FOLDER}/MQTT_PASSWORD.cred {FOLDER}/SERPER_API_KEY.cred")
    assert "drift: secrets" in machine.run("muster status").stdout
    mended = fleet.deploy(given[0], values(tmp_path, "canary-next-8a44"))
    assert "drift: secrets" in mended.output
    machine.check_output("muster rollback researcher")
    after = fleet.agents()["researcher"]
    assert (after.release != sealed.release, after.ready) == (True, True)
    assert after.environ()["SERPER_API_KEY"] == "canary-next-8a44"
    assert machine.run(f"ls {FOLDER}/*.cred").stdout == "", "nothing of the other backend stays"


def test_a_systemd_without_it_is_named_before_anything_is_switched(
    agents: dict[str, fleet.Agent], tmp_path: Path
) -> None:
    before = {name: agent.pid for name, agent in agents.items()}
    outcome = fleet.play("deploy.yml", fleet.variables(tmp_path, secrets_backend="credentials"))
    assert outcome.code == 2
    assert "credentials needs systemd 250 or newer, and this host has 247" in outcome.output
    assert {name: agent.pid for name, agent in fleet.agents().items()} == before
