# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the plugins share. Its modules are loaded as Python loads any other: compiled once, and kept beside the source.

Ansible does so with the plugins themselves, but its importer of collections compiles all that a plugin imports on each run anew.
For a deploy that has nothing to do this was the largest part of the collection's own time on the controller.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType

_PLUGINS = Path(__file__).resolve().parents[1]
_PLUGINS_PACKAGE = __name__.rpartition(".")[0]
# Package → folder. The engine is here for what both sides have to know alike.
_FOLDERS = {
    __name__: _PLUGINS / "plugin_utils",
    f"{_PLUGINS_PACKAGE}.module_utils.engine": _PLUGINS / "module_utils" / "engine",
}


class _Compiled:
    """Finds the modules of these packages, before Ansible's importer does."""

    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        package, _dot, leaf = name.rpartition(".")
        if package not in _FOLDERS:
            return None
        file = _FOLDERS[package] / f"{leaf}.py"
        return spec_from_file_location(name, file) if file.is_file() else None


sys.meta_path.insert(0, _Compiled)
