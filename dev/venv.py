# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The clone's virtual environment: ``python3 -m dev.venv FILE …`` makes ``.venv`` hold what requirements files pin.

Runs before anything is installed, so with the standard library only; finding nothing to do, it says nothing.
"""

from __future__ import annotations

import importlib.util
import sys
import time
import venv
from pathlib import Path

from dev import ROOT, VENV, packages
from dev.shell import Failure, run

OLDEST = (3, 11)
STAMP = VENV / "installed"


def pins(file: Path) -> list[str]:
    """The pinned requirements of a file, in its order, those of the files that it includes in place."""
    found: list[str] = []
    for line in file.read_text().splitlines():
        if line.startswith("-r "):
            found += pins(file.parent / line.removeprefix("-r ").strip())
        elif line and not line.startswith("#"):
            found.append(line)
    return found


def installed() -> list[str]:
    """The requirements that the last install satisfied; empty before the first one."""
    return STAMP.read_text().splitlines() if STAMP.exists() else []


def ensure(files: list[Path]) -> None:
    """Make ``.venv`` satisfy the requirements of these files; does nothing when it does already."""
    wanted = [pin for file in files for pin in pins(file)]
    if set(wanted) <= set(installed()):
        return
    if sys.version_info < OLDEST:
        raise Failure(f"Python {OLDEST[0]}.{OLDEST[1]} or newer is needed: make PYTHON=python3.12 …")
    missing = [] if importlib.util.find_spec("ensurepip") else ["python3-venv"]
    new = dict.fromkeys(pin.partition("==")[0] for pin in wanted if pin not in installed())
    print(
        f"Python environment: .venv gets {', '.join(new)}"
        + ("; apt-get installs python3-venv" if missing else "")
    )
    started = time.monotonic()
    packages.install(missing)
    if not STAMP.exists():
        # Also after an install that was interrupted: a half-made environment is made anew.
        venv.EnvBuilder(clear=True, with_pip=True, symlinks=True).create(VENV)
    STAMP.unlink(missing_ok=True)
    pip = [str(VENV / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    for file in files:
        # One by one: a file with digests makes pip ask for the digests of everything else, too.
        run([*pip, "--requirement", str(file)], "pip install")
    STAMP.write_text("".join(f"{pin}\n" for pin in wanted))
    print(f"Python environment: ready in {time.monotonic() - started:.1f} s")


if __name__ == "__main__":
    try:
        ensure([ROOT / name for name in sys.argv[1:]])
    except Failure as failure:
        raise SystemExit(str(failure)) from None
