# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The switch on disk: one release or the other, its files in place, the other's gone."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.muster.agents.plugins.module_utils.engine import switch
from ansible_collections.muster.agents.plugins.module_utils.engine.compare import current_release
from ansible_collections.muster.agents.plugins.module_utils.engine.errors import EngineError
from ansible_collections.muster.agents.plugins.module_utils.engine.files import beside
from ansible_collections.muster.agents.plugins.module_utils.engine.layout import Layout
from ansible_collections.muster.agents.plugins.module_utils.engine.request import Wanted
from ansible_collections.muster.agents.plugins.module_utils.engine.stage import stage_release
from ansible_collections.muster.agents.plugins.module_utils.engine.switch import Swap
from tests.unit.plugins.builders import KEY, TEXTS, UNIT_PATH, fill, released, small_disk, wanted

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
    swaps = ready(layout, item, secrets)
    switch.switch(swaps)
    switch.forget(swaps)


def ready(layout: Layout, item: Wanted, secrets: str | None = None) -> list[Swap]:
    before = current_release(layout, KEY)
    return switch.prepare(layout, KEY, item.manifest.release, before, secrets)


def seen(layout: Layout) -> dict[str, str]:
    """All that people and systemd see below the root, without what lies in the releases."""
    found = {}
    for path in layout.root.rglob("*"):
        if path.is_symlink():
            found[str(path.relative_to(layout.root))] = os.readlink(path)
        elif path.is_file() and "releases" not in path.parts:
            found[str(path.relative_to(layout.root))] = f"{path.stat().st_mode & 0o777:o} {path.read_text()}"
    return found


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
        switch.prepare(layout, KEY, "0" * 16, None, None)
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


# --- and back -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("secrets", [None, 'A="old"\n', 'A="new"\n'])
@pytest.mark.parametrize("item", [OLD, NEW])
def test_undoing_brings_back_everything(layout: Layout, item: Wanted, secrets: str | None) -> None:
    to(layout, OLD, 'A="old"\n')
    before = seen(layout)
    swaps = ready(layout, item, secrets)
    switch.switch(swaps)
    assert switch.undo(swaps) == []
    switch.forget(swaps)
    assert seen(layout) == before


def test_a_first_release_is_undone_to_nothing(layout: Layout) -> None:
    swaps = ready(layout, NEW, 'A="1"\n')
    switch.switch(swaps)
    switch.undo(swaps)
    switch.forget(swaps)
    assert seen(layout) == {}


@pytest.mark.parametrize("renames", range(6))
def test_a_crash_at_any_rename_is_undone(layout: Layout, renames: int) -> None:
    """Some paths have arrived, others not; and the undoing is cut short as well, and done again."""
    to(layout, NEW, 'A="old"\n')
    before = seen(layout)
    swaps = ready(layout, OLD, 'A="new"\n')
    assert len(swaps) == 4  # the link, two units of which one goes, the secrets
    switch.switch(swaps[:renames])
    switch.undo(swaps[:2])
    switch.undo(swaps)
    switch.forget(swaps)
    assert seen(layout) == before


def test_the_switch_and_its_undoing_are_repeatable(layout: Layout) -> None:
    to(layout, OLD)
    before = seen(layout)
    swaps = ready(layout, NEW, 'A="new"\n')
    switch.switch(swaps)
    switch.switch(swaps)
    assert layout.on_host(UNIT_PATH).read_text() == NEW_TEXTS["unit"]
    switch.undo(swaps)
    switch.undo(swaps)
    switch.forget(swaps)
    assert seen(layout) == before


def test_neither_needs_space_nor_inodes(layout: Layout) -> None:
    """After the preparation the disk fills up to the last byte and the last inode."""
    with small_disk(layout.root / "disk", "size=512k,nr_inodes=100"):
        small = Layout(layout.root / "disk")
        released(small, OLD, 'A="old"\n')
        stage_release(small, NEW)
        before = seen(small)
        swaps = switch.prepare(small, KEY, NEW.manifest.release, OLD.manifest.release, 'A="new"\n')
        fill(small.root)
        switch.switch(swaps)
        assert small.on_host(UNIT_PATH).read_text() == NEW_TEXTS["unit"]
        assert small.secrets_file(KEY).read_text() == 'A="new"\n'
        assert switch.undo(swaps) == []
        switch.forget(swaps)
        for path in small.root.glob("fill*"):
            path.unlink()
        assert seen(small) == before


def test_what_cannot_be_prepared_is_refused_with_its_file_and_leaves_nothing(layout: Layout) -> None:
    to(layout, OLD, 'A="old"\n')
    before = seen(layout)
    layout.on_host(TIMER_PATH).mkdir()
    with pytest.raises(EngineError, match=f"{TIMER_PATH}: cannot be prepared: .*; nothing was changed"):
        ready(layout, NEW, 'A="new"\n')
    layout.on_host(TIMER_PATH).rmdir()
    assert seen(layout) == before


def test_a_group_that_is_not_there_is_refused(layout: Layout) -> None:
    item = wanted(install={UNIT_PATH: {"file": "unit", "mode": "0640", "group": "no-such-group"}})
    stage_release(layout, item)
    with pytest.raises(EngineError, match="no-such-group"):
        ready(layout, item)
    assert seen(layout) == {}


def test_what_is_right_already_is_not_written_again(layout: Layout) -> None:
    to(layout, OLD, 'A="1"\n')
    assert ready(layout, OLD, 'A="1"\n') == []
    assert [swap.path for swap in ready(layout, OLD, 'A="2"\n')] == [layout.secrets_file(KEY)]


def test_an_edit_by_hand_does_not_come_back(layout: Layout) -> None:
    """The way back is to the release, not to what somebody made of it."""
    to(layout, OLD)
    layout.on_host(UNIT_PATH).write_text("edited")
    swaps = ready(layout, NEW)
    switch.switch(swaps)
    switch.undo(swaps)
    assert layout.on_host(UNIT_PATH).read_text() == TEXTS["unit"]


def test_of_a_damaged_release_what_is_on_disk_comes_back(layout: Layout) -> None:
    to(layout, OLD)
    (layout.release(KEY, OLD.manifest.release) / "manifest.json").write_text("{}")
    before = seen(layout)
    swaps = ready(layout, NEW)
    switch.switch(swaps)
    switch.undo(swaps)
    switch.forget(swaps)
    assert seen(layout) == before


def test_a_masked_unit_is_a_unit_again(layout: Layout) -> None:
    to(layout, OLD)
    layout.on_host(UNIT_PATH).unlink()
    layout.on_host(UNIT_PATH).symlink_to("/dev/null")
    to(layout, OLD)
    assert layout.on_host(UNIT_PATH).read_text() == TEXTS["unit"]


def test_what_is_gone_for_good_is_told(layout: Layout) -> None:
    to(layout, OLD)
    swaps = ready(layout, NEW)
    switch.switch(swaps)
    beside(layout.on_host(UNIT_PATH), "old").unlink()
    layout.on_host(UNIT_PATH).unlink()
    assert switch.undo(swaps) == [f"{layout.on_host(UNIT_PATH)}: what was there before is gone"]
    assert os.readlink(layout.current(KEY)) == f"releases/{OLD.manifest.release}"


def test_a_swap_is_read_back_as_it_was_written() -> None:
    swap = Swap(Path("/etc/x"), True, False)
    assert switch.from_dict(swap.as_dict()) == swap


@pytest.mark.parametrize(
    "raw", [None, {}, {"path": "etc/x", "new": 1, "old": 1}, {"path": "/a/../b", "new": 1, "old": 1}]
)
def test_a_swap_that_is_none_is_refused(raw: Any) -> None:
    with pytest.raises(EngineError, match="not readable"):
        switch.from_dict(raw)
