# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""After a kill: nothing lies around, and no transaction, however broken, keeps a host from the next deploy."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.muster.agents.plugins.module_utils.engine import commit, recover, switch
from ansible_collections.muster.agents.plugins.module_utils.engine.gate import Watch
from ansible_collections.muster.agents.plugins.module_utils.engine.layout import Layout
from ansible_collections.muster.agents.plugins.module_utils.engine.state import State, load, save
from tests.unit.plugins.builders import KEY, UNIT, wanted
from tests.unit.plugins.small_host import Host, host, version

__all__ = ["host"]

OLD, NEW = "b" * 16, wanted().manifest.release


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path)


def test_where_nothing_is_unfinished_nothing_is_done(layout: Layout) -> None:
    save(layout, State())
    before = layout.state.read_bytes()
    assert recover.recover(layout, {}) == []
    assert layout.state.read_bytes() == before
    assert not layout.history.exists()


def test_what_a_kill_left_is_swept_and_what_is_others_stays(layout: Layout) -> None:
    units, elsewhere = layout.on_host("/etc/systemd/system"), layout.on_host("/etc/mosquitto")
    left = [
        layout.secrets / ".writer.env.muster-new",
        layout.secrets / ".writer.env.muster-0a1b2c3d",
        layout.secrets / ".writer.env.before",
        units / ".agent-writer.service.muster-old",
        elsewhere / ".passwords.muster-new",
        layout.lib / ".state.json.muster-old",
        layout.workload(KEY) / ".current.muster-new",
        layout.releases(KEY) / f".{OLD}.new" / "env",
        layout.run / "check-ayawo5wt" / "agent-writer.service",
    ]
    stays = [
        layout.secrets / "writer.env",
        units / "agent-writer.service",
        units / ".#agent-writer.service1234",
        elsewhere / ".passwords.swp",
        layout.releases(KEY) / OLD / "env",
        layout.workload(KEY) / "hold.json",
    ]
    for path in left + stays:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("canary")
    recover.sweep(layout, [elsewhere])
    assert [path for path in left if path.exists()] == []
    assert [path for path in stays if not path.exists()] == []


@pytest.mark.parametrize(
    ("key", "touched", "words"),
    [
        (KEY, {}, "does not say what it touched"),
        (KEY, {KEY: {"unit": "u"}}, "does not say what it touched"),
        ("../../etc", {"../../etc": {}}, "is not a workload's name"),
        (
            KEY,
            {KEY: {"unit": "u", "invocation": "", "action": "restart", "swaps": [{"path": "../x"}]}},
            "not readable",
        ),
    ],
)
def test_a_transaction_that_cannot_be_followed_is_told_and_does_not_stay(
    layout: Layout, key: str, touched: dict[str, Any], words: str
) -> None:
    save(layout, State({}, {"before": {key: OLD}, "after": {key: NEW}, "touched": touched}))
    (outcome,) = recover.recover(layout, {"user": "ada"})
    assert (outcome.result, outcome.phase, outcome.before, outcome.after) == ("failed", "revert", OLD, None)
    assert words in outcome.reason
    assert load(layout).transaction is None
    entry = json.loads(layout.history.read_text())
    assert (entry["via"], entry["result"], entry["who"]) == ("recovery", "failed", {"user": "ada"})
    assert recover.recover(layout, {}) == []


def killed(host: Host, number: int, secrets: dict[str, str]) -> None:
    """An engine was killed just after it had switched to another release with other secrets."""
    layout, item = host.layout, replace(version(number), secrets=secrets)
    before, after = load(layout).release(KEY), host.stage(item)
    swaps = tuple(switch.prepare(layout, KEY, after, before, item.secrets_text))
    state, one = load(layout), commit.Touched(KEY, UNIT, before, after, "gone", "restart", swaps)
    state.transaction = {"before": {KEY: before}, "after": {KEY: after}, "touched": {KEY: one.as_dict()}}
    save(layout, state)
    switch.switch(swaps)


def test_neither_the_old_nor_the_new_secrets_are_told_of_what_does_not_come_back(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unhealthy(watches: Iterable[Watch], parallel: int) -> None:
        for watch in watches:
            watch.verdict = "answered canary-of-today"
            watch.log = ["key canary-of-today", "once canary-of-tomorrow"]

    monkeypatch.setattr(commit, "start_and_gate", unhealthy)
    monkeypatch.setattr(commit, "register", lambda units: {})
    host.release(version(1))
    killed(host, 2, {"API_KEY": "canary-of-tomorrow"})
    (outcome,) = recover.recover(host.layout, {})
    assert (outcome.result, outcome.log) == ("failed", ["key ********", "once ********"])
    assert "it answered ********" in outcome.reason
    assert "canary" not in host.layout.history.read_text()
    assert "canary-of-today" in host.layout.secrets_file(KEY).read_text()
