# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The ways to the engine on a host: whether it is there or not, and with pipelining or without, the answer is the same."""

from __future__ import annotations

import fleet
import pytest

ENGINE = "/usr/local/lib/muster/muster.pyz"
BY_MODULE = "Using module file"


def test_an_installed_engine_is_asked_without_a_module(agents: dict[str, fleet.Agent]) -> None:
    outcome = fleet.deploy("-vvv")
    assert set(outcome.changed().values()) == {0}
    assert f"{ENGINE} apply --engine" in outcome.output
    assert BY_MODULE not in outcome.output


def test_without_pipelining_a_module_asks_it(
    agents: dict[str, fleet.Agent], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANSIBLE_PIPELINING", "false")
    outcome = fleet.deploy("-vvv")
    assert set(outcome.changed().values()) == {0}
    assert f"{BY_MODULE} " in outcome.output
    assert "engine_call.py" in outcome.output
    assert f"{ENGINE} apply" not in outcome.output


@pytest.mark.parametrize(
    "deed", [f"rm {ENGINE}", f"printf altered >> {ENGINE}", f"chmod -x {ENGINE}", f": > {ENGINE}"]
)
def test_an_engine_that_is_not_as_it_should_be_is_brought_again(
    agents: dict[str, fleet.Agent], deed: str
) -> None:
    host = fleet.machine("agent-1")
    good = host.file(ENGINE).sha256sum
    host.check_output(deed)
    outcome = fleet.deploy()
    assert set(outcome.changed().values()) == {0}
    assert host.file(ENGINE).sha256sum == good
    assert host.check_output("muster status")
    assert {name: one.pid for name, one in fleet.agents().items()} == {
        name: one.pid for name, one in agents.items()
    }


def test_somebody_else_than_root_is_told_what_is_missing(agents: dict[str, fleet.Agent]) -> None:
    outcome = fleet.play("deploy.yml", "-e", "ansible_become=false", "-e", "ansible_become_user=")
    assert outcome.code != 0
    assert "root is needed on the host; set `become: true`" in outcome.output
    assert "Traceback" not in outcome.output
