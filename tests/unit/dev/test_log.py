# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the log of a test stage tells."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from dev import log
from dev.shell import Failure


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The logs of this very run are left alone."""
    monkeypatch.setattr(log, "CACHE", tmp_path)
    monkeypatch.setattr(log, "ROOT", tmp_path)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("=========== 12 passed, 1 skipped in 3.40s ===========", "12 passed, 1 skipped"),
        ("    - ======= 53 passed in 185.40s (0:03:05) =======", "53 passed"),
        ("no tests here", ""),
    ],
)
def test_pytests_last_line_is_found(line: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "pytest.py").write_text(f"print({line!r})")
    stage = log.Log("stage")
    stage.run(sys.executable, tmp_path / "pytest.py")
    assert stage.tests() == told


def test_a_failure_shows_the_end_of_the_log() -> None:
    with pytest.raises(Failure, match=r"the last word\n(.|\n)*exit code 3; the whole log: logs/stage.log"):
        log.Log("stage").run(sys.executable, "-c", "print('the last word'); raise SystemExit(3)")
