# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What only the controller runs.

Ansible compiles every module of a collection again in each run. From here on ours are imported as Python imports any
other, with their bytecode kept beside them where that may be written: a tenth of a second of each run.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType

_PLUGINS = __name__.rpartition(".")[0]
_OURS = (f"{__name__}.", f"{_PLUGINS}.module_utils.engine.")


class _KeepsBytecode:
    """A finder for the modules of these packages; of everything else, packages among it, it knows nothing."""

    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not name.startswith(_OURS):
            return None
        for folder in path or ():
            file = os.path.join(folder, f"{name.rpartition('.')[2]}.py")
            if os.path.isfile(file):
                return importlib.util.spec_from_file_location(name, file)
        return None


sys.meta_path.insert(0, _KeepsBytecode)
