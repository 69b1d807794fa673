# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Hosts that cannot run agents: said in one line, and the other hosts go on."""

from __future__ import annotations

import fleet


def test_a_host_without_python(agents: dict[str, fleet.Agent], restored: None) -> None:
    bare, good = fleet.machine("agent-2"), agents["writer-agent-1"]
    bare.check_output("mkdir /root/hidden && mv /usr/bin/python3* /root/hidden")
    assert fleet.play("playbooks/remove.yml", "-e", "agent=writer", "--limit", "agent-1").code == 0
    try:
        outcome = fleet.play("deploy.yml")
    finally:
        bare.check_output("mv /root/hidden/* /usr/bin && rmdir /root/hidden")
    assert outcome.code != 0
    assert "agent-2" in outcome.output
    assert "Python 3.9" in outcome.output
    assert "Traceback" not in outcome.output
    assert good.get("/ready")[0] == 200
