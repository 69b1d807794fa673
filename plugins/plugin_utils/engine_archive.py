# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The engine as the one file that goes to hosts: a zip of `module_utils/engine` that Python runs."""

from __future__ import annotations

import functools
import hashlib
import io
import zipfile
from pathlib import Path

_SOURCE = Path(__file__).resolve().parents[1] / "module_utils/engine"
# Runs before anything is imported, so that an old Python gets a sentence and not a syntax error.
_MAIN = """import hashlib
import os
import sys

if sys.version_info < (3, 9):
    sys.stderr.write("muster needs Python 3.9 or newer; this is %d.%d\\n" % sys.version_info[:2])
    sys.exit(69)

# Beside an installed engine lie its modules compiled, by the digest of the engine that they were compiled from.
engine = os.path.realpath(sys.argv[0])
with open(engine, "rb") as stream:
    digest = hashlib.sha256(stream.read()).hexdigest()[:16]
compiled = "%s/compiled-%s-%s.zip" % (os.path.dirname(engine), digest, sys.implementation.cache_tag)
if os.path.isfile(compiled):
    sys.path.insert(0, compiled)

try:
    from muster.cli import main

    sys.exit(main())
except KeyboardInterrupt:
    sys.exit(130)
"""


@functools.lru_cache(maxsize=1)
def engine_archive() -> tuple[bytes, str]:
    """(bytes, hex SHA-256). The same sources give the same bytes on every controller, whatever its zlib: none is used."""
    stream = io.BytesIO()
    stream.write(b"#!/usr/bin/python3 -I\n")
    with zipfile.ZipFile(stream, "w") as archive:
        _add(archive, "__main__.py", _MAIN.encode())
        for path in sorted(_SOURCE.glob("*.py")):
            _add(archive, f"muster/{path.name}", path.read_bytes())
    data = stream.getvalue()
    return data, hashlib.sha256(data).hexdigest()


def _add(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
    entry.external_attr = 0o644 << 16
    archive.writestr(entry, data)
