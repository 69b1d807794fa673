# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is written down of a release, and what a revert does to the process that it finds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ansible_collections.muster.agents.plugins.module_utils.engine.commit import (
    Touched,
    commit,
    touched_by,
    way_back,
)
from ansible_collections.muster.agents.plugins.module_utils.engine.compare import Change, owed_file
from ansible_collections.muster.agents.plugins.module_utils.engine.errors import EngineError
from ansible_collections.muster.agents.plugins.module_utils.engine.gate import Watch
from ansible_collections.muster.agents.plugins.module_utils.engine.layout import Layout
from ansible_collections.muster.agents.plugins.module_utils.engine.outcome import RELEASED, Outcome
from ansible_collections.muster.agents.plugins.module_utils.engine.reasons import RECORD, RELOAD, RESTART
from ansible_collections.muster.agents.plugins.module_utils.engine.state import State, record
from ansible_collections.muster.agents.plugins.module_utils.engine.switch import Swap
from ansible_collections.muster.agents.plugins.module_utils.engine.systemd import Unit
from tests.unit.plugins.builders import KEY, RUNNING, UNIT, UNIT_PATH, wanted

ITEM = wanted()
OLD = "b" * 16
TOUCHED = Touched(KEY, UNIT, OLD, "c" * 16, "new", RESTART, (Swap(Path(UNIT_PATH), True, True),))


def committed(layout: Layout, state: State, *reasons: str) -> Outcome:
    change = Change(KEY, ITEM.manifest, OLD, ITEM.manifest.release, list(reasons), RESTART)
    return commit(layout, state, change, Watch(ITEM.manifest, RESTART, verdict=""), 'A="secret"\n')


def test_a_release_that_is_healthy_is_current_and_proven(tmp_path: Path) -> None:
    state = State({KEY: {"release": OLD, "proven": [ITEM.manifest.release, OLD]}})
    outcome = committed(Layout(tmp_path), state)
    assert (outcome.result, outcome.before, outcome.after) == (RELEASED, OLD, ITEM.manifest.release)
    assert state.release(KEY) == ITEM.manifest.release
    assert state.proven(KEY) == [OLD, ITEM.manifest.release]
    assert state.workloads[KEY]["secrets"] == state.digest('A="secret"\n')
    assert "secret" not in str(state.workloads[KEY].values())


def test_what_was_owed_is_paid(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    layout.workload(KEY).mkdir(parents=True)
    owed_file(layout, KEY).touch()
    committed(layout, State())
    assert not owed_file(layout, KEY).exists()


def test_a_state_that_was_lost_is_rebuilt_from_the_history_and_that_is_said(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    for release in (OLD, "d" * 16):
        layout.release(KEY, release).mkdir(parents=True)
    record(layout, {"key": KEY, "result": "released", "after": OLD})
    record(layout, {"key": KEY, "result": "released", "after": "e" * 16})  # is not on the disk any more
    state = State()
    (warning,) = committed(layout, state, "not recorded").warnings
    assert state.proven(KEY) == [OLD, ITEM.manifest.release]
    assert warning.endswith(f"({OLD})")


@pytest.mark.parametrize(
    ("unit", "action", "expected"),
    [
        # It was never restarted: the old process is left alone, or told to read its files again.
        (RUNNING, RESTART, RECORD),
        (RUNNING, RECORD, RECORD),
        (RUNNING, RELOAD, RELOAD),
        (replace(RUNNING, active="reloading"), RELOAD, RELOAD),
        # It was, or it is about to be, or it ended by itself, or the machine was booted.
        (replace(RUNNING, job=7), RESTART, RESTART),
        (replace(RUNNING, invocation="other"), RESTART, RESTART),
        (replace(RUNNING, invocation="other"), RECORD, RESTART),
        (replace(RUNNING, active="failed"), RESTART, RESTART),
        (replace(RUNNING, active="deactivating"), RESTART, RESTART),
        (replace(RUNNING, active="inactive", invocation=""), RESTART, RESTART),
    ],
)
def test_a_revert_touches_only_what_was_touched(unit: Unit, action: str, expected: str) -> None:
    assert way_back(replace(TOUCHED, action=action), unit) == expected


def test_what_did_not_run_before_is_started() -> None:
    stopped = replace(RUNNING, active="inactive", invocation="")
    assert way_back(replace(TOUCHED, invocation=""), stopped) == RESTART


def test_what_a_transaction_touched_is_read_back_as_it_was_written() -> None:
    transaction = {"before": {KEY: OLD}, "after": {KEY: "c" * 16}, "touched": {KEY: TOUCHED.as_dict()}}
    assert touched_by(transaction, KEY) == TOUCHED


@pytest.mark.parametrize("touched", [{}, {KEY: {}}, {KEY: {"unit": UNIT, "swaps": [{"path": "x"}]}}])
def test_a_transaction_that_cannot_be_followed_is_told(touched: dict[str, object]) -> None:
    transaction = {"before": {KEY: OLD}, "after": {KEY: "c" * 16}, "touched": touched}
    with pytest.raises(EngineError):
        touched_by(transaction, KEY)


def test_seconds_are_rounded_in_the_report() -> None:
    outcome = Outcome(KEY, "writer", RELEASED, None, OLD, seconds={"gate": 1.23456})
    assert outcome.as_dict()["seconds"] == {"gate": 1.235}
