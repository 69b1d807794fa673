# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the plugins share is compiled once and not on each run, with Ansible's own importer of collections in place."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.plugins.builders import REPOSITORY

IMPORT = """
import sys
from ansible.plugins.loader import init_plugin_loader

init_plugin_loader([sys.argv[1]])
from ansible_collections.muster.agents.plugins.plugin_utils import quantity
from ansible_collections.muster.agents.plugins.module_utils.engine import envfile

print(quantity.__file__, envfile.__file__, getattr(quantity, "NEW", None))
"""


@pytest.fixture
def plugins(tmp_path: Path) -> Path:
    """Those of a collection that was just installed."""
    folder = tmp_path / "ansible_collections/muster/agents"
    folder.mkdir(parents=True)
    for name in ("galaxy.yml", "meta"):
        (folder / name).symlink_to(REPOSITORY / name)
    leave = shutil.ignore_patterns("__pycache__")
    for name in ("module_utils", "plugin_utils"):
        shutil.copytree(REPOSITORY / "plugins" / name, folder / "plugins" / name, ignore=leave)
    return folder / "plugins"


def imported(plugins: Path, **environment: str) -> list[str]:
    """The file of a shared module, that of one of the engine's, and what the first has under a new name."""
    settings = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    command = [sys.executable, "-c", IMPORT, str(plugins.parents[3])]
    return subprocess.check_output(command, env={**settings, **environment}, cwd=plugins, text=True).split()


def compiled(plugins: Path) -> set[str]:
    return {path.name.partition(".")[0] for path in plugins.rglob("*.pyc")}


def test_modules_are_kept_compiled_beside_their_sources(plugins: Path) -> None:
    quantity, envfile, _new = imported(plugins)
    assert Path(quantity) == plugins / "plugin_utils/quantity.py"
    assert Path(envfile) == plugins / "module_utils/engine/envfile.py"
    assert {"quantity", "envfile"} <= compiled(plugins)


def test_a_changed_source_counts_at_once(plugins: Path) -> None:
    imported(plugins)
    with (plugins / "plugin_utils/quantity.py").open("a") as source:
        source.write("\nNEW = 'new'\n")
    assert imported(plugins)[2] == "new"


def test_nothing_is_written_for_those_who_asked_python_not_to(plugins: Path) -> None:
    imported(plugins, PYTHONDONTWRITEBYTECODE="1")
    assert not compiled(plugins)
