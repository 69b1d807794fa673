# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Committing and pruning: what was seen healthy is written down, and a way back is never thrown away."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.muster.agents.plugins.module_utils.engine import prune
from ansible_collections.muster.agents.plugins.module_utils.engine.commit import commit
from ansible_collections.muster.agents.plugins.module_utils.engine.compare import Change
from ansible_collections.muster.agents.plugins.module_utils.engine.files import link
from ansible_collections.muster.agents.plugins.module_utils.engine.gate import Watch
from ansible_collections.muster.agents.plugins.module_utils.engine.layout import Layout
from ansible_collections.muster.agents.plugins.module_utils.engine.manifest import Manifest
from ansible_collections.muster.agents.plugins.module_utils.engine.outcome import Outcome
from ansible_collections.muster.agents.plugins.module_utils.engine.reasons import RESTART
from ansible_collections.muster.agents.plugins.module_utils.engine.stage import stage_release, stage_runtimes
from ansible_collections.muster.agents.plugins.module_utils.engine.state import State
from tests.unit.plugins.builders import KEY, TEXTS, few, sha256, wanted


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path)


def names(path: Path) -> set[str]:
    return set(os.listdir(path)) if path.is_dir() else set()


def state_of(release: str | None, proven: list[str]) -> State:
    return State({KEY: {"release": release, "proven": proven, "unit": "u", "base": "writer"}})


# --- commit -------------------------------------------------------------------------------------------------


def committed(layout: Layout, state: State, document: Manifest, before: str | None, *reasons: str) -> Outcome:
    change = Change(KEY, document, before, document.release, reasons=list(reasons), action=RESTART)
    return commit(layout, state, change, Watch(document, RESTART, verdict=""), None)


def test_a_commit_says_what_is_current_and_proven(layout: Layout) -> None:
    state = state_of("a" * 16, ["b" * 16, "a" * 16])
    document = wanted().manifest
    outcome = committed(layout, state, document, "a" * 16)
    assert state.workloads[KEY] == {
        "release": document.release,
        "proven": ["b" * 16, "a" * 16, document.release],
        "unit": "agent-writer.service",
        "base": "writer",
        "agent_id": "writer-agent",
        "secrets": "",
    }
    assert (outcome.result, outcome.before, outcome.after) == ("released", "a" * 16, document.release)


def test_a_release_that_comes_back_is_the_newest_proven_again(layout: Layout) -> None:
    document = wanted().manifest
    state = state_of("a" * 16, [document.release, "a" * 16])
    committed(layout, state, document, "a" * 16)
    assert state.proven(KEY) == ["a" * 16, document.release]


def test_the_list_of_proven_releases_does_not_grow_for_ever(layout: Layout) -> None:
    state = State()
    for number in range(60):
        document = wanted({**TEXTS, "env": str(number)}).manifest
        committed(layout, state, document, None)
    assert len(state.proven(KEY)) == 50
    assert state.proven(KEY)[-1] == state.release(KEY) == document.release


# --- prune --------------------------------------------------------------------------------------------------

RELEASES = [f"{number:016x}" for number in range(12)]


@few
@given(
    on_disk=st.sets(st.sampled_from(RELEASES), min_size=1),
    proven=st.lists(st.sampled_from(RELEASES), unique=True),
    current=st.sampled_from(RELEASES),
    opened=st.lists(st.sampled_from(RELEASES), max_size=2),
    keep=st.integers(1, 6),
)
def test_what_a_rollback_needs_is_never_pruned(
    tmp_path_factory: pytest.TempPathFactory,
    on_disk: set[str],
    proven: list[str],
    current: str,
    opened: list[str],
    keep: int,
) -> None:
    layout = Layout(tmp_path_factory.mktemp("host"))
    for release in on_disk:
        layout.release(KEY, release).mkdir(parents=True)
    link(layout.current(KEY), f"releases/{current}")
    state = state_of(current, proven)
    if opened:
        state.transaction = {"before": {KEY: opened[0]}, "after": {KEY: opened[-1]}}
    prune.prune(layout, state, [KEY], keep)
    kept = names(layout.releases(KEY))
    there = [one for one in proven if one in on_disk]
    way_back = [one for one in there if one != current][-1:]
    assert kept == on_disk & {current, *way_back, *there[-keep:], *opened}
    assert [one for one in state.proven(KEY) if one in on_disk] == [one for one in there if one in kept]
    prune.prune(layout, state, [KEY], keep)
    assert names(layout.releases(KEY)) == kept


def test_nothing_is_left_of_an_agent_without_releases(layout: Layout) -> None:
    layout.release(KEY, RELEASES[0]).mkdir(parents=True)
    prune.prune(layout, State(), [KEY])
    assert not layout.workload(KEY).exists()


def test_an_agent_that_was_not_named_is_left_alone(layout: Layout) -> None:
    layout.release("agents/editor", RELEASES[0]).mkdir(parents=True)
    prune.prune(layout, State(), [KEY])
    assert layout.release("agents/editor", RELEASES[0]).exists()


def test_a_runtime_stays_as_long_as_any_release_of_any_agent_needs_it(layout: Layout, tmp_path: Path) -> None:
    digests = {}
    for text in ("old", "new", "unused"):
        (tmp_path / text).write_text(text)
        digests[text] = sha256(text)
        stage_runtimes(layout, {digests[text]: str(tmp_path / text)})
    items = [
        wanted(runtime={"name": "r", "version": text, "artifacts": {"any": digests[text]}})
        for text in ("old", "new")
    ]
    other = wanted(
        name="editor", runtime={"name": "r", "version": "old", "artifacts": {"any": digests["old"]}}
    )
    for item in (*items, other):
        stage_release(layout, item)
    old, new = (item.manifest.release for item in items)
    link(layout.current(KEY), f"releases/{new}")
    prune.prune(layout, state_of(new, [old, new]), [KEY])
    assert names(layout.runtimes) == {digests["old"], digests["new"]}
    prune.prune(layout, state_of(new, [new]), [KEY])
    assert names(layout.runtimes) == {digests["old"], digests["new"]}, "another agent still needs it"
    prune.prune(layout, State(), ["agents/editor"])
    assert names(layout.runtimes) == {digests["new"]}


def test_what_a_killed_run_left_among_the_runtimes_goes(layout: Layout) -> None:
    (layout.runtimes / f".{'a' * 64}.4711").mkdir(parents=True)
    prune.prune(layout, State(), [])
    assert names(layout.runtimes) == set()


def test_what_another_deploy_has_staged_and_not_switched_to_stays_with_its_runtime(
    layout: Layout, tmp_path: Path
) -> None:
    (tmp_path / "program").write_text("fresh")
    stage_runtimes(layout, {sha256("fresh"): str(tmp_path / "program")})
    runtime = {"name": "r", "version": "1", "artifacts": {"any": sha256("fresh")}}
    pending = wanted(name="editor", runtime=runtime)
    stage_release(layout, pending)
    prune.prune(layout, State(), [KEY])
    assert layout.release("agents/editor", pending.manifest.release).is_dir()
    assert names(layout.runtimes) == {sha256("fresh")}
    os.unlink(layout.release("agents/editor", pending.manifest.release) / "runtime")
    prune.prune(layout, State(), [KEY])
    assert names(layout.runtimes) == {sha256("fresh")}, "also where somebody removed the link"
