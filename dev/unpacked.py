# Copyright: muster.agents contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Services for tests on this machine: the installed program, else Debian's package unpacked into .cache, not installed."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from dev import CACHE
from dev.shell import Failure, attempt, run


def folder(package: str, program: str) -> Path:
    """The folder that holds ``program`` and what else the package has, to put on PATH."""
    found = shutil.which(program, path=os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin"]))
    if found:
        return Path(found).parent
    place = CACHE / package
    if not (place / "bin" / program).exists():
        _unpack(package, place)
    return place / "bin"


def _unpack(package: str, place: Path) -> None:
    """Download the package and the libraries that this machine lacks; nothing is installed, no service starts."""
    if shutil.which("apt-get") is None:
        raise Failure(f"Please install {package}, then run this again.")
    packages = place / "packages"
    (packages / "partial").mkdir(parents=True, exist_ok=True)
    download = ["apt-get", "-q", "-y", "install", "--download-only", "--no-install-recommends"]
    download += ["-o", f"Dir::Cache::archives={packages}", "-o", "Debug::NoLocking=1", package]
    if attempt(download).code != 0:
        # A fresh machine has no list of packages yet.
        run(["apt-get", "-q", "update"], "apt-get update")
        run(download, f"download of {package}")
    tree = place / "tree"
    for file in sorted(packages.glob("*.deb")):
        run(["dpkg-deb", "--extract", str(file), str(tree)], f"unpacking of {file.name}")
    (place / "bin").mkdir(exist_ok=True)
    libraries = os.pathsep.join(map(str, tree.glob("usr/lib/*-linux-gnu*")))
    for program in [*tree.glob("usr/bin/*"), *tree.glob("usr/sbin/*")]:
        wrapper = place / "bin" / program.name
        wrapper.write_text(f'#!/bin/sh\nLD_LIBRARY_PATH="{libraries}" exec "{program}" "$@"\n')
        wrapper.chmod(0o755)
