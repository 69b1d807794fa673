# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The engine puts itself on the host: the program, its name on the PATH, and the unit that finishes what was interrupted.

Call with the lock held, and only once state.json was found readable: an engine that is too old for what is here must
refuse before it takes the place of one that is not. Another process may be running from the file that is replaced: that
does no harm because every module of the engine is imported at the start, none within a function.
"""

from __future__ import annotations

import importlib.util
import io
import marshal
import sys
import zipfile
from pathlib import Path

from . import boot, completion, loader
from .errors import EngineError
from .files import File, link, make_directory, put, remove, sha256_bytes
from .layout import Layout

COMMAND = "/usr/local/bin/muster"
# Further files of the engine's own: (absolute path, text, mode).
FILES = ((completion.BASH_FILE, completion.bash(), 0o644), (loader.PATH, loader.TEXT, 0o755))
_UNCHECKED_HASH = 1  # what PEP 552 calls a .pyc that is believed as it is


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
        path = layout.units / boot.UNIT
        boot.ensure(layout)
        path = compiled(layout, program)
        if not path.is_file():
            put(path, File(compile_all(program), 0o644))
            for old in set(path.parent.glob("compiled-*.zip")) - {path}:
                remove(old)
    except OSError as error:
        raise EngineError(
            f"{path}: the engine could not be installed: {error.strerror}; nothing was changed"
        ) from None


def compiled(layout: Layout, program: Path) -> Path:
    """Where this engine's modules lie compiled for this Python. `__main__` looks there; without it all still works.

    Python keeps no compiled form of what it imports from a zip, and compiling takes longer than most of what is asked here.
    """
    digest = sha256_bytes(program.read_bytes())[:16]
    return layout.engine.parent / f"compiled-{digest}-{sys.implementation.cache_tag}.zip"


def compile_all(program: Path) -> bytes:
    """A zip with the compiled form of every module."""
    stream = io.BytesIO()
    with zipfile.ZipFile(program) as sources, zipfile.ZipFile(stream, "w") as target:
        for name in sources.namelist():
            if not name.startswith("muster/"):
                continue
            source = sources.read(name)
            code = compile(source, name, "exec", dont_inherit=True)
            header = importlib.util.MAGIC_NUMBER + _UNCHECKED_HASH.to_bytes(4, "little")
            entry = zipfile.ZipInfo(f"{name}c", date_time=(1980, 1, 1, 0, 0, 0))
            target.writestr(entry, header + importlib.util.source_hash(source) + marshal.dumps(code))
    return stream.getvalue()


def _put(path: Path, file: File) -> None:
    make_directory(path.parent)
    put(path, file)


def is_installed(layout: Layout, program: Path) -> bool:
    """Whether this very engine is the one that later calls, and the next boot, will run."""
    return File(program.read_bytes(), 0o755).is_at(layout.engine)
