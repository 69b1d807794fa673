# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Where secrets are, and where they are not."""

from __future__ import annotations

from pathlib import Path

import fleet
import pytest

from demo.vault import derived_password

# As it stands in the inventory, and as Ansible reads it: braces have to be written as an expression there.
WRITTEN = fleet.SECRETS["agent_secrets"]["SERPER_API_KEY"]
SERPER = WRITTEN.replace("{{ '{{' }}", "{{")
# A part of each secret that no quoting changes.
MARKS = ("canary-serper-5b21", "canary-rotated-77c0", "canary-fleet-2f0c")


def marks(agents: dict[str, fleet.Agent]) -> list[str]:
    """All that must be found nowhere: the vault's values, and the passwords derived from them."""
    users = [agent.agent_id for agent in agents.values()] + ["tester"]
    return [*MARKS, *(derived_password(fleet.CREDENTIALS_KEY, user) for user in users)]


def test_any_printable_secret_reaches_its_agent_unharmed(researcher: fleet.Agent) -> None:
    assert researcher.environ()["SERPER_API_KEY"] == SERPER


def test_an_agent_gets_no_secret_that_its_config_does_not_name(neighbour: fleet.Agent) -> None:
    assert "SERPER_API_KEY" not in neighbour.environ()


def test_secret_files_are_roots_alone(agents: dict[str, fleet.Agent]) -> None:
    for agent in agents.values():
        file = agent.machine.file(f"/etc/muster/secrets/{agent.name}.env")
        assert (file.user, file.group, file.mode) == ("root", "root", 0o600)


def test_rotation_shows_no_secret_and_makes_no_release(
    agents: dict[str, fleet.Agent], researcher: fleet.Agent, tmp_path: Path, restored: None
) -> None:
    rotated = fleet.variables(tmp_path, agent_secrets={"SERPER_API_KEY": f"canary-rotated-77c0 {WRITTEN}"})
    for options in (["--check", "--diff", "-vvv"], ["--diff", "-vvv"]):
        output = fleet.deploy(*options, rotated).output
        assert [mark for mark in marks(agents) if mark in output] == []
    after = fleet.agents()["researcher"]
    assert after.environ()["SERPER_API_KEY"] == f"canary-rotated-77c0 {SERPER}"
    assert after.release == researcher.release


@pytest.mark.parametrize("host", ["agent-1", "agent-2", "broker-1"])
def test_secrets_are_nowhere_on_a_host_where_others_could_read_them(
    agents: dict[str, fleet.Agent], host: str
) -> None:
    machine = fleet.machine(host)
    looked_for = " ".join(f"-e {mark}" for mark in marks(agents))
    journal = machine.run(f"journalctl --no-pager -o export | grep -F {looked_for}")
    assert (journal.exit_status, journal.stdout) == (1, ""), "in the journal"
    listed = machine.run("for p in /proc/[0-9]*; do tr '\\0' ' ' < $p/cmdline 2>/dev/null; echo; done").stdout
    assert [mark for mark in marks(agents) if mark in listed] == [], "in a command line"
    readable = machine.run(
        f"find / -xdev -type f -perm -o=r -not -path '/proc/*' -exec grep -l -F {looked_for} {{}} +"
    ).stdout
    assert readable.splitlines() == [], "in a file that anyone can read"
