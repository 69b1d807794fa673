# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Over the hosts of a fleet: waves, a failure that stops them, going back together, and what the summary tells."""

from __future__ import annotations

import json
from pathlib import Path

import fleet


def test_hooks_run_where_they_belong(agents: dict[str, fleet.Agent], tmp_path: Path, restored: None) -> None:
    here, there = tmp_path / "here", "/run/hook-told"
    hooks = {
        "pre_release": {
            "run": ["sh", "-c", f"id -un > {there}; env | grep -c SERPER >> {there} || true"],
            "where": "host",
        },
        "post_release": {
            "run": ["sh", "-c", f'echo "$MUSTER_AGENT $MUSTER_HOST" >> {here}'],
            "where": "controller",
        },
    }
    changed = {"environment": {"LOG_LEVEL": "debug"}, "hooks": hooks}
    fleet.deploy(fleet.changed_fleet(tmp_path, researcher=changed))
    host = agents["researcher"].host
    assert here.read_text() == f"researcher {host}\n"
    assert fleet.machine(host).file(there).content_string == "root\n0\n"


def test_a_gate_that_changes_restarts_nothing(
    agents: dict[str, fleet.Agent], tmp_path: Path, restored: None
) -> None:
    before = agents["researcher"]
    pid = before.pid
    fleet.deploy(fleet.changed_fleet(tmp_path, researcher={"min_healthy_time": 2}))
    after = fleet.agents()["researcher"]
    assert after.release != before.release
    assert after.pid == pid


def test_a_config_that_changes_reads_no_unit_anew_and_the_history_tells_who_when_and_how_long(
    researcher: fleet.Agent, tmp_path: Path, restored: None
) -> None:
    reloads = "journalctl --quiet --boot --grep '^Reloading' _PID=1 | wc -l"
    known = researcher.machine.check_output(reloads)
    # A release that no other test can have left staged: one that is there already is not checked again.
    fleet.deploy(fleet.changed_fleet(tmp_path, researcher={"environment": {"ONLY_HERE": "config"}}))
    assert fleet.agents()["researcher"].release != researcher.release
    assert researcher.machine.check_output(reloads) == known
    last = json.loads(researcher.machine.check_output("tail -n 1 /var/lib/muster/history.jsonl"))
    assert (last["name"], last["result"], last["before"]) == ("researcher", "released", researcher.release)
    assert last["who"]["user"]
    assert len(last["who"]["commit"]) == 40
    assert {"lock", "stage", "check", "switch", "gate"} <= set(last["seconds"])
