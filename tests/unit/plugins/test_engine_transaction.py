# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is told of a transaction in which something goes wrong that nobody foresaw."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pytest

from ansible_collections.muster.agents.plugins.module_utils.engine import commit, systemd, transaction
from ansible_collections.muster.agents.plugins.module_utils.engine.compare import compare
from ansible_collections.muster.agents.plugins.module_utils.engine.gate import Watch
from ansible_collections.muster.agents.plugins.module_utils.engine.request import Wanted
from ansible_collections.muster.agents.plugins.module_utils.engine.state import load
from tests.unit.plugins.small_host import Host, host, version

__all__ = ["host"]


def agent(name: str, number: int) -> Wanted:
    unit = f"agent-{name}.service"
    install = {f"/etc/systemd/system/{unit}": {"file": "unit", "mode": "0644"}}
    return version(number, name=name, base=name, unit=unit, install=install)


def test_what_was_committed_is_told_also_when_the_revert_of_another_raises(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gate(watches: Iterable[Watch], parallel: int) -> None:
        for watch in watches:
            watch.verdict = "" if watch.manifest.name == "editor" else "crashed"

    real, raised = commit.revert, []

    def revert(*arguments: Any) -> Any:
        if not raised:
            raised.append(True)
            raise OSError(5, "Input/output error", "/x")
        return real(*arguments)

    for module in (transaction, commit):
        monkeypatch.setattr(module, "start_and_gate", gate)
        monkeypatch.setattr(module, "register", lambda *units: {})
    monkeypatch.setattr(transaction, "revert", revert)
    monkeypatch.setattr(systemd, "run", lambda *words, **more: pytest.fail(f"ran {words}"))
    for name in ("editor", "writer"):
        host.release(agent(name, 1))
    wanted = {item.manifest.key: item for item in (agent("editor", 2), agent("writer", 2))}
    for item in wanted.values():
        host.stage(item)
    texts = {key: item.secrets_text for key, item in wanted.items()}
    changes = compare(host.layout, wanted)
    outcomes = transaction.transact(host.layout, changes, texts, transaction.Order())
    assert {one.name: one.result for one in outcomes} == {"editor": "released", "writer": "failed"}
    told = [json.loads(line) for line in host.layout.history.read_text().splitlines()]
    assert {one["name"]: one["result"] for one in told} == {"editor": "released", "writer": "failed"}
    state = load(host.layout)
    assert state.transaction is None
    assert state.release("agents/editor") == wanted["agents/editor"].manifest.release
    assert state.release("agents/writer") == agent("writer", 1).manifest.release
    assert list(host.layout.root.rglob("*.muster-*")) == []
