# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The virtual environment's pins."""

from __future__ import annotations

from pathlib import Path

from dev import ROOT, venv


def test_an_included_file_counts_where_it_is_included(tmp_path: Path) -> None:
    (tmp_path / "more.txt").write_text("# why\nb==2\n")
    (tmp_path / "all.txt").write_text("a==1\n-r more.txt\n\nc==3\n")
    assert venv.pins(tmp_path / "all.txt") == ["a==1", "b==2", "c==3"]


def test_every_requirement_is_pinned() -> None:
    for name in ("requirements-dev.txt", "src/requirements.txt"):
        assert all("==" in pin for pin in venv.pins(ROOT / name))
