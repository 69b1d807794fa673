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
_MAIN = """import sys

if sys.version_info < (3, 9):
    sys.stderr.write("muster needs Python 3.9 or newer; this is %d.%d\\n" % sys.version_info[:2])
    sys.exit(69)

try:
    from muster.cli import main

    sys.exit(main())
except KeyboardInterrupt:
    sys.exit(130)
"""


@functools.lru_cache(maxsize=1)
def engine_archive() -> tuple[bytes, str]:
    """(bytes, hex SHA-256). The same sources give the same bytes on every controller."""
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
    entry.compress_type = zipfile.ZIP_DEFLATED
    archive.writestr(entry, data, compresslevel=9)
