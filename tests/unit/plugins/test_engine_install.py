# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The engine puts itself on a host: once, whole, and only where it may."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ansible_collections.muster.agents.plugins.module_utils.engine import VERSION, install, systemd
from ansible_collections.muster.agents.plugins.module_utils.engine.errors import EngineError
from ansible_collections.muster.agents.plugins.module_utils.engine.layout import Layout
from ansible_collections.muster.agents.plugins.plugin_utils.engine_archive import engine_archive
from tests.unit.plugins.builders import fill, small_disk


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The engine as it arrived, and is running; systemd, which is not here, is not asked."""
    path = tmp_path / "arrived.pyz"
    path.write_bytes(engine_archive()[0])
    monkeypatch.setattr(sys, "argv", [str(path)])
    monkeypatch.setattr(systemd, "systemctl", lambda *words: None)
    return path


def inodes(root: Path) -> dict[str, int]:
    return {str(path): path.lstat().st_ino for path in root.rglob("*")}


def test_it_is_installed_and_runs_by_its_name(tmp_path: Path, program: Path) -> None:
    layout = Layout(tmp_path / "host")
    assert not install.is_installed(layout, program)
    install.install(layout)
    assert install.is_installed(layout, program)
    assert os.readlink(layout.on_host("/usr/local/bin/muster")) == str(layout.engine)
    assert subprocess.check_output([layout.engine, "--version"], text=True) == f"muster {VERSION}\n"
    unit = layout.on_host("/etc/systemd/system/muster-resume.service").read_text()
    assert f"ExecStart={layout.engine} resume\n" in unit
    for path, text, mode in install.FILES:
        assert layout.on_host(path).read_text() == text
        assert layout.on_host(path).stat().st_mode & 0o777 == mode


def test_a_second_time_nothing_is_written(tmp_path: Path, program: Path) -> None:
    layout = Layout(tmp_path / "host")
    install.install(layout)
    before = inodes(layout.root)
    install.install(layout)
    assert inodes(layout.root) == before


def test_a_unit_that_was_written_and_not_enabled_is_enabled(
    tmp_path: Path, program: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout, calls = Layout(tmp_path / "host"), []
    install.install(layout)  # and killed before systemd had made the link
    monkeypatch.setattr(systemd, "systemctl", lambda *words: calls.append(words))
    install.install(layout)
    assert calls == [("enable", "--", "muster-resume.service")]
    link = layout.units / "multi-user.target.wants" / "muster-resume.service"
    link.parent.mkdir()
    link.symlink_to("../muster-resume.service")
    install.install(layout)
    assert len(calls) == 1


def test_another_engine_takes_its_place(tmp_path: Path, program: Path) -> None:
    layout = Layout(tmp_path / "host")
    layout.engine.parent.mkdir(parents=True)
    layout.engine.write_bytes(b"an older one")
    (layout.engine.parent / "compiled-0123456789abcdef-cpython-39.zip").touch()
    install.install(layout)
    assert layout.engine.read_bytes() == program.read_bytes()
    mine = install.compiled(layout, program).name
    assert sorted(os.listdir(layout.engine.parent)) == [mine, "muster.pyz", "with-secrets"]


def imported_from(layout: Layout) -> str:
    """The file of one of the engine's modules, as the installed engine imports it."""
    asked = "import runpy, sys; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0])"
    tell = f"import atexit, sys; atexit.register(lambda: print(sys.modules['muster.cli'].__file__)); {asked}"
    said = subprocess.check_output(
        [sys.executable, "-I", "-c", tell, str(layout.engine), "--version"], text=True
    )
    return said.splitlines()[-1]


def test_what_is_installed_does_not_compile_itself_at_every_call(tmp_path: Path, program: Path) -> None:
    layout = Layout(tmp_path / "host")
    install.install(layout)
    compiled = install.compiled(layout, program)
    assert imported_from(layout) == f"{compiled}/muster/cli.pyc"
    # Another Python, or none that compiled: it runs all the same.
    compiled.unlink()
    assert imported_from(layout) == f"{layout.engine}/muster/cli.py"


def test_on_a_full_disk_it_refuses_and_the_old_one_stays(tmp_path: Path, program: Path) -> None:
    with small_disk(tmp_path / "host", "size=64k"):
        layout = Layout(tmp_path / "host")
        layout.engine.parent.mkdir(parents=True)
        layout.engine.write_bytes(b"an older one")
        fill(layout.root)
        with pytest.raises(
            EngineError, match=r"muster\.pyz: the engine could not be installed: No space left"
        ):
            install.install(layout)
        assert layout.engine.read_bytes() == b"an older one"
        assert os.listdir(layout.engine.parent) == ["muster.pyz"]


def test_what_runs_from_its_sources_installs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", [__file__])
    install.install(Layout(tmp_path / "host"))
    assert not (tmp_path / "host").exists()
