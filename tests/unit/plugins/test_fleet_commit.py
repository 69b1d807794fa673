# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which commit the fleet is at."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from ansible_collections.muster.agents.plugins.plugin_utils.fleet_commit import FleetCommit


def git(folder: Path, *words: str) -> str:
    who = ["-c", "user.name=tester", "-c", "user.email=tester@example.com"]
    done = subprocess.run(
        ["git", "-C", str(folder), *who, *words], check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


@pytest.fixture
def fleet(tmp_path: Path) -> Path:
    git(tmp_path, "init", "--quiet")
    (tmp_path / "fleet.yml").write_text("fleet: {}\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "--message", "Begin")
    return tmp_path


def test_the_commit_is_known(fleet: Path) -> None:
    assert FleetCommit(str(fleet)).answer() == {"commit": git(fleet, "rev-parse", "HEAD")}


def test_a_change_that_is_not_committed_is_told(fleet: Path) -> None:
    (fleet / "fleet.yml").write_text("fleet: {writer: {}}\n")
    assert FleetCommit(str(fleet)).answer()["dirty"] == "yes"


def test_a_repository_without_a_commit_has_none(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet")
    assert FleetCommit(str(tmp_path)).answer() == {}


def test_a_fleet_outside_of_git_has_no_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert FleetCommit(str(tmp_path)).answer() == {}


def test_a_machine_without_git_has_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert FleetCommit(str(tmp_path)).answer() == {}
