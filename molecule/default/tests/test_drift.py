# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What was changed by hand: shown, refused on request, mended by a deploy that says so."""

from __future__ import annotations

import fleet
import pytest


@pytest.fixture
def drifted(researcher: fleet.Agent, restored: None) -> fleet.Agent:
    researcher.machine.check_output(f"echo '# by hand' >> /etc/systemd/system/{researcher.unit}")
    researcher.machine.check_output(f"systemctl disable {researcher.unit}")
    return researcher


def test_status_names_it_and_fails(drifted: fleet.Agent) -> None:
    outcome = fleet.play("playbooks/status.yml")
    assert outcome.code == 2
    assert "researcher on agent-" in outcome.output
    assert "drift: unit, not enabled" in outcome.output


def test_the_host_shows_the_difference(drifted: fleet.Agent) -> None:
    found = drifted.machine.run("muster diff researcher")
    assert found.rc == 1
    assert "-# by hand" in found.stdout or "+# by hand" in found.stdout


def test_a_deploy_refuses_it_where_asked_and_changes_nothing(drifted: fleet.Agent) -> None:
    outcome = fleet.play("deploy.yml", "-e", "fail_on_drift=true")
    assert outcome.code == 2
    assert f"/etc/systemd/system/{drifted.unit}" in outcome.output
    assert "by hand" in drifted.machine.file(f"/etc/systemd/system/{drifted.unit}").content_string


def test_check_mode_predicts_what_the_deploy_then_does(drifted: fleet.Agent) -> None:
    predicted = fleet.deploy("--check", "--diff")
    assert "-# by hand" in predicted.output
    done = fleet.deploy()
    assert predicted.changed() == done.changed()
    assert "drift: " in done.output
    assert set(fleet.deploy().changed().values()) == {0}


def test_a_runtime_that_was_altered_is_brought_again(researcher: fleet.Agent, restored: None) -> None:
    program = researcher.machine.check_output(
        "readlink -f /var/lib/muster/agents/researcher/current/runtime/program"
    )
    researcher.machine.check_output("echo x >> %s", program)
    assert sum(fleet.deploy().changed().values()) > 0
    assert researcher.machine.check_output("sha256sum %s", program).split()[0] in program
    assert fleet.agents()["researcher"].ready
