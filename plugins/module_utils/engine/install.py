# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The engine puts itself on the host: the program, its name on the PATH, and the unit that finishes what was interrupted.

Call with the lock held, and only once state.json was found readable: an engine that is too old for what is here must
refuse before it takes the place of one that is not. Another process may be running from the file that is replaced: that
does no harm because every module of the engine is imported at the start, none within a function.
"""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

from . import boot
from .errors import EngineError
from .files import File, link, make_directory, put
from .layout import Layout

COMMAND = "/usr/local/bin/muster"
# Further files of the engine's own, such as the completion of a shell: (absolute path, text, mode).
FILES: tuple[tuple[str, str, int], ...] = ()


def install(layout: Layout) -> None:
    """Write what is missing or differs. Raises EngineError with the file where it cannot."""
    program = Path(sys.argv[0])
    if not zipfile.is_zipfile(program):
        return  # it runs from its sources, in a test
    path = layout.engine
    try:
        _put(path, File(program.read_bytes(), 0o755))
        command = path = layout.on_host(COMMAND)
        make_directory(command.parent)
        link(command, str(layout.engine))
        for name, text, mode in FILES:
            path = layout.on_host(name)
            _put(path, File(text.encode(), mode))
        path = layout.on_host(f"/etc/systemd/system/{boot.UNIT}")
        boot.ensure(layout)
    except OSError as error:
        raise EngineError(
            f"{path}: the engine could not be installed: {error.strerror}; nothing was changed"
        ) from None


def _put(path: Path, file: File) -> None:
    make_directory(path.parent)
    put(path, file)


def is_installed(layout: Layout, program: Path) -> bool:
    """Whether this very engine is the one that later calls, and the next boot, will run."""
    return File(program.read_bytes(), 0o755).is_at(layout.engine)
