# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The switch on disk: one release or the other, its files in place, the other's gone."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ansible_collections.muster.agents.plugins.module_utils.engine import switch
from ansible_collections.muster.agents.plugins.module_utils.engine.errors import EngineError
from ansible_collections.muster.agents.plugins.module_utils.engine.layout import Layout
from ansible_collections.muster.agents.plugins.module_utils.engine.request import Wanted
from ansible_collections.muster.agents.plugins.module_utils.engine.stage import stage_release
from tests.unit.plugins.builders import KEY, TEXTS, UNIT_PATH, wanted

NEW_TEXTS = {**TEXTS, "unit": "[Unit]\nDescription=new\n", "timer": "[Timer]\n"}
TIMER_PATH = "/etc/systemd/system/agent-writer.timer"
OLD = wanted()
NEW = wanted(
    NEW_TEXTS,
    install={
        UNIT_PATH: {"file": "unit", "mode": "0644"},
        TIMER_PATH: {"file": "timer", "mode": "0600"},
    },
)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = Layout(tmp_path)
    stage_release(layout, OLD)
    stage_release(layout, NEW)
    return layout


def to(layout: Layout, item: Wanted, secrets: str | None = None) -> None:
    switch.switch(layout, KEY, item.manifest.release, secrets)


def test_it_points_at_the_release_and_installs_its_files(layout: Layout) -> None:
    to(layout, NEW)
    assert os.readlink(layout.current(KEY)) == f"releases/{NEW.manifest.release}"
    assert (layout.current(KEY) / "agent.toml").read_text() == TEXTS["agent.toml"]
    unit, timer = layout.on_host(UNIT_PATH), layout.on_host(TIMER_PATH)
    assert (unit.read_text(), unit.stat().st_mode & 0o777) == (NEW_TEXTS["unit"], 0o644)
    assert (timer.read_text(), timer.stat().st_mode & 0o777) == (NEW_TEXTS["timer"], 0o600)


def test_what_only_the_previous_release_installed_is_removed(layout: Layout) -> None:
    to(layout, NEW)
    to(layout, OLD)
    assert layout.on_host(UNIT_PATH).read_text() == TEXTS["unit"]
    assert not layout.on_host(TIMER_PATH).exists()


def test_it_may_be_repeated(layout: Layout) -> None:
    to(layout, NEW, 'A="1"\n')
    to(layout, NEW, 'A="1"\n')
    assert layout.on_host(TIMER_PATH).exists()
    assert os.readlink(layout.current(KEY)) == f"releases/{NEW.manifest.release}"


@pytest.mark.parametrize("name", sorted(NEW_TEXTS))
def test_a_damaged_release_is_refused_and_the_old_one_stays(layout: Layout, name: str) -> None:
    to(layout, OLD, 'A="old"\n')
    (layout.release(KEY, NEW.manifest.release) / name).write_text("tampered")
    with pytest.raises(EngineError, match=f"{name} altered since it was staged"):
        to(layout, NEW, 'A="new"\n')
    assert os.readlink(layout.current(KEY)) == f"releases/{OLD.manifest.release}"
    assert layout.on_host(UNIT_PATH).read_text() == TEXTS["unit"]
    assert layout.secrets_file(KEY).read_text() == 'A="old"\n'


def test_a_release_that_is_not_there_is_refused(layout: Layout) -> None:
    with pytest.raises(EngineError, match="missing"):
        switch.switch(layout, KEY, "0" * 16, None)
    assert not layout.current(KEY).is_symlink()


def test_a_damaged_previous_release_is_left_behind(layout: Layout) -> None:
    to(layout, OLD)
    (layout.release(KEY, OLD.manifest.release) / "manifest.json").write_text("{}")
    to(layout, NEW)
    assert os.readlink(layout.current(KEY)) == f"releases/{NEW.manifest.release}"


def test_secrets_are_for_root_alone_and_go_when_there_are_none(layout: Layout) -> None:
    to(layout, NEW, 'A="canary"\n')
    path = layout.secrets_file(KEY)
    assert (path.read_text(), path.stat().st_mode & 0o777) == ('A="canary"\n', 0o600)
    assert path.parent.stat().st_mode & 0o777 == 0o700
    to(layout, NEW, None)
    assert os.listdir(path.parent) == []


def test_secrets_are_set_aside_for_a_revert(layout: Layout) -> None:
    assert not switch.keep_secrets(layout, KEY)
    to(layout, OLD, 'A="yesterday"\n')
    assert switch.keep_secrets(layout, KEY)
    to(layout, NEW, 'A="today"\n')
    before = layout.secrets_before(KEY)
    assert (before.read_text(), before.stat().st_mode & 0o777) == ('A="yesterday"\n', 0o600)
    to(layout, NEW, None)
    assert not switch.keep_secrets(layout, KEY)
    assert not before.exists(), "yesterday's secrets would come back for an agent that has none"
