# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What was changed by hand: shown, refused on request, mended by a deploy that says so."""

from __future__ import annotations

import fleet


def test_it_is_told_shown_refused_where_asked_predicted_and_mended(
    researcher: fleet.Agent, restored: None
) -> None:
    machine, unit = researcher.machine, f"/etc/systemd/system/{researcher.unit}"
    machine.check_output(f"echo '# by hand' >> {unit}")
    machine.check_output(f"systemctl disable {researcher.unit}")

    told = fleet.play("playbooks/status.yml")
    assert told.code == 2
    assert "researcher on agent-" in told.output
    assert "drift: unit, not enabled" in told.output

    shown = machine.run("muster diff researcher")
    assert shown.rc == 1
    assert "-# by hand" in shown.stdout or "+# by hand" in shown.stdout

    refused = fleet.play("deploy.yml", "-e", "fail_on_drift=true")
    assert refused.code == 2
    assert unit in refused.output
    assert "by hand" in machine.file(unit).content_string

    predicted = fleet.deploy("--check", "--diff")
    assert "-# by hand" in predicted.output
    assert "by hand" in machine.file(unit).content_string
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
